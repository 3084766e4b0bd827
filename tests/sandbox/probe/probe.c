/*
 * probe: asks the kernel harmless questions from inside a sandbox and prints the answers.
 *
 * Every call uses a bad descriptor, a bad pointer or a size of nothing, or aims at a decoy of the test, so that "blocked" and
 * "allowed" answer differently (EPERM against EBADF, EFAULT, EINVAL) and neither has an effect. Nothing is ever written to a file that is opened; only path-ops makes
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
 *   creds                         real, effective and saved uid and gid
 *   self-exec-memfd WORD...       runs its own bytes from a memory file with WORD...
 *   deny NR ERRNO PATH WORD...    for the host's side: becomes PATH with WORD..., on a host whose system call NR answers ERRNO
 *   calls STEP [, STEP]...        calls in order, see do_calls; the answer of the last one, or NAME:errno of the first that fails
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
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
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/mman.h>
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

static void do_creds(void)
{
    uid_t uids[3];
    gid_t gids[3];
    getresuid(&uids[0], &uids[1], &uids[2]);
    getresgid(&gids[0], &gids[1], &gids[2]);
    printf("%u %u %u %u %u %u\n", uids[0], uids[1], uids[2], gids[0], gids[1], gids[2]);
}

/* Nothing on disk is executed: what a filter or a path rule that looks at files would miss. */
static void do_self_exec_memfd(char **words)
{
    char chunk[65536];
    ssize_t count;
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int to = memfd_create("probe", MFD_CLOEXEC);
    while (from >= 0 && to >= 0 && (count = read(from, chunk, sizeof chunk)) > 0)
        if (write(to, chunk, (size_t)count) != count)
            break;
    fexecve(to, words, environ);
    printf("%s\n", errno_name(errno));
}

/* The calls that do_calls knows by name. */
static const struct {
    const char *name;
    long number;
} calls[] = {
#define CALL(name) { #name, SYS_##name }
    CALL(acct), CALL(add_key), CALL(adjtimex), CALL(bind), CALL(bpf), CALL(capset), CALL(chdir), CALL(chroot),
    CALL(clock_adjtime), CALL(clone3), CALL(close), CALL(connect), CALL(copy_file_range), CALL(dup), CALL(execveat),
    CALL(fadvise64), CALL(fallocate), CALL(fanotify_init), CALL(fanotify_mark), CALL(fchmod), CALL(fchmodat),
    CALL(fchown), CALL(fchownat), CALL(fcntl), CALL(finit_module), CALL(flock), CALL(fsetxattr), CALL(fsopen),
    CALL(fspick), CALL(ftruncate), CALL(getpgid), CALL(init_module), CALL(inotify_add_watch), CALL(inotify_init1),
    CALL(io_uring_setup), CALL(ioctl), CALL(ioprio_set), CALL(kcmp), CALL(kexec_load), CALL(keyctl), CALL(kill),
    CALL(linkat), CALL(listen), CALL(migrate_pages), CALL(mkdirat), CALL(mknodat), CALL(mmap), CALL(mount),
    CALL(mount_setattr), CALL(move_mount), CALL(move_pages), CALL(mq_open), CALL(msgget), CALL(msgsnd),
    CALL(name_to_handle_at), CALL(open_by_handle_at), CALL(open_tree), CALL(openat), CALL(openat2),
    CALL(perf_event_open), CALL(personality), CALL(pidfd_getfd), CALL(pidfd_open), CALL(pidfd_send_signal),
    CALL(pivot_root), CALL(prctl), CALL(prlimit64), CALL(process_madvise), CALL(process_mrelease),
    CALL(process_vm_readv), CALL(process_vm_writev), CALL(ptrace), CALL(quotactl), CALL(reboot), CALL(renameat2),
    CALL(request_key), CALL(rt_sigqueueinfo), CALL(sched_setaffinity), CALL(sched_setscheduler), CALL(seccomp),
    CALL(semctl), CALL(semget), CALL(sendfile), CALL(sendto), CALL(setdomainname), CALL(setfsuid), CALL(setgid),
    CALL(setgroups), CALL(sethostname), CALL(setns), CALL(setpgid), CALL(setpriority), CALL(setresuid), CALL(setsid),
    CALL(setsockopt), CALL(settimeofday), CALL(setuid), CALL(setxattr), CALL(shmat), CALL(shmctl), CALL(shmget),
    CALL(socket), CALL(socketpair), CALL(splice), CALL(swapoff), CALL(swapon), CALL(symlinkat), CALL(syslog),
    CALL(tgkill), CALL(truncate), CALL(umount2), CALL(unlinkat), CALL(unshare), CALL(userfaultfd), CALL(utimensat),
    CALL(vhangup), CALL(write), CALL(sendmsg), CALL(mprotect), CALL(mq_unlink), CALL(pipe2), CALL(pwrite64),
    CALL(timerfd_create),
#if defined(__x86_64__)
    CALL(ioperm), CALL(iopl), CALL(chmod), CALL(creat),
#endif
#undef CALL
};

