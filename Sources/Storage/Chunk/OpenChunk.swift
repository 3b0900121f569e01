/// The chunk that a series is writing: Prometheus' XOR encoding in raw bits.
///
///     count u16 big-endian | t0 varint | v0 64 bits | Δt1 uvarint | v1 xor | (ΔΔt, v xor)…
///
/// Owned by its series; the arena gives the memory. 120 samples of a steady counter take about 200 bytes.
///
/// - SeeAlso: Pelkonen et al., "Gorilla", VLDB 2015; Prometheus, `tsdb/chunkenc/xor.go`.
@safe struct OpenChunk {
    /// Bytes of a chunk at the most, and samples after which it is closed.
    static let maximumBytes = 1024, maximumSamples = 120

    private(set) var bytes: UnsafeMutablePointer<UInt8>?
    private(set) var bitCount: UInt16 = 0
    private(set) var sampleCount: UInt16 = 0
    private(set) var sizeClass: UInt8 = 0
    private var leading: UInt8 = 0xFF
    private var trailing: UInt8 = 0
    private(set) var firstTime: Int64 = 0
    private(set) var lastTime: Int64 = .min
    private var lastDelta: Int64 = 0
    private(set) var lastValue: Double = 0

    init() { unsafe bytes = nil }

    var isEmpty: Bool { sampleCount == 0 }
    var byteCount: Int { (Int(bitCount) + 7) / 8 }
    /// Whether the next sample needs a new chunk.
    var isFull: Bool { sampleCount >= Self.maximumSamples || byteCount > Self.maximumBytes - 24 }

    /// Appends a sample later than the last.
    mutating func append(_ time: Int64, _ value: Double, _ arena: inout ChunkArena) {
        reserve(&arena)
        if sampleCount == 0 { bitCount = 16 }
        var bits = unsafe BitWriter(bytes.unsafelyUnwrapped, bitCount: Int(bitCount))
        switch sampleCount {
        case 0:
            bits.writeVarint(UInt64(bitPattern: (time << 1) ^ (time >> 63)))
            bits.write(value.bitPattern, 64)
            firstTime = time
        case 1:
            lastDelta = time - lastTime
            bits.writeVarint(UInt64(bitPattern: lastDelta))
            writeValue(value, to: &bits)
        default:
            let delta = time - lastTime
            bits.writeDeltaOfDelta(delta - lastDelta)
            lastDelta = delta
            writeValue(value, to: &bits)
        }
        bitCount = UInt16(bits.finish())
        sampleCount += 1
        lastTime = time
        lastValue = value
    }

    /// Gives the finished bytes, in a buffer that fits them, and starts anew with the last sample still known.
    mutating func close(_ arena: inout ChunkArena) -> ClosedChunk {
        let count = byteCount
        let fit = ChunkArena.sizeClass(for: count)
        guard let bytes = unsafe bytes else { preconditionFailure("an empty chunk is closed") }
        unsafe bytes[0] = UInt8(sampleCount >> 8)
        unsafe bytes[1] = UInt8(sampleCount & 0xFF)
        var result = unsafe ClosedChunk(bytes: bytes, byteCount: UInt16(count), sizeClass: sizeClass)
        if fit < sizeClass {
            let exact = unsafe arena.take(fit)
            unsafe exact.update(from: bytes, count: count)
            unsafe arena.give(bytes)
            unsafe result = ClosedChunk(bytes: exact, byteCount: UInt16(count), sizeClass: fit)
        }
        result.sampleCount = sampleCount
        (result.firstTime, result.lastTime) = (firstTime, lastTime)
        let (time, value) = (lastTime, lastValue)
        self = OpenChunk()
        (lastTime, lastValue) = (time, value)
        return result
    }

    /// An empty chunk behind a sample that is elsewhere.
    mutating func goOn(after time: Int64, _ value: Double) { (lastTime, lastValue) = (time, value) }

    /// Gives the memory back without a chunk.
    mutating func discard(_ arena: inout ChunkArena) {
        if let bytes = unsafe bytes { unsafe arena.give(bytes) }
        unsafe self.bytes = nil
        sampleCount = 0
    }

    private mutating func reserve(_ arena: inout ChunkArena) {
        let needed = byteCount + 24
        guard let old = unsafe bytes else {
            sizeClass = ChunkArena.sizeClass(for: needed)
            unsafe bytes = arena.take(sizeClass)
            return
        }
        guard needed > ChunkArena.capacity(of: sizeClass) else { return }
        let larger = ChunkArena.sizeClass(for: needed)
        let fresh = unsafe arena.take(larger)
        unsafe fresh.update(from: old, count: byteCount)
        unsafe arena.give(old)
        unsafe bytes = fresh
        sizeClass = larger
    }

