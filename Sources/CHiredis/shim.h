// hiredis: commands go through redisCommandArgv, since the formatting functions are variadic and do not import.
#include <hiredis/hiredis.h>
