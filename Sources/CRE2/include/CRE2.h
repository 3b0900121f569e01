// A handful of C functions over RE2, whose syntax and semantics are those of Go's regexp.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vedette_re2 vedette_re2;

/// Compiles `pattern`, the dot matching line ends when `dot_line_end` is not 0; null and a message of at most `error_capacity` bytes, closed by NUL, when it is wrong.
vedette_re2 *vedette_re2_new(const char *pattern, size_t count, int dot_line_end, int64_t memory_max, char *error, size_t error_capacity);
void vedette_re2_delete(vedette_re2 *re);
/// 1 when the whole text matches.
int vedette_re2_full_match(const vedette_re2 *re, const char *text, size_t count);
/// The number of capturing groups.
int vedette_re2_group_count(const vedette_re2 *re);
/// The 1-based number of a named group, or 0.
int vedette_re2_group_number(const vedette_re2 *re, const char *name, size_t count);
/// Finds the first match at or after `start`; writes begin and end offsets (-1: the group took no part) of group 0 and
/// of the following `groups - 1`. 1 when there is one. `anchored` demands that the whole text match.
int vedette_re2_find(const vedette_re2 *re, const char *text, size_t count, size_t start, int anchored, int64_t *offsets, int groups);

#ifdef __cplusplus
}
#endif
