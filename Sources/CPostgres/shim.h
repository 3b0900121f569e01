// libpq: its header lies where pkg-config says.
#include <libpq-fe.h>
