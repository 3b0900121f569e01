#include "CRE2.h"

#include <re2/re2.h>

#include <cstring>
#include <string>
#include <vector>

struct vedette_re2 {
    re2::RE2 re;
    vedette_re2(re2::StringPiece pattern, const re2::RE2::Options &options) : re(pattern, options) {}
};

extern "C" vedette_re2 *vedette_re2_new(const char *pattern, size_t count, int dot_line_end, int64_t memory_max, char *error, size_t error_capacity) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_dot_nl(dot_line_end != 0);
    options.set_max_mem(memory_max);
    auto *re = new vedette_re2(re2::StringPiece(pattern, count), options);
    if (re->re.ok()) return re;
    std::strncpy(error, re->re.error().c_str(), error_capacity - 1);
    error[error_capacity - 1] = 0;
    delete re;
    return nullptr;
}

extern "C" void vedette_re2_delete(vedette_re2 *re) { delete re; }

extern "C" int vedette_re2_full_match(const vedette_re2 *re, const char *text, size_t count) {
    return re->re.Match(re2::StringPiece(text, count), 0, count, re2::RE2::ANCHOR_BOTH, nullptr, 0);
}

extern "C" int vedette_re2_group_count(const vedette_re2 *re) { return re->re.NumberOfCapturingGroups(); }

extern "C" int vedette_re2_group_number(const vedette_re2 *re, const char *name, size_t count) {
    const auto &names = re->re.NamedCapturingGroups();
    auto found = names.find(std::string(name, count));
    return found == names.end() ? 0 : found->second;
}

extern "C" int vedette_re2_find(const vedette_re2 *re, const char *text, size_t count, size_t start, int anchored, int64_t *offsets, int groups) {
    std::vector<re2::StringPiece> found(groups);
    auto anchor = anchored ? re2::RE2::ANCHOR_BOTH : re2::RE2::UNANCHORED;
    if (!re->re.Match(re2::StringPiece(text, count), start, count, anchor, found.data(), groups)) return 0;
    for (int group = 0; group < groups; group++) {
        bool took_part = found[group].data() != nullptr;
        offsets[2 * group] = took_part ? found[group].data() - text : -1;
        offsets[2 * group + 1] = took_part ? found[group].data() - text + (int64_t)found[group].size() : -1;
    }
    return 1;
}
