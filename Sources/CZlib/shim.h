// zlib's initialisers are macros, which do not import.
#include <zlib.h>

// windowBits 15 + 16: a gzip header and trailer (RFC 1952) around deflate.
static inline int vedette_gunzip_begin(z_stream *stream) { return inflateInit2(stream, 15 + 16); }
