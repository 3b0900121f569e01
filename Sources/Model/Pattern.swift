internal import Basics
internal import CRE2

/// A mistake in a regular expression.
public struct PatternError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The expression as written.
    public let pattern: String
    /// What RE2 says of it.
    public let reason: String
    /// One sentence.
    public var description: String { "bad regular expression \(pattern.goQuoted): \(reason)" }
}

/// A regular expression in RE2's syntax (Go's), fully anchored, the dot matching line ends: Prometheus' `^(?s:…)$`.
///
/// Cost: a text of *n* bytes is matched in O(*n*), whatever the expression; a compiled one takes at most 8 MiB.
public struct Pattern: Sendable {
    private let compiled: CompiledPattern
    /// The expression as written.
    public let text: String
    /// The texts it matches when it is a plain list such as `a|b|c`, so that an index can look them up; else nil.
    public let alternatives: [String]?

    /// Compiles an anchored expression; a dot is any character, the end of a line too, as in Prometheus, or, as in
    /// Alertmanager, all but that.
    public init(_ text: String, dotMatchesLineEnd: Bool = true) throws(PatternError) {
        self.text = text
        alternatives = Pattern.plainAlternatives(text)
        compiled = try CompiledPattern(text, dotMatchesLineEnd: dotMatchesLineEnd)
    }

    /// Whether the whole of `text` matches.
    public func matches(_ text: String) -> Bool {
        if let alternatives { return alternatives.holds(text) }
        return compiled.matches(text)
    }

    /// Replaces a whole match by a template with `$1`, `${1}`, `$name`, `${name}`, `$$`; nil when the text does not
    /// match.
    ///
    /// - SeeAlso: Go, `regexp.Expand`.
    public func expand(_ template: String, matching text: String) -> String? {
        guard let groups = compiled.find(in: text, from: 0, anchored: true) else { return nil }
        return compiled.expand(template, groups: groups, of: text)
    }

    /// Literals joined by `|`, without any other metacharacter.
    private static func plainAlternatives(_ text: String) -> [String]? {
        let meta = Set("\\.+*?()[]{}^$".utf8)
        guard text.utf8.allSatisfy({ !meta.contains($0) }) else { return nil }
        return text.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
    }
}

/// An unanchored regular expression for search and replace, as Go's `regexp` has it.
public struct SearchPattern: Sendable {
    private let compiled: CompiledPattern

    /// Compiles the expression as it stands.
    public init(_ text: String) throws(PatternError) { compiled = try CompiledPattern(text, dotMatchesLineEnd: false) }

    /// Whether some part of `text` matches.
    public func isFound(in text: String) -> Bool { compiled.find(in: text, from: 0, anchored: false) != nil }

    /// Replaces every match by a template, as Go's `ReplaceAllString`.
    public func replaceAll(in text: String, with template: String) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var start = 0
        var copied = 0
        while start <= bytes.count, let groups = compiled.find(in: text, from: start, anchored: false) {
            let match = groups[0] ?? 0..<0
            // As in Go, an empty match right behind the match before does not count.
            if !match.isEmpty || match.lowerBound > copied || match.lowerBound == 0 {
                result += bytes[copied..<match.lowerBound]
                result += Array(compiled.expand(template, groups: groups, of: text).utf8)
                copied = match.upperBound
            }
            start = match.isEmpty ? match.upperBound + 1 : match.upperBound
        }
        result += bytes[copied...]
        return String(decoding: result, as: UTF8.self)
    }
}

/// The one owner of a compiled expression.
// Safe: RE2 objects are immutable after construction and documented as safe for concurrent use.
@safe private final class CompiledPattern: @unchecked Sendable {
    private let handle: OpaquePointer
    private let groupCount: Int

    init(_ text: String, dotMatchesLineEnd: Bool) throws(PatternError) {
        var expression = text
        let (created, reason) = expression.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) { characters in
                unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { message in
                    unsafe message.initialize(repeating: 0)
                    let created = unsafe vedette_re2_new(
                        characters.baseAddress, characters.count, dotMatchesLineEnd ? 1 : 0, 8 << 20,
                        message.baseAddress, message.count)
                    return (unsafe created, unsafe String(cString: message.baseAddress!))
                }
            }
        }
        guard let created = unsafe created else { throw PatternError(pattern: text, reason: reason) }
        unsafe handle = created
        groupCount = Int(unsafe vedette_re2_group_count(created))
    }

    deinit { unsafe vedette_re2_delete(handle) }

    func matches(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) {
                unsafe vedette_re2_full_match(handle, $0.baseAddress, $0.count) == 1
            }
        }
    }

    /// Byte ranges of the match and its groups.
    func find(in text: String, from start: Int, anchored: Bool) -> [Range<Int>?]? {
        var text = text
        let groups = groupCount + 1
        return text.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) { characters in
                unsafe withUnsafeTemporaryAllocation(of: Int64.self, capacity: 2 * groups) { offsets in
                    let found = unsafe vedette_re2_find(
                        handle, characters.baseAddress, characters.count, start, anchored ? 1 : 0,
                        offsets.baseAddress, Int32(groups))
                    guard found == 1 else { return nil }
                    return (0..<groups).map { group in
                        let (begin, end) = unsafe (offsets[2 * group], offsets[2 * group + 1])
                        return begin < 0 ? nil : Int(begin)..<Int(end)
                    }
                }
            }
        }
    }

    func expand(_ template: String, groups: [Range<Int>?], of text: String) -> String {
        let bytes = Array(text.utf8)
        let pattern = Array(template.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < pattern.count {
            guard pattern[index] == 0x24, index + 1 < pattern.count else {
                result.append(pattern[index])
                index += 1
                continue
            }
            if pattern[index + 1] == 0x24 {
                result.append(0x24)
                index += 2
                continue
            }
            let braced = pattern[index + 1] == 0x7B
            let start = index + (braced ? 2 : 1)
            var end = start
            while end < pattern.count, pattern[end].isASCIIWord { end += 1 }
            guard end > start, !braced || (end < pattern.count && pattern[end] == 0x7D) else {
                result.append(0x24)
                index += 1
                continue
            }
            if let range = group(named: pattern[start..<end], in: groups) { result += bytes[range] }
            index = end + (braced ? 1 : 0)
        }
        return String(decoding: result, as: UTF8.self)
    }

    private func group(named name: ArraySlice<UInt8>, in groups: [Range<Int>?]) -> Range<Int>? {
        let text = String(decoding: name, as: UTF8.self)
        if let number = Int(text) { return number < groups.count ? groups[number] : nil }
        var copy = text
        let number = copy.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) {
                unsafe vedette_re2_group_number(handle, $0.baseAddress, $0.count)
            }
        }
        return number == 0 ? nil : groups[Int(number)]
    }
}