/* By number for calls that this C library has no name for. */
static long call_number(const char *name)
{
    if (name[0] >= '0' && name[0] <= '9')
        return number(name);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].name, name) == 0)
            return calls[i].number;
    fprintf(stderr, "probe: \"%s\" is not a call that it knows\n", name);
    exit(2);
}

/* Zeroed and never freed: a call may keep the address. */
static void *zeroed(size_t size)
{
    void *bytes = calloc(1, size);
    if (!bytes)
        exit(2);
    return bytes;
}

static void *from_hex(const char *digits)
{
    size_t length = strlen(digits) / 2;
    unsigned char *bytes = zeroed(length + 1);
    for (size_t i = 0; i < length; i++) {
        unsigned value = 0;
        if (sscanf(digits + 2 * i, "%2x", &value) != 1)
            wrong_usage();
        bytes[i] = (unsigned char)value;
    }
    return bytes;
}

/* A message of 5 bytes to a path. */
static void *message_to(const char *path)
{
    struct msghdr *message = zeroed(sizeof *message);
    struct iovec *part = zeroed(sizeof *part);
    message->msg_name = zeroed(sizeof(struct sockaddr_un));
    message->msg_namelen = unix_name(message->msg_name, path);
    part->iov_base = "probe";
    part->iov_len = 5;
    message->msg_iov = part;
    message->msg_iovlen = 1;
    return message;
}

/*
 * One argument: a number; `@N`, the answer of step N; or a pointer: `s:TEXT` to a
 * text, `z:SIZE` to so many zero bytes, `x:HEX` to bytes, `un:PATH` to an address of AF_UNIX, `in:IPV4:PORT` to one of AF_INET,
 * `msg:PATH` to a message for sendmsg(2), `pair:N` to room for two descriptors that later steps call `pair:N:0` and `pair:N:1`.
 */
static long argument(const char *word, const long *answers, int count)
{
    static int pairs[4][2];
    if (strncmp(word, "s:", 2) == 0)
        return (long)(word + 2);
    if (strncmp(word, "z:", 2) == 0)
        return (long)zeroed((size_t)number(word + 2));
    if (strncmp(word, "x:", 2) == 0)
        return (long)from_hex(word + 2);
    if (strncmp(word, "msg:", 4) == 0)
        return (long)message_to(word + 4);
    if (strncmp(word, "un:", 3) == 0) {
        struct sockaddr_un *address = zeroed(sizeof *address);
        unix_name(address, word + 3);
        return (long)address;
    }
    if (strncmp(word, "in:", 3) == 0) {
        struct sockaddr_in *address = zeroed(sizeof *address);
        char host[64] = "";
        unsigned port = 0;
        if (sscanf(word + 3, "%63[^:]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &address->sin_addr) != 1)
            wrong_usage();
        address->sin_family = AF_INET;
        address->sin_port = htons((unsigned short)port);
        return (long)address;
    }
    if (strncmp(word, "pair:", 5) == 0) {
        int *pair = pairs[(word[5] - '0') & 3];
        return word[6] == ':' ? pair[(word[7] - '0') & 1] : (long)pair;
    }
    if (word[0] == '@') {
        int step = atoi(word + 1);
        if (step < 1 || step > count)
            wrong_usage();
        return answers[step - 1];
    }
    return number(word);
}

static void do_calls(int argc, char **argv)
{
    long answers[16];
    int count = 0;
    for (int i = 2; i < argc && count < 16; count++) {
        const char *name = argv[i++];
        long nr = call_number(name), args[6] = { 0 };
        for (int n = 0; i < argc && strcmp(argv[i], ",") != 0; i++, n++) {
            if (n == 6)
                wrong_usage();
            args[n] = argument(argv[i], answers, count);
        }
        errno = 0;
        answers[count] = syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
        if (answers[count] == -1) {
            int last = i >= argc;
            printf("%s%s%s\n", last ? "" : name, last ? "" : ":", errno_name(errno));
            return;
        }
        i++;
    }
    printf("ok\n");
}

static void do_deny(char **argv)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number(argv[2]), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)number(argv[3])),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = 4, .filter = steps };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        tell_done(-1);
    execv(argv[4], argv + 4);
    tell_done(-1);
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
    } else if (IS("creds", 0))
        do_creds();
    else if (IS("self-exec-memfd", 1))
        do_self_exec_memfd(argv + 1);
    else if (IS("calls", 1))
        do_calls(argc, argv);
    else if (IS("deny", 3))
        do_deny(argv);
    else if (IS("environ", 0))
        for (char **entry = environ; *entry; entry++)
            print_bytes(*entry);
    else if (IS("args", 0))
        for (int i = 2; i < argc; i++)
            print_bytes(argv[i]);
    else
        wrong_usage();
    return 0;
}
