/// Reads the samples of an XOR chunk, one after the other. About 3 ns a sample.
@safe struct ChunkDecoder {
    private let bytes: UnsafePointer<UInt8>
    private let bitEnd: Int
    private var position = 16
    private var index = 0
    private let count: Int
    private var leading = 0
    private var trailing = 0
    private var delta: Int64 = 0
    private(set) var time: Int64 = 0
    private var bits: UInt64 = 0

    /// - Parameter bytes: At least `ChunkArena.slack` bytes more than `byteCount` can be read.
    init(bytes: UnsafePointer<UInt8>, byteCount: Int, sampleCount: Int) {
        unsafe self.bytes = bytes
        bitEnd = byteCount * 8
        count = sampleCount
    }

    var value: Double { Double(bitPattern: bits) }

    /// Copies the samples in `(after, through]` to where `times` and `values` point, which has room for all of them,
    /// and answers how many there were. One loop without a call: most of what a long query does.
    consuming func copy(
        after: Int64, through: Int64, times: UnsafeMutablePointer<Int64>, values: UnsafeMutablePointer<Double>
    ) -> Int {
        var written = 0
        var first = self
        for _ in 0..<2 {
            guard first.next() else { return written }
            if first.time <= after { continue }
            if first.time > through { return written }
            unsafe times[written] = first.time
            unsafe values[written] = first.value
            written += 1
        }
        return unsafe first.copyRest(after: after, through: through, times: times, values: values, from: written)
    }

    /// The samples behind the second. The same reading as `nextOfMany`, written out over variables whose address nobody
    /// takes, so that they live in registers.
    private func copyRest(
        after: Int64, through: Int64, times: UnsafeMutablePointer<Int64>, values: UnsafeMutablePointer<Double>,
        from first: Int
    ) -> Int {
        let (bitEnd, base) = unsafe (bitEnd, UnsafeRawPointer(bytes))
        var (written, left) = (first, count - index)
        var (position, delta, time, bits) = (position, delta, time, bits)
        var (leading, trailing) = (leading, trailing)
        while left > 0, position < bitEnd {
            left -= 1
            // Safe: `position` is below `bitEnd` or one sample's bits behind it, and the slack can be read there.
            var word = unsafe UInt64(bigEndian: base.loadUnaligned(fromByteOffset: position >> 3, as: UInt64.self))
            word = word &<< UInt64(truncatingIfNeeded: position & 7)
            if Int64(bitPattern: word) >= 0 {
                position &+= 1
                word <<= 1
            } else {
                var rest = self
                (rest.position, rest.delta) = (position, 0)
                delta &+= rest.deltaOfDelta()
                position = rest.position
                guard position < bitEnd else { return written }
                word = unsafe UInt64(bigEndian: base.loadUnaligned(fromByteOffset: position >> 3, as: UInt64.self))
                word = word &<< UInt64(truncatingIfNeeded: position & 7)
            }
            time &+= delta
            if Int64(bitPattern: word) >= 0 {
                position &+= 1
            } else {
                var skipped = 2
                if word >> 62 == 0b11 {
                    let window = Int(truncatingIfNeeded: (word &<< 2) &>> 53)
                    leading = window >> 6
                    let significant = window & 63
                    trailing = 64 &- leading &- (significant == 0 ? 64 : significant)
                    skipped = 13
                }
                position &+= skipped
                let significant = 64 &- leading &- trailing
                // 57 bits are in the word at least, less those of the time and the window.
                if significant > 0, significant <= 43 {
                    let value = word &<< UInt64(truncatingIfNeeded: skipped)
                    bits ^=
                        (value &>> UInt64(truncatingIfNeeded: 64 &- significant))
                        &<< UInt64(truncatingIfNeeded: trailing)
                    position &+= significant
                } else {
                    var rest = self
                    rest.position = position
                    bits ^= rest.read(significant) << UInt64(truncatingIfNeeded: max(0, trailing))
                    position = rest.position
                }
            }
            guard position <= bitEnd else { break }
            if time <= after { continue }
            if time > through { break }
            unsafe times[written] = time
            unsafe values[written] = Double(bitPattern: bits)
            written += 1
        }
        return written
    }

    /// Moves to the next sample, which is neither the first nor the second.
    @inline(__always)
    private mutating func nextOfMany() -> Bool {
        guard index < count, position < bitEnd else { return false }
        delta &+= deltaOfDelta()
        time &+= delta
        readValue()
        index += 1
        return position <= bitEnd
    }

    /// Moves to the next sample; false at the end, and where the bytes end before the samples do.
    mutating func next() -> Bool {
        guard index < count, position < bitEnd else { return false }
        switch index {
        case 0:
            let raw = varint()
            time = Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
            bits = read(64)
        case 1:
            delta = Int64(bitPattern: varint())
            time &+= delta
            readValue()
        default: return nextOfMany()
        }
        index += 1
        return position <= bitEnd
    }

    @inline(__always)
    private mutating func deltaOfDelta() -> Int64 {
        let head = peek()
        if head >> 63 == 0 {
            position += 1
            return 0
        }
        let (prefix, width): (Int, Int) =
            switch (~head).leadingZeroBitCount {
            case 1: (2, 14)
            case 2: (3, 17)
            case 3: (4, 20)
            default: (4, 64)
            }
        position += prefix
        let raw = read(width)
        guard width < 64, raw > 1 << UInt64(width - 1) else { return Int64(bitPattern: raw) }
        return Int64(bitPattern: raw) - (1 << Int64(width))
    }

    @inline(__always)
    private mutating func readValue() {
        let head = peek()
        guard head >> 63 == 1 else {
            position += 1
            return
        }
        position += 2
        if head >> 62 == 0b11 {
            let window = read(11)
            leading = Int(window >> 6)
            let significant = Int(window & 63)
            trailing = 64 - leading - (significant == 0 ? 64 : significant)
        }
        let significant = 64 - leading - trailing
        bits ^= read(significant) << UInt64(max(0, trailing))
    }

    @inline(never)
    private mutating func varint() -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            let byte = read(8)
            value |= (byte & 0x7F) << shift
            if byte < 0x80 { break }
        }
        return value
    }

    /// The next 57 bits or more, at the top of a word.
    @inline(__always)
    private func peek() -> UInt64 {
        // Safe: `position` is below `bitEnd`, and the slack can be read behind it.
        let word = unsafe UnsafeRawPointer(bytes + (min(position, bitEnd) >> 3)).loadUnaligned(as: UInt64.self)
        return UInt64(bigEndian: word) << UInt64(position & 7)
    }

    @inline(__always)
    private mutating func read(_ count: Int) -> UInt64 {
        if count > 56 {
            let high = readFew(count - 32)
            return high << 32 | readFew(32)
        }
        return count > 0 ? readFew(count) : 0
    }

    /// At most 56 bits, at least one.
    @inline(__always)
    private mutating func readFew(_ count: Int) -> UInt64 {
        let value = peek() >> UInt64(64 - count)
        position += count
        return value
    }
}
