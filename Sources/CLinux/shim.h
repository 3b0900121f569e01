// What the Glibc module leaves out: epoll, eventfd, a thread's name; and the processor's CRC-32C instruction.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>

// <malloc.h> would draw the processor's intrinsics into the module; this is all that is needed of it.
extern int mallopt(int parameter, int value);
static inline void vedette_limit_arenas(int count) { mallopt(-8 /* M_ARENA_MAX */, count); }
static inline int vedette_name_thread(const char *name) { return prctl(PR_SET_NAME, name); }

static inline int vedette_epoll_control(int epoll, int operation, int descriptor, uint32_t events) {
    struct epoll_event event = {.events = events, .data = {.fd = descriptor}};
    return epoll_ctl(epoll, operation, descriptor, &event);
}
static inline int vedette_epoll_descriptor(const struct epoll_event *event) { return event->data.fd; }

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
