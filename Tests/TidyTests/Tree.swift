import Foundation
import Testing

/// The files of the repository, found from this one.
enum Tree {
    /// The folder that holds `Package.swift`.
    static let root = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Every Swift file below `Sources` and below `Tests`.
    static let sources = swiftFiles(under: "Sources")
    static let tests = swiftFiles(under: "Tests")

    /// The names in a folder, sorted; none when it is not there.
    static func names(in folder: String) -> [String] {
        let path = root.appendingPathComponent(folder).path
        return ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    }

    /// The text of a file.
    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    private static func swiftFiles(under folder: String) -> [SourceFile] {
        let names =
            (try? FileManager.default.subpathsOfDirectory(atPath: root.appendingPathComponent(folder).path)) ?? []
        return names.filter { $0.hasSuffix(".swift") }.sorted().compactMap { (name) -> SourceFile? in
            let path = "\(folder)/\(name)"
            // A file that vanished meanwhile has nothing to be judged.
            guard let text = try? Tree.text(path) else { return nil }
            return SourceFile(path: path, text: text)
        }
    }
}

/// A Swift file as written, and with its comments and the contents of its strings blanked.
struct SourceFile: Sendable {
    /// From the root: `Sources/Model/Labels.swift`.
    let path: String
    /// As written.
    let lines: [String]
    /// As many lines, code alone.
    let code: [String]
    /// All of `code`.
    let codeText: String

    init(path: String, text: String) {
        self.path = path
        codeText = CodeScanner.code(of: text)
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        code = codeText.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// `Model` of `Sources/Model/Labels.swift`.
    var room: String { String(path.split(separator: "/")[1]) }

    /// 1-based numbers of the lines whose code uses a word, see `uses`.
    func numbers(ofLinesUsing word: String) -> [Int] {
        guard codeText.contains(word) else { return [] }
        return code.indices.filter { uses(word, in: code[$0]) }.map { $0 + 1 }
    }
}

/// Whether `word` stands in `line` where neither a name nor a dot nor `func` goes before it: `sleep(`, not `.sleep(`.
func uses(_ word: String, in line: String) -> Bool {
    var rest = line[...]
    while let found = rest.range(of: word) {
        let before = line[..<found.lowerBound]
        let isPartOfName = before.last.map { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." } ?? false
        if !isPartOfName && !before.hasSuffix("func ") { return true }
        rest = line[found.upperBound...]
    }
    return false
}

/// Fails once for each complaint; they read `path:line: what; cure`.
func report(_ complaints: [String]) {
    for complaint in complaints { Issue.record(Comment(rawValue: complaint)) }
}

/// Blanks comments and strings, and keeps every line end and every interpolated expression.
struct CodeScanner {
    private let bytes: [UInt8]
    private var output: [UInt8]
    private var index = 0

    /// The text with spaces in place of what is no code.
    static func code(of text: String) -> String {
        var scanner = CodeScanner(text)
        scanner.scan()
        return String(decoding: scanner.output, as: UTF8.self)
    }

    private init(_ text: String) {
        bytes = Array(text.utf8)
        output = bytes
    }

    private mutating func scan() {
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "/") where starts(with: "//"):
                while index < bytes.count, bytes[index] != 0x0A { blank() }
            case UInt8(ascii: "/") where starts(with: "/*"): blankBlockComment()
            case UInt8(ascii: "\""), UInt8(ascii: "#"):
                if let hashes = hashesOfString() { blankString(hashes: hashes) } else { index += 1 }
            default: index += 1
            }
        }
    }

    private func starts(with text: String) -> Bool { bytes[index...].starts(with: text.utf8) }

    private mutating func blank(_ count: Int = 1) {
        for _ in 0..<count where index < bytes.count {
            if bytes[index] != 0x0A { output[index] = 0x20 }
            index += 1
        }
    }

    private mutating func blankBlockComment() {
        var depth = 0
        while index < bytes.count {
            if starts(with: "/*") {
                depth += 1
                blank(2)
            } else if starts(with: "*/") {
                depth -= 1
                blank(2)
                if depth == 0 { return }
            } else {
                blank()
            }
        }
    }

    /// How many `#` open the string that begins here; nil when none begins.
    private func hashesOfString() -> Int? {
        var end = index
        while end < bytes.count, bytes[end] == UInt8(ascii: "#") { end += 1 }
        return end < bytes.count && bytes[end] == UInt8(ascii: "\"") ? end - index : nil
    }

    private mutating func blankString(hashes: Int) {
        blank(hashes)
        let quotes = starts(with: "\"\"\"") ? 3 : 1
        let fence = String(repeating: "#", count: hashes)
        let end = String(repeating: "\"", count: quotes) + fence
        blank(quotes)
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "\""), starts(with: end) { return blank(quotes + hashes) }
            if bytes[index] == UInt8(ascii: "\\"), starts(with: "\\" + fence) {
                blank(1 + hashes)
                if index < bytes.count, bytes[index] == UInt8(ascii: "(") { passInterpolation() } else { blank() }
            } else if quotes == 1, bytes[index] == 0x0A {
                return
            } else {
                blank()
            }
        }
    }

    private mutating func passInterpolation() {
        var depth = 0
        while index < bytes.count {
            if let hashes = hashesOfString() {
                blankString(hashes: hashes)
                continue
            }
            if bytes[index] == UInt8(ascii: "(") { depth += 1 }
            if bytes[index] == UInt8(ascii: ")") { depth -= 1 }
            index += 1
            if depth == 0 { return }
        }
    }
}
