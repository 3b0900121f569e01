// Counts this thread's calls of malloc, calloc, realloc and posix_memalign, for tests that promise to make none.
#pragma once
long vedette_allocations_of_this_thread(void);
