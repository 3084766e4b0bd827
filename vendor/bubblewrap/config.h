/* Written for the one-call static build of scripts/build_bwrap.ts; nothing here comes from upstream's build system. */
#define PACKAGE_STRING "bubblewrap 0.12.0"

/* PATH_MAX, which glibc's other headers bring along and musl's don't. */
#include <limits.h>
