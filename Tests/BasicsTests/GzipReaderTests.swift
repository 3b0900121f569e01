import Basics
import TestSupport
import Testing

@Suite struct GzipReaderTests {
    private func read(_ pieces: [ArraySlice<UInt8>], limit: Int = 1 << 20) -> (GzipReader.Outcome, Bool, [UInt8]) {
        let reader = GzipReader()!
        var body: [UInt8] = []
        for piece in pieces {
            let outcome = unsafe piece.withUnsafeBytes { unsafe reader.read($0, into: &body, limit: limit) }
            guard outcome == .taken else { return (outcome, reader.isWhole, body) }
        }
        return (.taken, reader.isWhole, body)
    }

    @Test("a body in pieces of any length, of one or two members", arguments: 0..<50) func pieces(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let text = (0..<Int.random(in: 0...60_000, using: &random)).map { UInt8($0 / 7 % 251) }
        let isTwo = random.next() % 2 == 0
        let whole = Gzip.compress(text) + (isTwo ? Gzip.compress(text) : [])
        var pieces: [ArraySlice<UInt8>] = []
        var rest = whole[...]
        while !rest.isEmpty {
            let count = min(rest.count, Int.random(in: 1...300, using: &random))
            pieces.append(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        let (outcome, isWhole, body) = read(pieces, limit: 2 * text.count)
        #expect(outcome == .taken && isWhole && body == (isTwo ? text + text : text), "seed \(seed)")
    }

    @Test("a body that is cut off, anywhere, is not whole") func cut() {
        let whole = Gzip.compress(Array("up 1\nup{a=\"b\"} 2\n".utf8))
        for count in 0..<whole.count { #expect(read([whole[..<count]]).1 == false, "\(count) bytes") }
        #expect(read([whole[...]]).1)
    }

    @Test("what is no gzip, is changed, or follows it is broken; a bomb is too long") func broken() {
        let whole = Gzip.compress([UInt8](repeating: 7, count: 5000))
        var changed = whole
        changed[changed.count - 6] ^= 1
        #expect(read([changed[...]]).0 == .broken)
        #expect(read([Array("no gzip".utf8)[...]]).0 == .broken)
        #expect(read([(whole + Array("garbage".utf8))[...]]).0 == .broken)
        #expect(read([whole[...]], limit: 4999).0 == .tooLong)
        #expect(read([whole[...]], limit: 5000).0 == .taken)
    }
}
