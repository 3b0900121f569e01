// What the Glibc module leaves out: epoll, eventfd, a thread's name; and the processor's CRC-32C instruction.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <poll.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// <malloc.h> would draw the processor's intrinsics into the module; this is all that is needed of it.
extern int mallopt(int parameter, int value);
static inline void vedette_limit_arenas(int count) { mallopt(-8 /* M_ARENA_MAX */, count); }
// A fixed threshold: a block of a megabyte goes back to the system when it is freed, however many such there were.
static inline void vedette_fix_threshold(int bytes) { mallopt(-3 /* M_MMAP_THRESHOLD */, bytes); }
extern int malloc_trim(size_t keep);
static inline void vedette_trim_memory(void) { malloc_trim(0); }
// What of the program is mapped and was never written (what the loader relocates stands elsewhere): it is in the file,
// and comes back from there, sixteen pages at a time, when it is used.
#undef p_type  // <resolv.h> has another.
static inline void vedette_drop_program_pages(void) {
    const ElfW(Phdr) *parts = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    unsigned long count = getauxval(AT_PHNUM), page = getauxval(AT_PAGESZ);
    const char *base = 0;
    for (unsigned long i = 0; i < count; i++)
        if (parts[i].p_type == PT_PHDR) base = (const char *)parts - parts[i].p_vaddr;
    for (unsigned long i = 0; base && i < count; i++) {
        if (parts[i].p_type != PT_LOAD || parts[i].p_flags & PF_W) continue;
        uintptr_t start = (uintptr_t)base + parts[i].p_vaddr, end = (start + parts[i].p_memsz) & ~(page - 1);
        start = (start + page - 1) & ~(page - 1);
        if (start < end) madvise((void *)start, end - start, MADV_DONTNEED);
    }
}
static inline int vedette_name_thread(const char *name) { return prctl(PR_SET_NAME, name); }

