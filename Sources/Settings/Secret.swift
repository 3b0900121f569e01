internal import Basics

/// A password, token or secret address. It prints as `<secret>`, whoever prints it.
public struct Secret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Reads a file whole, given its path; passed in by whoever may touch the disk.
    public typealias FileReader = @Sendable (_ path: String) throws -> [UInt8]

    private enum Source: Hashable {
        case literal(String)
        case file(String)
    }

    private let source: Source

    /// A secret that stands in the settings.
    public init(_ value: String) { source = .literal(value) }
    /// A secret that stands in a file. The file is read at each use, so that it may be exchanged while running.
    public init(file path: String) { source = .file(path) }

    /// The file it is read from, if any.
    public var path: String? {
        if case .file(let path) = source { path } else { nil }
    }

    /// Whether nothing is given: an empty text in the settings.
    public var isEmpty: Bool { source == .literal("") }

    /// The secret itself; of a file's content without the white space around it.
    public func reveal(_ read: FileReader) throws -> String {
        switch source {
        case .literal(let value): return value
        case .file(let path):
            let bytes = try read(path)
            var slice = bytes[...]
            while slice.first?.isBlank == true { slice.removeFirst() }
            while slice.last?.isBlank == true { slice.removeLast() }
            return String(decoding: slice, as: UTF8.self)
        }
    }

    /// `<secret>`.
    public var description: String { "<secret>" }
    /// `<secret>`.
    public var debugDescription: String { "<secret>" }
    /// Shows nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension Secret {
    /// A text without secrets, `<secret>` in their places, in each form that others show them in: as they are, escaped
    /// in JSON, HTML or an address, within base64, and cut at the text's end. Of fewer than 4 characters none is looked
    /// for. O(*text* × *values*).
    public static func cut(_ values: [String], outOf text: String) -> String {
        // The longest first: what one secret leaves over of another would be a part of it.
        let forms = Set(values.flatMap(forms)).sorted { ($0.utf8.count, $0) > ($1.utf8.count, $1) }
        let mark = Secret("").description
        var text = forms.reduce(text) { $0.replacing($1, with: mark) }
        for form in forms where !form.hasPrefix("http") {
            var end = form.dropLast()
            while end.utf8.count >= 8, !text.hasSuffix(end) { end = end.dropLast() }
            if end.utf8.count >= 8 { text = text.dropLast(end.count) + mark }
        }
        return text
    }

    private static func forms(of value: String) -> [String] {
        guard value.utf8.count > 3 else { return [] }
        let quoted = String(JSON.string(value).text.dropFirst().dropLast())
        let plain = String(value.goQuoted.dropFirst().dropLast())
        let escaped = ["&": "\\u0026", "<": "\\u003c", ">": "\\u003e"].reduce(plain) {
            $0.replacing($1.key, with: $1.value)
        }
        var forms = [
            value, quoted, plain, escaped, plain.replacing("/", with: "\\/"), escaped.replacing("/", with: "\\/"),
            value.percentEncoded, value.percentEncoded.lowercasingEscapes, value.queryEscaped, value.htmlEscaped,
        ]
        // Wherever the value begins within what is encoded; its edges share letters with their neighbours.
        for shift in 0..<3 {
            let letters = Array(base64([UInt8](repeating: 0, count: shift) + Array(value.utf8)))
            let whole = letters[[0, 2, 3][shift]..<(shift + value.utf8.count) * 8 / 6]
            if whole.count >= 8 {
                let text = String(whole)
                forms += [text, text.replacing("+", with: "-").replacing("/", with: "_")]
            }
        }
        return forms
    }
}

extension String {
    /// `%2f` for `%2F`.
    fileprivate var lowercasingEscapes: String {
        split(separator: "%", omittingEmptySubsequences: false).enumerated().map { index, part in
            index == 0 ? String(part) : part.prefix(2).lowercased() + part.dropFirst(2)
        }.joined(separator: "%")
    }
}
