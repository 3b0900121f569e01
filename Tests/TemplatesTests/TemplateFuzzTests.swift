import Basics
import Foundation
import TestSupport
import Testing

@testable import Templates

/// Templates that are broken at random, as text and as pages. `VEDETTE_FUZZ` multiplies the rounds.
@Suite struct TemplateFuzzTests {
    /// What somebody might put into a label to take a page over; its parts are told by their letters.
    private static let attack = "q\"'`><script>zqz(1)</script><!--*/ javascript:zqz(2) onzqz=3 \\"

    private static let pieces = [
        "<a href=\"{{ .x }}\">", "<a href='/p?q={{ .x }}'>", "<a title={{ .x }}>", "<p style=\"color: {{ .x }}\">",
        "<p style=\"background: url({{ .x }})\">", "<script>var a = {{ .x }};</script>", "<b {{ .x }}=\"1\">",
        "<script>var a = \"{{ .x }}\" + '{{ .x }}' + `{{ .x }}`;</script>", "<style>p { color: {{ .x }} }</style>",
        "<textarea>{{ .x }}</textarea>", "<title>{{ .x }}</title>", "<!-- {{ .x }} -->",
        "<button onclick=\"f({{ .x }})\">",
        "<img src={{ .x }} srcset=\"{{ .x }} 2x\">", "{{ .x }}", "{{ if .x }}", "{{ else }}", "{{ end }}",
        "{{ range .list }}", "{{ with .x }}", "{{ define \"t\" }}", "{{ template \"t\" . }}", "{{ .x | html }}",
        "{{ .x | urlquery }}", "{{ .x | js }}", "{{ printf \"%q\" .x }}", "{{ $v := .x }}", "{{ $v }}", "<p>", "</p>",
        "text", " ", "\"", "'", ">", "<", "/", "=", "{{", "}}", "<script>", "</script>", "/*", "*/", "// ", "\n",
        "url(",
        "`", "${", "}", "<!--", "-->", "&quot;", "é",
    ]

    private static let corpus: [String] = {
        guard let file = Peers.file("alertmanager/template/engine_cases.json"),
            let cases = try? JSON(parsing: Peers.bytes(file)).array
        else { return [] }
        return cases.compactMap { $0["template"]?.string }
    }()

    private func text(_ random: inout SeededRandom) -> String {
        if let known = TemplateFuzzTests.corpus.randomElement(using: &random), Bool.random(using: &random) {
            var bytes = Array(known.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes.remove(at: place)
                case 1: bytes.insert(UInt8.random(in: 32...126, using: &random), at: place)
                default: bytes.insert(contentsOf: Array("{{ .x }}".utf8), at: place)
                }
            }
            return String(decoding: bytes, as: UTF8.self)
        }
        return (0..<Int.random(in: 1...8, using: &random)).map { _ in
            TemplateFuzzTests.pieces.randomElement(using: &random) ?? ""
        }.joined()
    }

    @Test("broken templates end in a text or a located error, and no value becomes markup", arguments: [1, 2, 3, 4])
    func fuzz(seed: UInt64) {
        let times = ProcessInfo.processInfo.environment["VEDETTE_FUZZ"].flatMap { Int($0) } ?? 1
        var random = SeededRandom(seed: seed)
        let attack = TemplateValue.string(TemplateFuzzTests.attack)
        let data = TemplateValue.fields([
            "x": attack, "list": .list([attack, .int(1), .null]), "a": .fields(["b": attack]),
        ])
        var rendered = 0
        for _ in 0..<1500 * times {
            let text = text(&random)
            for isHTML in [false, true] {
                do {
                    let output = try Template(
                        parsing: text, name: "t", functions: .alertmanager, isHTML: isHTML
                    ).render(data)
                    rendered += 1
                    guard isHTML else { continue }
                    #expect(!output.contains("<script>zqz"), "seed \(seed): \(text) gives \(output)")
                    #expect(!output.contains("</script><!--*/ j"), "seed \(seed): \(text) gives \(output)")
                } catch {
                    #expect(error.line >= 1 && error.column >= 1, "seed \(seed): \(text)")
                }
            }
        }
        #expect(rendered > 500 * times)
    }
}
