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
        switch sampleCount {
        case 0:
            bitCount = 16
            writeVarint(UInt64(bitPattern: (time << 1) ^ (time >> 63)))
            write(value.bitPattern, 64)
            firstTime = time
        case 1:
            lastDelta = time - lastTime
            writeVarint(UInt64(bitPattern: lastDelta))
            writeValue(value)
        default:
            let delta = time - lastTime
            writeDeltaOfDelta(delta - lastDelta)
            lastDelta = delta
            writeValue(value)
        }
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
            unsafe arena.give(bytes, sizeClass)
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
        if let bytes = unsafe bytes { unsafe arena.give(bytes, sizeClass) }
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
        unsafe arena.give(old, sizeClass)
        unsafe bytes = fresh
        sizeClass = larger
    }

    private mutating func writeDeltaOfDelta(_ change: Int64) {
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

    private mutating func writeValue(_ value: Double) {
        let difference = value.bitPattern ^ lastValue.bitPattern
        guard difference != 0 else { return write(0, 1) }
        let newLeading = UInt8(min(31, difference.leadingZeroBitCount))
        let newTrailing = UInt8(difference.trailingZeroBitCount)
        if leading != 0xFF, newLeading >= leading, newTrailing >= trailing {
            let significant = 64 - Int(leading) - Int(trailing)
            write(0b10, 2)
            return write(difference >> UInt64(trailing), significant)
        }
        (leading, trailing) = (newLeading, newTrailing)
        let significant = 64 - Int(leading) - Int(trailing)
        write(0b11 << 11 | UInt64(leading) << 6 | UInt64(significant & 63), 13)
        write(difference >> UInt64(trailing), significant)
    }

    private mutating func writeVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            write(rest & 0x7F | 0x80, 8)
            rest >>= 7
        }
        write(rest, 8)
    }

    /// Writes the low `count` bits, the highest first.
    private mutating func write(_ value: UInt64, _ count: Int) {
        if count > 56 {
            write(value >> 32, count - 32)
            return write(value & 0xFFFF_FFFF, 32)
        }
        let position = Int(bitCount)
        // Safe: `reserve` left room for a whole sample, and the slack lets the last word reach past the capacity.
        unsafe (UnsafeMutableRawPointer(bytes.unsafelyUnwrapped) + (position >> 3)).orBigEndian(
            value << UInt64(64 - (position & 7) - count))
        bitCount += UInt16(count)
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

extension UnsafeMutableRawPointer {
    fileprivate func orBigEndian(_ word: UInt64) {
        let old = unsafe UInt64(bigEndian: loadUnaligned(as: UInt64.self))
        unsafe storeBytes(of: (old | word).bigEndian, as: UInt64.self)
    }
}
