import Basics
import TestSupport
import Testing

@Suite struct ByteTextTests {
    @Test("texts are told apart by their bytes, and sort by them", arguments: 0..<20) func bytes(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        // Ways to write the same, of equal and of other lengths; long ones stand in memory of their own.
        let parts = [
            "", "a", "é", "e\u{301}", "K", "\u{212A}", "a\u{301}\u{323}", "a\u{323}\u{301}", "\u{F900}", "\u{8C48}",
            "\0",
            "long enough to stand in memory of its own ",
        ]
        func text() -> String {
            (0..<Int.random(in: 0...3, using: &random)).map { _ in parts.randomElement(using: &random) ?? "" }.joined()
        }
        let texts = (0..<300).map { _ in text() }
        for (one, other) in zip(texts, texts.shuffled(using: &random)) {
            let copy = String(decoding: Array(one.utf8), as: UTF8.self)
            #expect(one.isSame(as: copy) && ByteText(one).hashValue == ByteText(copy).hashValue, "seed \(seed)")
            #expect(one.isSame(as: other) == one.utf8.elementsEqual(other.utf8), "seed \(seed): \(one) \(other)")
            #expect(one.isBefore(other) == one.utf8.lexicographicallyPrecedes(other.utf8), "seed \(seed)")
        }
        let unique = Set(texts.map { Array($0.utf8) }).sorted { $0.lexicographicallyPrecedes($1) }
        #expect(texts.sortedUnique().map { Array($0.utf8) } == unique, "seed \(seed)")
        #expect(["é"].holds("é") && !["é"].holds("e\u{301}"))
    }

    @Test("an id in ASCII keeps apart what differs") func ascii() {
        #expect("a\\\"b".inASCII == "a\\\"b")
        #expect(Set(["\"é\"", "\"e\u{301}\"", "\"\\\\u{e9}\""].map(\.inASCII)).count == 3)
    }

    @Test("an object keeps members whose names differ only in how they are written", arguments: [1, 20])
    func members(count: Int) throws {
        let filling = (0..<count).map { "\"\($0)\":0," }.joined()
        let json = try JSON(parsing: "{\(filling)\"é\":1,\"e\u{301}\":2,\"é\":3}")
        #expect(json.members?.suffix(2).map(\.value) == [3, 2])
    }
}
