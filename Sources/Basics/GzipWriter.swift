internal import CZlib

/// Writes gzip (RFC 1952) piece by piece, for answers that are made as they are written and read once: fast rather than
/// small. About 3 ns a byte of JSON, which becomes a fifth to a tenth.
///
/// Each piece of 64 KiB is a block by itself: the newest place where four bytes stood is the only one that is looked
/// at, and a block has codes of its own.
///
/// - SeeAlso: RFC 1951; A. Moffat and J. Katajainen, "In-Place Calculation of Minimum-Redundancy Codes" (1995).
public struct GzipWriter: ~Copyable {
    /// What is compressed so far.
    private var output: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4, 0xFF]
    private var checksum: UInt = 0
    private var size: UInt32 = 0
    /// Bits that fill no byte yet, the first one lowest.
    private var bits: UInt64 = 0
    private var bitCount = 0
    /// Where four bytes with some hash stood last in the piece.
    private var places = [UInt16](repeating: 0, count: 1 << GzipWriter.hashBits)
    /// Bytes as they are, and matches as `mark | length - 3 << 16 | distance - 1`.
    private var tokens = [UInt32](repeating: 0, count: GzipWriter.piece)
    private var lengthCounts = [UInt32](repeating: 0, count: GzipWriter.lengthSymbols)
    private var distanceCounts = [UInt32](repeating: 0, count: GzipWriter.distanceSymbols)

    private static let hashBits: UInt32 = 13
    private static let piece = 1 << 16
    private static let lengthSymbols = 286, distanceSymbols = 30
    private static let endSymbol = 256
    private static let mark: UInt32 = 1 << 31
    /// What a piece takes at the most: its codes never need more than 15 bits a token, nor the block's head 200 bytes.
    private static let room = 2 * piece + 512

    /// A stream without content.
    public init() {}

    /// Compresses some bytes, best many at once.
    public mutating func write(_ input: Span<UInt8>) {
        var start = 0
        while start < input.count {
            let end = min(input.count, start + GzipWriter.piece)
            unsafe input.extracting(start..<end).withUnsafeBufferPointer { unsafe writePiece($0) }
            start = end
        }
    }

    /// Ends the stream; all of it.
    public consuming func finish() -> [UInt8] {
        // An empty block that is the last one.
        bits |= 0b011 << UInt64(bitCount)
        bitCount += 10
        while bitCount > 0 {
            output.append(UInt8(truncatingIfNeeded: bits))
            bits >>= 8
            bitCount -= 8
        }
        for word in [UInt32(truncatingIfNeeded: checksum), size] {
            for shift in stride(from: UInt32(0), to: 32, by: 8) {
                output.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        return output
    }

    private mutating func writePiece(_ input: UnsafeBufferPointer<UInt8>) {
        guard let base = input.baseAddress else { return }
        unsafe checksum = crc32(checksum, base, uInt(input.count))
        size &+= UInt32(input.count)
        let count = unsafe match(UnsafeRawPointer(base), input.count)
        let lengths = GzipWriter.codes(&lengthCounts)
        let distances = GzipWriter.codes(&distanceCounts)
        writeHead(lengths, distances)
        var output: [UInt8] = []
        swap(&output, &self.output)
        let filled = output.count
        output.append(contentsOf: repeatElement(0, count: GzipWriter.room))
        let written = unsafe output.withUnsafeMutableBytes { output in
            // Safe: there is room for all tokens, and eight bytes more.
            unsafe emit(count, lengths, distances, to: output.baseAddress.unsafelyUnwrapped + filled)
        }
        output.removeLast(GzipWriter.room - written)
        swap(&output, &self.output)
    }

    /// Cuts a piece into tokens, counts their symbols, and answers how many there are.
    private mutating func match(_ input: UnsafeRawPointer, _ count: Int) -> Int {
        for index in places.indices { places[index] = 0 }
        for index in lengthCounts.indices { lengthCounts[index] = 0 }
        for index in distanceCounts.indices { distanceCounts[index] = 0 }
        lengthCounts[GzipWriter.endSymbol] = 1
        // Two codes at least, so that the tree is complete.
        (distanceCounts[0], distanceCounts[1]) = (1, 1)
        var (place, written) = (0, 0)
        let last = count - 8
        unsafe places.withUnsafeMutableBufferPointer { places in
            unsafe tokens.withUnsafeMutableBufferPointer { tokens in
                unsafe lengthCounts.withUnsafeMutableBufferPointer { lengthCounts in
                    // Safe: hashes are below the number of places, symbols below that of counts, there are no more
                    // tokens than bytes, and eight bytes can be read at every place up to `last`.
                    while place <= last {
                        let word = unsafe input.loadUnaligned(fromByteOffset: place, as: UInt32.self)
                        let hash = Int((word &* 0x9E37_79B1) >> (32 - GzipWriter.hashBits))
                        let candidate = unsafe Int(places[hash])
                        unsafe places[hash] = UInt16(truncatingIfNeeded: place)
                        let distance = place &- candidate
                        if distance > 0, distance <= 32768,
                            unsafe input.loadUnaligned(fromByteOffset: candidate, as: UInt32.self) == word
                        {
                            let length = unsafe GzipWriter.common(
                                input + candidate, input + place, min(258, count &- place))
                            unsafe tokens[written] =
                                GzipWriter.mark | UInt32(truncatingIfNeeded: length &- 3) << 16
                                | UInt32(truncatingIfNeeded: distance &- 1)
                            unsafe lengthCounts[GzipWriter.length(length &- 3).symbol] &+= 1
                            distanceCounts[GzipWriter.distance(distance &- 1).symbol] &+= 1
                            place &+= length
                        } else {
                            unsafe tokens[written] = word & 0xFF
                            unsafe lengthCounts[Int(word & 0xFF)] &+= 1
                            place &+= 1
                        }
                        written &+= 1
                    }
                    while place < count {
                        let byte = unsafe input.load(fromByteOffset: place, as: UInt8.self)
                        unsafe tokens[written] = UInt32(byte)
                        unsafe lengthCounts[Int(byte)] &+= 1
                        place &+= 1
                        written &+= 1
                    }
                }
            }
        }
        return written
    }

    /// How many bytes two places have in common, up to a limit; the first four are known to be equal.
    @inline(__always)
    private static func common(_ one: UnsafeRawPointer, _ other: UnsafeRawPointer, _ limit: Int) -> Int {
        var length = 4
        while length &+ 8 <= limit {
            let (left, right) = unsafe (
                one.loadUnaligned(fromByteOffset: length, as: UInt64.self),
                other.loadUnaligned(fromByteOffset: length, as: UInt64.self)
            )
            let difference = (left ^ right).littleEndian
            if difference != 0 { return length &+ difference.trailingZeroBitCount >> 3 }
            length &+= 8
        }
        while length < limit,
            unsafe one.load(fromByteOffset: length, as: UInt8.self)
                == other.load(fromByteOffset: length, as: UInt8.self)
        {
            length &+= 1
        }
        return length
    }

    /// The symbol of a length less 3, and how many bits of it stand behind the symbol.
    @inline(__always)
    private static func length(_ rest: Int) -> (symbol: Int, extra: Int) {
        if rest < 8 { return (257 &+ rest, 0) }
        if rest == 255 { return (285, 0) }
        let extra = 61 &- rest.leadingZeroBitCount
        return (257 &+ extra << 2 &+ rest >> extra, extra)
    }

    /// The same of a distance less 1.
    @inline(__always)
    private static func distance(_ rest: Int) -> (symbol: Int, extra: Int) {
        if rest < 4 { return (rest, 0) }
        let extra = 62 &- rest.leadingZeroBitCount
        return (extra << 1 &+ rest >> extra, extra)
    }

    /// Codes of at most 15 bits for symbols that occur so often: the bits in the order of writing, and above them,
    /// from bit 16 on, how many they are; 0 for a symbol that does not occur.
    private static func codes(_ counts: inout [UInt32]) -> [UInt32] {
        var order: [Int] = counts.indices.filter { counts[$0] > 0 }
        order.sort { counts[$0] < counts[$1] }
        var lengths: [Int]
        repeat {
            lengths = order.map { Int(counts[$0]) }
            reckonLengths(&lengths)
            // Counts that differ less make a lower tree.
            if let longest = lengths.first, longest > 15 {
                for symbol in order { counts[symbol] = counts[symbol] / 2 + 1 }
            }
        } while (lengths.first ?? 0) > 15
        var next = Array(repeating: UInt32(0), count: 17)
        for length in lengths { next[length + 1] += 1 }
        for length in 1...15 { next[length] = (next[length] + next[length - 1]) << 1 }
        var result = Array(repeating: UInt32(0), count: counts.count)
        for (index, symbol) in order.enumerated() { result[symbol] = UInt32(lengths[index]) << 16 }
        for symbol in result.indices where result[symbol] != 0 {
            let length = Int(result[symbol] >> 16)
            var (code, reversed) = (next[length], UInt32(0))
            next[length] += 1
            for _ in 0..<length {
                reversed = reversed << 1 | code & 1
                code >>= 1
            }
            result[symbol] |= reversed
        }
        return result
    }

    /// Turns counts, at least two, sorted from the smallest, into lengths of codes.
    private static func reckonLengths(_ counts: inout [Int]) {
        let size = counts.count
        counts[0] += counts[1]
        var (root, leaf) = (0, 2)
        for next in 1..<max(1, size - 1) {
            func take() -> Int {
                defer { leaf += 1 }
                return counts[leaf]
            }
            func takeRoot(_ next: Int) -> Int {
                defer {
                    counts[root] = next
                    root += 1
                }
                return counts[root]
            }
            let first = leaf >= size || counts[root] < counts[leaf] ? takeRoot(next) : take()
            let second = leaf >= size || (root < next && counts[root] < counts[leaf]) ? takeRoot(next) : take()
            counts[next] = first + second
        }
        counts[size - 2] = 0
        for next in stride(from: size - 3, through: 0, by: -1) { counts[next] = counts[counts[next]] + 1 }
        var (available, depth) = (1, 0)
        (root, leaf) = (size - 2, size - 1)
        while available > 0 {
            var used = 0
            while root >= 0, counts[root] == depth {
                used += 1
                root -= 1
            }
            while available > used {
                counts[leaf] = depth
                leaf -= 1
                available -= 1
            }
            (available, depth) = (2 * used, depth + 1)
        }
    }

    private mutating func put(_ value: UInt32, _ count: Int) {
        bits |= UInt64(value) << UInt64(bitCount)
        bitCount += count
        while bitCount >= 8 {
            output.append(UInt8(truncatingIfNeeded: bits))
            bits >>= 8
            bitCount -= 8
        }
    }

    /// The head of a block with codes of its own. The lengths of the codes are written as they are, four bits each.
    private mutating func writeHead(_ lengths: [UInt32], _ distances: [UInt32]) {
        put(0b100, 3)
        put(UInt32(GzipWriter.lengthSymbols - 257), 5)
        put(UInt32(GzipWriter.distanceSymbols - 1), 5)
        // All of the 19 codes for lengths: none for the three that repeat, four bits for 0…15.
        put(15, 4)
        for index in 0..<19 { put(index < 3 ? 0 : 4, 3) }
        for code in [lengths, distances].joined() {
            let length = code >> 16
            put((length & 1) << 3 | (length & 2) << 1 | (length & 4) >> 1 | (length & 8) >> 3, 4)
        }
    }

    /// Writes the codes of tokens; answers how many bytes they are.
    private mutating func emit(
        _ count: Int, _ lengths: [UInt32], _ distances: [UInt32], to target: UnsafeMutableRawPointer
    ) -> Int {
        var (bits, bitCount, written) = (bits, bitCount, 0)
        @inline(__always)
        func add(_ code: UInt32) {
            bits |= UInt64(code & 0xFFFF) &<< UInt64(truncatingIfNeeded: bitCount)
            bitCount &+= Int(code >> 16)
        }
        @inline(__always)
        func add(_ value: Int, _ count: Int) {
            bits |= UInt64(truncatingIfNeeded: value & (1 << count &- 1)) &<< UInt64(truncatingIfNeeded: bitCount)
            bitCount &+= count
        }
        @inline(__always)
        func flush() {
            unsafe target.storeBytes(of: bits.littleEndian, toByteOffset: written, as: UInt64.self)
            written &+= bitCount >> 3
            bits &>>= UInt64(truncatingIfNeeded: bitCount & ~7)
            bitCount &= 7
        }
        let held = tokens
        let (tokens, lengths, distances) = (held.span, lengths.span, distances.span)
        for index in 0..<count {
            let token = tokens[index]
            if token & GzipWriter.mark == 0 {
                add(lengths[Int(token)])
            } else {
                // At most 7 + 15 + 5 + 15 + 13 bits.
                let rest = Int(token >> 16 & 0xFF)
                let (symbol, extra) = GzipWriter.length(rest)
                add(lengths[symbol])
                add(rest, extra)
                let far = Int(token & 0x7FFF)
                let distance = GzipWriter.distance(far)
                add(distances[distance.symbol])
                add(far, distance.extra)
            }
            flush()
        }
        add(lengths[GzipWriter.endSymbol])
        flush()
        (self.bits, self.bitCount) = (bits, bitCount)
        return written
    }
}
