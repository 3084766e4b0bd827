/*
 * probe: asks the kernel harmless questions from inside a sandbox and prints the answers.
 *
 * Every call uses a bad descriptor, a bad pointer or a size of nothing, so that "blocked" and "allowed" answer differently (EPERM
 * against EBADF, EFAULT, EINVAL) and neither has an effect. Nothing is ever written to a file that is opened; only path-ops makes
 * names, and takes them away again.
 *
 * One answer per line on stdout, `ok`, `ok N` or an errno's name; status 0 when the question could be asked, 2 on wrong usage.
 *
 *   syscall NR [ARG...]           syscall(2); numbers in C notation, up to six; prints `ok N` or the errno
 *   socket DOMAIN TYPE PROTO      numbers; arguments go to the kernel as they are, high bits too
 *   socketpair DOMAIN TYPE PROTO
 *   send-pair TYPE                send() through an AF_UNIX pair of TYPE 1 or 5
 *   sendmsg-pair TYPE PATH        sendmsg() through such a pair, with PATH as the name
 *   sendmsg-dgram PATH            sendmsg() on an AF_UNIX datagram socket to the socket PATH (`@name` is abstract)
 *   sendmsg-dgram-pair PATH       the same on one end of a datagram pair
 *   receive-dgram PATH MS         for the host's side: makes an AF_UNIX datagram socket, prints `ready`, then `got N` or `nothing`
 *   connect-unix PATH             connect() of an AF_UNIX stream (`@name` is abstract)
 *   connect-inet IPV4 PORT        connect() of a TCP socket
 *   loopback                      listen, connect and 3 bytes over 127.0.0.1
 *   tiocsti | tioclinux           ioctl on descriptor -1: plain, with bit 32, with high bits; one line each
 *   int80                         getpid by the i386 entry (x86-64 only); SIGSYS where the filter stands
 *   x32                           getpid with the x32 bit (x86-64 only); SIGSYS where the filter stands
 *   clone-flags FLAGS             clone(2) with FLAGS that is sure to fail; EPERM when denied, else EINVAL
 *   clone3                        clone3(2) without arguments
 *   open-read PATH...             open and close; prints PATH<TAB>answer
 *   open-write PATH...            open for writing and close, never truncates, never writes
 *   path-ops OP PATH...           changes below the test's own folder, each undone at once: read, write, create PATH; rename FROM TO
 *   trace                         PTRACE_SEIZE of a child of its own, of process 1, and process_vm_readv of process 1; one line each
 *   leave DIR NAME                in a user and mount namespace of its own: keeps DIR open, leaves every mount behind, then opens
 *                                 and renames NAME in it; one line each
 *   caps                          CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp of /proc/self/status
 *   sigs                          SigBlk SigIgn SigCgt of /proc/self/status
 *   fds                           open descriptors, one number a line with its target
 *   nofile                        soft and hard RLIMIT_NOFILE
 *   ids                           pid ppid pgid sid uid gid
 *   umask                         octal
 *   tty                           open /dev/tty
 *   environ                       the environment as it is, one entry a line, \xNN for bytes outside 0x20-0x7e
 *   args ARG...                   its arguments, written alike
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* An errno's name, or its number where the C library has no name for it. */
static const char *errno_name(int number)
{
    static char digits[16];
    const char *name = strerrorname_np(number);
    if (name)
        return name;
    snprintf(digits, sizeof digits, "errno-%d", number);
    return digits;
}

/* Prints the outcome of a call that answers -1 on failure. */
static void tell(long result)
{
    if (result < 0)
        printf("%s\n", errno_name(errno));
    else
        printf("ok %ld\n", result);
}

static void tell_done(long result)
{
    printf("%s\n", result < 0 ? errno_name(errno) : "ok");
}

static long number(const char *word)
{
    char *end;
    errno = 0;
    long value = (long)strtoull(word, &end, 0);
    if (errno || *end || end == word) {
        fprintf(stderr, "probe: \"%s\" is not a number\n", word);
        exit(2);
    }
    return value;
}

static void wrong_usage(void)
{
    fprintf(stderr, "probe: wrong usage, see the top of probe.c\n");
    exit(2);
}

static void need(int argc, int count)
{
    if (argc < count + 2)
        wrong_usage();
}

