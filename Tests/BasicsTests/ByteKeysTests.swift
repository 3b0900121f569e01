import Basics
import TestSupport
import Testing

@Suite struct ByteKeysTests {
    @Test("texts and numbers sort as they do by themselves, zeros within included", arguments: 0..<20)
    func order(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let parts = ["", "\0", "a", "a\0", "a\0b", "a\u{1}", "ab", "é", "\u{10FFFF}"]
        let rows = (0..<200).map { _ in
            (
                parts.randomElement(using: &random) ?? "", parts.randomElement(using: &random) ?? "",
                Int64.random(in: -2...2, using: &random)
            )
        }
        var keys = ByteKeys(capacity: rows.count)
        for row in rows {
            keys.begin()
            keys.add(row.0)
            keys.add(row.1)
            keys.add(row.2)
        }
        func isBefore(_ one: Int, _ other: Int) -> Bool {
            let (left, right) = (rows[one], rows[other])
            if left.0 != right.0 { return left.0.utf8.lexicographicallyPrecedes(right.0.utf8) }
            if left.1 != right.1 { return left.1.utf8.lexicographicallyPrecedes(right.1.utf8) }
            return left.2 == right.2 ? one < other : left.2 < right.2
        }
        #expect(keys.order() == rows.indices.sorted(by: isBefore), "seed \(seed)")
    }

    @Test("a list is handed over one by one, and a mistake is told where it stands") func elements() throws {
        var seen: [JSON] = []
        #expect(try JSON.elements(parsing: Array(" [1, {\"a\": [2]}, \"x\\n\"] ".utf8)) { seen.append($0) } == nil)
        #expect(seen == [1, ["a": [2]], "x\n"])
        #expect(try JSON.elements(parsing: Array("{}".utf8)) { _ in } == .object([]))
        for text in ["[1, 2", "[1 2]", "[1] 2", ""] {
            let whole = #expect(throws: JSONError.self) { _ = try JSON(parsing: text) }
            let stream = #expect(throws: JSONError.self) { _ = try JSON.elements(parsing: Array(text.utf8)) { _ in } }
            #expect(whole != nil && whole == stream)
        }
    }
}
