import Basics
import Testing

@Suite struct GzipTests {
    @Test("what is compressed comes back", arguments: [0, 1, 1000, 100_000])
    func roundTrip(count: Int) {
        var random = SeededRandom(seed: UInt64(count))
        // Half of it repeats, half does not.
        let bytes = (0..<count).map { $0 % 2 == 0 ? UInt8(truncatingIfNeeded: random.next()) : 7 }
        let compressed = Gzip.compress(bytes)
        #expect(compressed.starts(with: [0x1F, 0x8B]))
        #expect(Gzip.decompress(compressed, limit: max(count, 1)) == bytes)
        #expect(Gzip.decompress(Array(compressed.dropLast()), limit: 1 << 20) == nil, "cut off")
    }

    @Test("a bomb stops at the limit, and what is no gzip is refused") func limits() {
        let bomb = Gzip.compress([UInt8](repeating: 0, count: 50 << 20))
        #expect(bomb.count < 1 << 20)
        #expect(Gzip.decompress(bomb, limit: 1 << 20) == nil)
        #expect(Gzip.decompress(Array("no gzip at all".utf8), limit: 1 << 20) == nil)
    }
}