static void print_bytes(const char *bytes)
{
    for (; *bytes; bytes++) {
        unsigned char byte = (unsigned char)*bytes;
        if (byte < 0x20 || byte > 0x7e)
            printf("\\x%02x", byte);
        else
            putchar(byte);
    }
    putchar('\n');
}

static socklen_t unix_name(struct sockaddr_un *address, const char *path)
{
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address->sun_path)
        wrong_usage();
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    if (path[0] != '@')
        return (socklen_t)sizeof *address;
    address->sun_path[0] = 0;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* Sends 5 bytes to PATH on the socket and says how it went. */
static void send_to_path(int fd, const char *path)
{
    struct sockaddr_un address;
    char text[] = "probe";
    struct iovec part = { text, 5 };
    struct msghdr message = { 0 };
    message.msg_name = &address;
    message.msg_namelen = unix_name(&address, path);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    tell(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static int pair_or_exit(int type, int *pair)
{
    if (socketpair(AF_UNIX, type, 0, pair) == 0)
        return 1;
    printf("socketpair %s\n", errno_name(errno));
    return 0;
}

static void do_syscall(int argc, char **argv)
{
    long args[7] = { 0 };
    need(argc, 1);
    if (argc > 9)
        wrong_usage();
    for (int i = 2; i < argc; i++)
        args[i - 2] = number(argv[i]);
    tell(syscall(args[0], args[1], args[2], args[3], args[4], args[5], args[6]));
}

static void do_socketpair(char **argv)
{
    int pair[2];
    tell_done(syscall(SYS_socketpair, number(argv[2]), number(argv[3]), number(argv[4]), pair));
}

static void do_send_pair(char **argv)
{
    int pair[2];
    if (pair_or_exit((int)number(argv[2]), pair))
        tell(send(pair[0], "probe", 5, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static void do_sendmsg_pair(int type, const char *path)
{
    int pair[2];
    if (pair_or_exit(type, pair))
        send_to_path(pair[0], path);
}

static void do_sendmsg_dgram(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0)
        printf("socket %s\n", errno_name(errno));
    else
        send_to_path(fd, path);
}

/* The one command that leaves something behind: the socket's name, in the caller's own folder. */
static void do_receive_dgram(const char *path, int wait_ms)
{
    struct sockaddr_un address;
    socklen_t length = unix_name(&address, path);
    char text[16];
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0) {
        printf("%s\n", errno_name(errno));
        return;
    }
    printf("ready\n");
    fflush(stdout);
    struct pollfd readable = { .fd = fd, .events = POLLIN };
    if (poll(&readable, 1, wait_ms) > 0)
        printf("got %zd\n", recv(fd, text, sizeof text, MSG_DONTWAIT));
    else
        printf("nothing\n");
}

static void do_connect_unix(const char *path)
{
    struct sockaddr_un address;
    socklen_t length = unix_name(&address, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        printf("socket %s\n", errno_name(errno));
    else
        tell_done(connect(fd, (struct sockaddr *)&address, length));
}

static void do_connect_inet(char **argv)
{
    struct sockaddr_in address = { 0 };
    address.sin_family = AF_INET;
    address.sin_port = htons((unsigned short)number(argv[3]));
    if (inet_pton(AF_INET, argv[2], &address.sin_addr) != 1)
        wrong_usage();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        printf("socket %s\n", errno_name(errno));
    else
        tell_done(connect(fd, (struct sockaddr *)&address, sizeof address));
}

/* A server and its client in one process: the kernel completes the connection before accept. */
static void do_loopback(void)
{
    struct sockaddr_in address = { 0 };
    socklen_t length = sizeof address;
    char text[4] = "";
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    int peer = -1;
    int good = server >= 0 && client >= 0 &&
        bind(server, (struct sockaddr *)&address, sizeof address) == 0 &&
        listen(server, 1) == 0 &&
        getsockname(server, (struct sockaddr *)&address, &length) == 0 &&
        connect(client, (struct sockaddr *)&address, length) == 0 &&
        (peer = accept(server, NULL, NULL)) >= 0 &&
        send(client, "abc", 3, 0) == 3 &&
        recv(peer, text, 3, MSG_WAITALL) == 3;
    if (good)
        printf("ok %s\n", text);
    else
        printf("%s\n", errno_name(errno));
}

static void do_terminal(unsigned long command)
{
    char byte = 0;
    tell_done(syscall(SYS_ioctl, -1, command, &byte));
    tell_done(syscall(SYS_ioctl, -1, command | 1UL << 32, &byte));
    tell_done(syscall(SYS_ioctl, -1, command | 0xdeadbeefUL << 32, &byte));
}

static void do_int80(void)
{
#if defined(__x86_64__)
    long result;
    fflush(stdout);
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
    printf("%s\n", result < 0 ? errno_name((int)-result) : "ok");
#else
    printf("not-here\n");
#endif
}

static void do_x32(void)
{
#if defined(__x86_64__)
    fflush(stdout);
    tell_done(syscall(0x40000000 + SYS_getpid));
#else
    printf("not-here\n");
#endif
}

/*
 * CLONE_THREAD without CLONE_SIGHAND is refused with EINVAL before anything is made, whatever else is asked; a filter answers first.
 */
static void do_clone_flags(long flags)
{
    const long thread = 0x10000, sighand = 0x800;
    tell_done(syscall(SYS_clone, (flags | thread) & ~sighand, 0, 0, 0, 0));
}

static void do_open(int argc, char **argv, int flags)
{
    for (int i = 2; i < argc; i++) {
        int fd = open(argv[i], flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        printf("%s\t%s\n", argv[i], fd < 0 ? errno_name(errno) : "ok");
        if (fd >= 0)
            close(fd);
    }
}

/* Lines of /proc/self/status that start with one of the words, blanks made one. */
static void do_status(const char *const *words)
{
    char line[512];
    FILE *status = fopen("/proc/self/status", "re");
    if (!status) {
        printf("%s\n", errno_name(errno));
        return;
    }
    while (fgets(line, sizeof line, status))
        for (const char *const *word = words; *word; word++) {
            size_t length = strlen(*word);
            if (strncmp(line, *word, length) == 0 && line[length] == ':')
                printf("%s %s", *word, line + length + 1 + strspn(line + length + 1, " \t"));
        }
    fclose(status);
}

static void do_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) {
        printf("%s\n", errno_name(errno));
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char target[4096] = "";
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(folder))
            continue;
        if (readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) < 0)
            snprintf(target, sizeof target, "%s", errno_name(errno));
        printf("%s %s\n", entry->d_name, target);
    }
    closedir(folder);
}

static void do_nofile(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    printf("%llu %llu\n", (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
}

static void do_umask(void)
{
    mode_t mask = umask(077);
    umask(mask);
    printf("%03o\n", mask);
}

/* SEIZE neither stops nor changes what it is done to, and our end undoes it. */
static void do_trace(void)
{
    char byte;
    struct iovec here = { &byte, 1 }, there = { (void *)4096, 1 };
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    tell_done(ptrace(PTRACE_SEIZE, child, 0, 0));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    tell_done(ptrace(PTRACE_SEIZE, 1, 0, 0));
    tell_done(process_vm_readv(1, &here, 1, &there, 1, 0));
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        printf("%s %s\n", path, errno_name(errno));
    if (fd >= 0)
        close(fd);
}

/* What a nested namespace is good for to an attacker: a root without the sandbox's mounts. */
static void do_leave(const char *directory, const char *name)
{
    char map[64];
    uid_t uid = getuid();
    gid_t gid = getgid();
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) {
        printf("unshare %s\n", errno_name(errno));
        return;
    }
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_text("/proc/self/uid_map", map);
    write_text("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", gid);
    write_text("/proc/self/gid_map", map);
    if (mount("none", "/tmp", "tmpfs", 0, NULL) < 0 || chdir("/tmp") < 0 || mkdir("old", 0700) < 0 ||
        syscall(SYS_pivot_root, ".", "old") < 0 || umount2("/old", MNT_DETACH) < 0) {
        printf("pivot %s\n", errno_name(errno));
        return;
    }
    int inside = openat(fd, name, O_RDONLY | O_CLOEXEC);
    tell_done(inside);
    snprintf(map, sizeof map, "%s.moved", name);
    int moved = renameat(fd, name, fd, map);
    tell_done(moved);
    if (moved == 0)
        renameat(fd, map, fd, name);
}

/* Opens for writing; a directory is written by a name in it, what is missing by making it. */
static int write_path(const char *path)
{
    struct stat there;
    char inside[4096];
    int fd;
    if (stat(path, &there) == 0 && S_ISDIR(there.st_mode)) {
        snprintf(inside, sizeof inside, "%s/.probe", path);
        if (mkdir(inside, 0700) < 0)
            return -1;
        return rmdir(inside);
    }
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        return close(fd);
    if (errno != ENOENT)
        return -1;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    close(fd);
    return unlink(path);
}

static void do_path_ops(int argc, char **argv)
{
    for (int i = 2; i + 1 < argc; i += 2) {
        const char *word = argv[i], *path = argv[i + 1];
        int result = -1;
        if (strcmp(word, "read") == 0) {
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            result = fd < 0 ? -1 : close(fd);
        } else if (strcmp(word, "write") == 0) {
            result = write_path(path);
        } else if (strcmp(word, "create") == 0) {
            result = mkdir(path, 0700);
            if (result == 0)
                rmdir(path);
        } else if (strcmp(word, "rename") == 0 && i + 2 < argc) {
            result = rename(path, argv[i + 2]);
            if (result == 0 && rename(argv[i + 2], path) < 0)
                exit(2);
            i++;
        } else
            exit(2);
        puts(result == 0 ? "ok" : errno_name(errno));
    }
}

int main(int argc, char **argv)
{
    static const char *const caps[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", NULL };
    static const char *const sigs[] = { "SigBlk", "SigIgn", "SigCgt", NULL };
    const char *word = argc > 1 ? argv[1] : "";
#define IS(name, count) (strcmp(word, name) == 0 && (need(argc, count), 1))
    if (IS("syscall", 1))
        do_syscall(argc, argv);
    else if (IS("socket", 3))
        tell_done(syscall(SYS_socket, number(argv[2]), number(argv[3]), number(argv[4])));
    else if (IS("socketpair", 3))
        do_socketpair(argv);
    else if (IS("send-pair", 1))
        do_send_pair(argv);
    else if (IS("sendmsg-pair", 2))
        do_sendmsg_pair((int)number(argv[2]), argv[3]);
    else if (IS("sendmsg-dgram", 1))
        do_sendmsg_dgram(argv[2]);
    else if (IS("sendmsg-dgram-pair", 1))
        do_sendmsg_pair(SOCK_DGRAM, argv[2]);
    else if (IS("receive-dgram", 2))
        do_receive_dgram(argv[2], (int)number(argv[3]));
    else if (IS("connect-unix", 1))
        do_connect_unix(argv[2]);
    else if (IS("connect-inet", 2))
        do_connect_inet(argv);
    else if (IS("loopback", 0))
        do_loopback();
    else if (IS("tiocsti", 0))
        do_terminal(0x5412);
    else if (IS("tioclinux", 0))
        do_terminal(0x541c);
    else if (IS("int80", 0))
        do_int80();
    else if (IS("x32", 0))
        do_x32();
    else if (IS("clone-flags", 1))
        do_clone_flags(number(argv[2]));
    else if (IS("clone3", 0))
        tell_done(syscall(SYS_clone3, 0, 0));
    else if (IS("open-read", 1))
        do_open(argc, argv, O_RDONLY);
    else if (IS("open-write", 1))
        do_open(argc, argv, O_WRONLY);
    else if (IS("path-ops", 2))
        do_path_ops(argc, argv);
    else if (IS("trace", 0))
        do_trace();
    else if (IS("leave", 2))
        do_leave(argv[2], argv[3]);
    else if (IS("caps", 0))
        do_status(caps);
    else if (IS("sigs", 0))
        do_status(sigs);
    else if (IS("fds", 0))
        do_fds();
    else if (IS("nofile", 0))
        do_nofile();
    else if (IS("ids", 0))
        printf("%d %d %d %d %d %d\n", getpid(), getppid(), getpgrp(), getsid(0), getuid(), getgid());
    else if (IS("umask", 0))
        do_umask();
    else if (IS("tty", 0)) {
        int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
        tell_done(fd);
    } else if (IS("environ", 0))
        for (char **entry = environ; *entry; entry++)
            print_bytes(*entry);
    else if (IS("args", 0))
        for (int i = 2; i < argc; i++)
            print_bytes(argv[i]);
    else
        wrong_usage();
    return 0;
}
