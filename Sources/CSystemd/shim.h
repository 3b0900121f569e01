// libsystemd. Its variadic calls do not import; those used here are not variadic.
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
