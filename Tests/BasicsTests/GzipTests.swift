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

    private static let kinds = ["noise", "one byte", "numbers", "skewed", "pairs far apart", "text"]

    private func bytes(_ kind: String, _ count: Int, _ random: inout SeededRandom) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            switch kind {
            case "noise": bytes.append(UInt8(truncatingIfNeeded: random.next()))
            case "one byte": bytes.append(7)
            case "numbers":
                bytes += #"[\#(1_790_000_000 + bytes.count / 30 * 60),"\#(Double(random.next() % 100_000) / 7)"],"#.utf8
            case "skewed":
                // Each byte half as frequent as the one before: the longest codes.
                bytes.append(UInt8(random.next().trailingZeroBitCount))
            case "pairs far apart":
                // The same words, up to twice the longest distance apart.
                var word = SeededRandom(seed: random.next() % 5)
                for _ in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: word.next())) }
                for _ in 0..<Int(random.next() % 60_000) { bytes.append(UInt8(random.next() % 3)) }
            default: bytes += "the store takes the sample, the sample takes its place \(random.next() % 10) ".utf8
            }
        }
        return Array(bytes.prefix(count))
    }

    @Test("whatever is compressed, in whatever pieces, zlib reads it", arguments: kinds)
    func readByZlib(kind: String) {
        for seed in UInt64(0)..<5 {
            var random = SeededRandom(seed: seed)
            let count = [0, 1, 3, 8, 9, 300, 65_535, 65_536, 65_537, 140_000].randomElement(using: &random)!
            let input = bytes(kind, count, &random)
            var writer = GzipWriter()
            var start = 0
            while start < input.count {
                let end = min(input.count, start + Int.random(in: 1...100_000, using: &random))
                writer.write(input.span.extracting(start..<end))
                start = end
            }
            let compressed = writer.finish()
            #expect(Gzip.decompress(compressed, limit: 1 << 20) == input, "seed \(seed), \(count) bytes")
            #expect(compressed.count <= input.count + input.count / 16 + 300 * (input.count / 4096 + 2))
        }
        #expect(kind == "noise" || Gzip.compress(repeated(kind)).count < 60_000)
    }

    private func repeated(_ kind: String) -> [UInt8] {
        var random = SeededRandom(seed: 1)
        return bytes(kind, 120_000, &random)
    }
}