// Columns of the terminal behind a descriptor; 0 when there is none.
static inline int vedette_terminal_columns(int descriptor) {
    struct winsize size = {0};
    return ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static inline int vedette_epoll_control(int epoll, int operation, int descriptor, uint32_t events) {
    struct epoll_event event = {.events = events, .data = {.fd = descriptor}};
    return epoll_ctl(epoll, operation, descriptor, &event);
}
static inline int vedette_epoll_descriptor(const struct epoll_event *event) { return event->data.fd; }

// A descriptor that becomes readable when the process has ended; -1 with errno.
static inline int vedette_pidfd(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

// glibc declares these for GNU sources only.
extern int execvpe(const char *file, char *const argv[], char *const envp[]);
extern int pipe2(int ends[2], int flags);
// A pipe whose reading end does not block.
static inline int vedette_output_pipe(int *reading, int *writing) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    *reading = ends[0];
    *writing = ends[1];
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? errno : 0;
}

// Makes this process give way to whoever wakes: the lowest weight, and the longest slice there is, since a task that wakes
// takes the processor at once only from one whose slice is longer than its own. Not SCHED_IDLE and no affinity: a
// processor that runs nothing else counts as free then, and who is placed there waits for its turn. Beside a child that
// spins on both of two processors a page's 99th percentile is 3 to 6 ms with this, 11 ms with a processor left free, 3 ms
// without the child. Kernels that know no slices here (before 6.12) take the weight alone.
static inline int vedette_yield_to_others(void) {
    struct { // sched_attr; glibc has no name for it.
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t slice_nanoseconds, deadline, period;
    } wanted = {.size = 48, .nice = 19, .slice_nanoseconds = 100000000};
    return (int)syscall(SYS_sched_setattr, 0, &wanted, 0);
}

// Starts a program in a session or process group of its own; 0 with its pid, or an errno. An empty directory is ours.
// `output` takes its output and errors when it is not negative. Between fork and exec nothing allocates or locks: other
// threads may hold the allocator.
static inline int vedette_spawn(
    const char *file, char *const *arguments, char *const *environment, const char *directory, int output, int64_t memory_bytes,
    int64_t open_files, int yields, int ends_with_parent, int *pid_out) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) return errno;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int parent = getpid();
    int pid = fork();
    if (pid == 0) {
        for (int number = 1; number < 65; number++) signal(number, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        pthread_sigmask(SIG_SETMASK, &none, 0);
        // A session has a share of the processor of its own (sched_autogroup), within which alone it could yield: who is to
        // yield to us stays in ours, at the head of its own process group.
        int failed = (yields ? setpgid(0, 0) : setsid()) < 0;
        if (ends_with_parent) {
            failed |= prctl(PR_SET_PDEATHSIG, SIGKILL) != 0;
            if (getppid() != parent) _exit(127);
        }
        struct rlimit none_kept = {0, 0};
        setrlimit(RLIMIT_CORE, &none_kept);
        if (memory_bytes > 0) {
            struct rlimit limit = {(rlim_t)memory_bytes, (rlim_t)memory_bytes};
            failed |= setrlimit(RLIMIT_AS, &limit) != 0;
        }
        if (yields) failed |= vedette_yield_to_others() != 0;
        int nothing = open("/dev/null", O_RDONLY);
        failed |= nothing < 0 || dup2(nothing, 0) < 0;
        if (output >= 0) failed |= dup2(output, 1) < 0 || dup2(output, 2) < 0;
        if (*directory) failed |= chdir(directory) != 0;
        // Last: until exec closes them, our own files count, and there may be more of them than it may have.
        if (open_files > 0) {
            struct rlimit limit = {(rlim_t)open_files, (rlim_t)open_files};
            failed |= setrlimit(RLIMIT_NOFILE, &limit) != 0;
        }
        if (!failed) execvpe(file, arguments, environment);
        int code = errno ? errno : EINVAL;
        ssize_t written = write(report[1], &code, sizeof code);
        _exit(written == sizeof code ? 127 : 126);
    }
    int failure = pid < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &old, 0);
    close(report[1]);
    if (pid > 0) {
        int code = 0;
        ssize_t count;
        do count = read(report[0], &code, sizeof code); while (count < 0 && errno == EINTR);
        if (count == sizeof code) {
            failure = code;
            int status;
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        }
        *pid_out = pid;
    }
    close(report[0]);
    return failure;
}
// Waits for a process; its wait status, or -1 with errno.
static inline int vedette_reap(int pid, int *status) {
    int found;
    do found = waitpid(pid, status, 0); while (found < 0 && errno == EINTR);
    return found < 0 ? -1 : 0;
}
static inline int vedette_exit_status(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
static inline int vedette_end_signal(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

// Asks the machine's resolver for the records of a type; their number, 0 where there is no such name, or -1 with a reason.
// Each record is its preference or port and its name or address, closed by a line's end.
static inline int vedette_lookup(const char *name, int type, char *output, int capacity, const char **reason) {
    static const char *const reasons[] = {"", "no such name", "the name server does not answer", "the name server failed", "no such record"};
    struct __res_state state = {0};
    unsigned char answer[65536];
    if (res_ninit(&state) != 0) {
        *reason = "the resolver has no configuration";
        return -1;
    }
    int length = res_nsearch(&state, name, ns_c_in, type, answer, sizeof answer);
    int error = state.res_h_errno;
    res_nclose(&state);
    ns_msg message;
    if (length < 0) {
        if (error == 1 || error == 4) return 0;
        *reason = reasons[error == 2 || error == 3 ? error : 3];
        return -1;
    }
    if (ns_initparse(answer, length < (int)sizeof answer ? length : (int)sizeof answer, &message) != 0) {
        *reason = "the name server's answer cannot be read";
        return -1;
    }
    int count = 0, used = 0;
    for (int index = 0; index < ns_msg_count(message, ns_s_an); index++) {
        ns_rr record;
        char text[1025];
        int port = 0, skip = type == ns_t_srv ? 6 : type == ns_t_mx ? 2 : 0;
        if (ns_parserr(&message, ns_s_an, index, &record) != 0) continue;
        if ((int)ns_rr_type(record) != type || (int)ns_rr_rdlen(record) <= skip) continue;
        const unsigned char *data = ns_rr_rdata(record);
        if (type == ns_t_a) {
            if (ns_rr_rdlen(record) != 4 || !inet_ntop(AF_INET, data, text, sizeof text)) continue;
        } else if (type == ns_t_aaaa) {
            if (ns_rr_rdlen(record) != 16 || !inet_ntop(AF_INET6, data, text, sizeof text)) continue;
        } else {
            if (type == ns_t_srv) port = data[4] << 8 | data[5];
            if (ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), data + skip, text, sizeof text) < 0) continue;
        }
        int wrote = snprintf(output + used, (size_t)(capacity - used), "%d %s\n", port, text);
        if (wrote < 0 || wrote >= capacity - used) break;
        used += wrote;
        count++;
    }
    return count;
}

#if defined(__x86_64__)
static inline int vedette_has_crc32c(void) {
    // <cpuid.h> belongs to a module of the compiler that would lay claim to half of libc's types.
    unsigned leaf = 1, b, features = 0, d;
    __asm__("cpuid" : "+a"(leaf), "=b"(b), "+c"(features), "=d"(d));
    return (features >> 20) & 1;
}
__attribute__((target("sse4.2"))) static inline uint32_t vedette_crc32c(uint32_t crc, const uint8_t *data, size_t count) {
    uint64_t state = crc;
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        state = __builtin_ia32_crc32di(state, word);
        data += 8;
        count -= 8;
    }
    while (count--) state = __builtin_ia32_crc32qi((uint32_t)state, *data++);
    return (uint32_t)state;
}
#else
static inline int vedette_has_crc32c(void) { return 0; }
static inline uint32_t vedette_crc32c(uint32_t crc, const uint8_t *data, size_t count) { return crc; }
#endif
