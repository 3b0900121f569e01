// What the Glibc module leaves out: epoll, eventfd, a thread's name; and the processor's CRC-32C instruction.
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>

static inline int vedette_name_thread(const char *name) { return prctl(PR_SET_NAME, name); }

static inline int vedette_epoll_control(int epoll, int operation, int descriptor, uint32_t events) {
    struct epoll_event event = {.events = events, .data = {.fd = descriptor}};
    return epoll_ctl(epoll, operation, descriptor, &event);
}
static inline int vedette_epoll_descriptor(const struct epoll_event *event) { return event->data.fd; }

#if defined(__x86_64__)
#include <cpuid.h>
static inline int vedette_has_crc32c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 20));
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
