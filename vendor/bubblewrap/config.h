/* Written for the one-call static build of scripts/build_bwrap.ts; nothing here comes from upstream's build system. */
#define PACKAGE_STRING "bubblewrap 0.12.0"