    private mutating func writeValue(_ value: Double, to bits: inout BitWriter) {
        let difference = value.bitPattern ^ lastValue.bitPattern
        guard difference != 0 else { return bits.write(0, 1) }
        let newLeading = UInt8(min(31, difference.leadingZeroBitCount))
        let newTrailing = UInt8(difference.trailingZeroBitCount)
        if leading != 0xFF, newLeading >= leading, newTrailing >= trailing {
            let significant = 64 - Int(leading) - Int(trailing)
            bits.write(0b10, 2)
            return bits.write(difference >> UInt64(trailing), significant)
        }
        (leading, trailing) = (newLeading, newTrailing)
        let significant = 64 - Int(leading) - Int(trailing)
        bits.write(0b11 << 11 | UInt64(leading) << 6 | UInt64(significant & 63), 13)
        bits.write(difference >> UInt64(trailing), significant)
    }
}

/// Writes bits behind those that a buffer holds, the highest first. They gather in a word: memory is read once and
/// written once for most samples. It needs `ChunkArena.slack` bytes of room behind the last.
@safe private struct BitWriter {
    private var next: UnsafeMutableRawPointer
    private let start: UnsafeMutableRawPointer
    /// What is not written yet, from the top.
    private var word: UInt64
    private var count: Int

    init(_ bytes: UnsafeMutablePointer<UInt8>, bitCount: Int) {
        unsafe start = UnsafeMutableRawPointer(bytes)
        unsafe next = start + bitCount >> 3
        count = bitCount & 7
        unsafe word = count == 0 ? 0 : UInt64(next.load(as: UInt8.self)) << 56
    }

    /// Writes the low `width` bits, 1 to 64; those above them are 0.
    @inline(__always)
    mutating func write(_ value: UInt64, _ width: Int) {
        let end = count &+ width
        guard end >= 64 else {
            word |= value << UInt64(truncatingIfNeeded: 64 &- end)
            count = end
            return
        }
        let over = end &- 64
        word |= value &>> UInt64(truncatingIfNeeded: over)
        unsafe next.storeBytes(of: word.bigEndian, as: UInt64.self)
        unsafe next += 8
        // Without a rest the shift is 64, which `<<` knows.
        word = value << UInt64(truncatingIfNeeded: 64 &- over)
        count = over
    }

    /// Writes what is left; how many bits the buffer holds now.
    mutating func finish() -> Int {
        unsafe next.storeBytes(of: word.bigEndian, as: UInt64.self)
        return unsafe (next - start) * 8 + count
    }

    mutating func writeDeltaOfDelta(_ change: Int64) {
        switch change {
        case 0: write(0, 1)
        case -8191...8192: write(0b10 << 14 | UInt64(bitPattern: change) & 0x3FFF, 16)
        case -65535...65536: write(0b110 << 17 | UInt64(bitPattern: change) & 0x1FFFF, 20)
        case -524_287...524_288: write(0b1110 << 20 | UInt64(bitPattern: change) & 0xFFFFF, 24)
        default:
            write(0b1111, 4)
            write(UInt64(bitPattern: change), 64)
        }
    }

    mutating func writeVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            write(rest & 0x7F | 0x80, 8)
            rest >>= 7
        }
        write(rest, 8)
    }
}

/// A finished chunk; it never changes again. It is in memory, or in one of the head's files.
@safe struct ClosedChunk {
    /// Where it is in memory; for a stored one, the file's number and the offset in it.
    private var place: UInt64
    var byteCount: UInt16
    let sizeClass: UInt8
    var sampleCount: UInt16 = 0
    var firstTime: Int64 = 0
    var lastTime: Int64 = 0

    /// The class of chunks that are not in memory.
    private static let stored: UInt8 = 0xFF

    init(bytes: UnsafeMutablePointer<UInt8>, byteCount: UInt16, sizeClass: UInt8) {
        place = UInt64(UInt(bitPattern: bytes))
        (self.byteCount, self.sizeClass) = (byteCount, sizeClass)
    }

    /// A chunk in a file.
    init(storedAt place: UInt64, byteCount: UInt16, sampleCount: UInt16, firstTime: Int64, lastTime: Int64) {
        (self.place, self.byteCount, sizeClass) = (place, byteCount, ClosedChunk.stored)
        (self.sampleCount, self.firstTime, self.lastTime) = (sampleCount, firstTime, lastTime)
    }

    /// The same chunk once it is in a file.
    func stored(at place: UInt64) -> ClosedChunk {
        ClosedChunk(
            storedAt: place, byteCount: byteCount, sampleCount: sampleCount, firstTime: firstTime, lastTime: lastTime)
    }

    /// Its bytes, where they are in memory.
    var bytes: UnsafeMutablePointer<UInt8>? {
        unsafe isStored ? nil : UnsafeMutablePointer(bitPattern: UInt(place))
    }
    var isStored: Bool { sizeClass == ClosedChunk.stored }
    /// Where it is in a file.
    var storedPlace: UInt64? { isStored ? place : nil }

    func isSame(as other: ClosedChunk) -> Bool { place == other.place && sizeClass == other.sizeClass }
}
