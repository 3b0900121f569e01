import Basics
import Model
import Testing

@testable import Storage

@Suite struct ChunkTests {
    /// Values and steps of several kinds: steady, jittering, with jumps, constant, special.
    private func samples(seed: UInt64, count: Int) -> [(Int64, Double)] {
        var random = SeededRandom(seed: seed)
        var time = Int64.random(in: -1_000_000...2_000_000_000_000, using: &random)
        var value = Double.random(in: -100...100, using: &random)
        let kind = seed % 6
        return (0..<count).map { _ in
            defer {
                time +=
                    kind == 2
                    ? Int64.random(in: 1...(1 << 40), using: &random)
                    : 15_000 + (kind == 1 ? Int64.random(in: -3...3, using: &random) : 0)
            }
            switch kind {
            case 0: value += 1
            case 1: value = Double.random(in: -1e9...1e9, using: &random)
            case 2: value = Double(bitPattern: random.next())
            case 3: break
            case 4:
                value = [0, .infinity, -.infinity, SpecialValue.stale, SpecialValue.notANumber, 1].randomElement(
                    using: &random)!
            default: value += Double(Int.random(in: 0...3, using: &random))
            }
            return (time, value)
        }
    }

    @Test("what went in comes out, bit for bit", arguments: 0..<300)
    func roundTrip(seed: UInt64) {
        var arena = ChunkArena()
        var chunk = OpenChunk()
        let expected = samples(seed: seed, count: 120)
        var read: [(Int64, UInt64)] = []
        var written = 0
        for (time, value) in expected {
            if chunk.isFull { break }
            chunk.append(time, value, &arena)
            written += 1
        }
        let closed = chunk.close(&arena)
        #expect(
            closed.sampleCount == written
                && (closed.firstTime, closed.lastTime) == (expected[0].0, expected[written - 1].0))
        var decoder = unsafe ChunkDecoder(
            bytes: closed.bytes.unsafelyUnwrapped, byteCount: Int(closed.byteCount), sampleCount: written)
        while decoder.next() { read.append((decoder.time, decoder.value.bitPattern)) }
        #expect(read.map(\.0) == expected.prefix(written).map(\.0), "seed \(seed)")
        #expect(read.map(\.1) == expected.prefix(written).map(\.1.bitPattern), "seed \(seed)")
    }

    @Test("a copy of a part is what is read one by one", arguments: 0..<300)
    func copies(seed: UInt64) {
        var arena = ChunkArena()
        var chunk = OpenChunk()
        let expected = samples(seed: seed, count: 120)
        for (time, value) in expected where !chunk.isFull { chunk.append(time, value, &arena) }
        let closed = chunk.close(&arena)
        let count = Int(closed.sampleCount)
        for (after, through) in [(-1, count), (0, count), (1, count - 1), (count / 2, count / 2 + 7), (count, count)] {
            let bounds = (
                after < 0 ? Int64.min : expected[min(after, count - 1)].0, expected[min(through, count - 1)].0
            )
            var times = Array(repeating: Int64(0), count: count)
            var values = Array(repeating: 0.0, count: count)
            let copied = unsafe times.withUnsafeMutableBufferPointer { times in
                unsafe values.withUnsafeMutableBufferPointer { values in
                    let decoder = unsafe ChunkDecoder(
                        bytes: closed.bytes.unsafelyUnwrapped, byteCount: Int(closed.byteCount), sampleCount: count)
                    return unsafe decoder.copy(
                        after: bounds.0, through: bounds.1, times: times.baseAddress!, values: values.baseAddress!)
                }
            }
            let wanted = expected.prefix(count).filter { $0.0 > bounds.0 && $0.0 <= bounds.1 }
            #expect(Array(times.prefix(copied)) == wanted.map(\.0), "seed \(seed)")
            #expect(
                values.prefix(copied).map(\.bitPattern) == wanted.map(\.1.bitPattern), "seed \(seed), after \(after)")
        }
    }

    @Test("the arena gives back what it took") func arena() {
        var arena = ChunkArena()
        for seed in 0..<50 {
            var chunk = OpenChunk()
            for (time, value) in samples(seed: UInt64(seed), count: 100) where !chunk.isFull {
                chunk.append(time, value, &arena)
            }
            let closed = chunk.close(&arena)
            unsafe arena.give(closed.bytes.unsafelyUnwrapped)
        }
        #expect(arena.usedBytes == 0)
    }

    @Test("chunks that grow together leave nothing behind in the sizes that they grew out of")
    func growTogether() {
        var arena = ChunkArena()
        var chunks = [OpenChunk](repeating: OpenChunk(), count: 5000)
        for (time, value) in samples(seed: 1, count: 40) {
            for index in chunks.indices { chunks[index].append(time, value, &arena) }
        }
        #expect(arena.reservedBytes < arena.usedBytes * 5 / 4)
        for index in chunks.indices { chunks[index].discard(&arena) }
        #expect(arena.usedBytes == 0)
        #expect(arena.reservedBytes <= 2 << 20)
    }

    @Test("no two buffers of the arena overlap, whatever was taken and given back before")
    func separateBuffers() {
        for seed in UInt64(900)..<920 {
            var random = SeededRandom(seed: seed)
            var arena = ChunkArena()
            var held: [(buffer: UnsafeMutableBufferPointer<UInt8>, mark: UInt8)] = unsafe []
            for step in 0..<6000 {
                let isGrowing = step / 1000 % 2 == 0
                if unsafe Int.random(in: 0..<100, using: &random) < (isGrowing ? 70 : 30) || held.isEmpty {
                    let classes = step < 3000 ? 4 : ChunkArena.sizes.count
                    let sizeClass = Int.random(in: 0..<classes, using: &random)
                    let buffer = unsafe UnsafeMutableBufferPointer(
                        start: arena.take(UInt8(sizeClass)), count: ChunkArena.sizes[sizeClass])
                    let mark = UInt8(truncatingIfNeeded: step)
                    unsafe buffer.update(repeating: mark)
                    unsafe held.append((buffer, mark))
                } else {
                    let (buffer, mark) = unsafe held.remove(at: Int.random(in: 0..<held.count, using: &random))
                    #expect(unsafe buffer.allSatisfy { $0 == mark }, "seed \(seed)")
                    unsafe arena.give(buffer.baseAddress!)
                }
            }
            let size = unsafe held.reduce(0) { unsafe $0 + $1.buffer.count }
            #expect(arena.usedBytes == size, "seed \(seed)")
        }
    }
}
