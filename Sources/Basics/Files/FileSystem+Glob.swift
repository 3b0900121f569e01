extension FileSystem {
    /// The paths that a pattern names, sorted: `*` may stand in its last part. A pattern without `*` names itself,
    /// whether it exists or not; a directory that cannot be listed holds nothing, as in Prometheus.
    public func glob(_ pattern: String) -> [String] {
        guard pattern.contains("*") else { return [pattern] }
        let slash = pattern.lastIndex(of: "/")
        let directory = slash.map { String(pattern[..<$0]) } ?? "."
        let name = slash.map { pattern[pattern.index(after: $0)...] } ?? pattern[...]
        // See above: not a mistake.
        let names = (try? list(directory)) ?? []
        return names.filter { matches($0[...], name) }.map { slash == nil ? $0 : "\(directory)/\($0)" }
    }

    private func matches(_ text: Substring, _ pattern: Substring) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        if first == "*" {
            return matches(text, pattern.dropFirst()) || (!text.isEmpty && matches(text.dropFirst(), pattern))
        }
        return text.first == first && matches(text.dropFirst(), pattern.dropFirst())
    }
}
