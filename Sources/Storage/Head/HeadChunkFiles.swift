internal import Basics
internal import Model
internal import Synchronization

/// The head's closed chunks on disk, `chunks_head/000001` and on, so that only open chunks are in memory. Prometheus
/// maps such files into memory; here they are read.
///
///     file  = magic u32 | version u8 | 0 0 0 | chunk…, 128 MiB at the most
///     chunk = series u64 | first i64 | last i64 | encoding u8 | length uvarint | data | crc u32
///
/// What is in them is in the log too, so nothing is lost with them: the last is not synced, and a file with a mistake
/// is cut there and what was written later is dropped.
///
/// - SeeAlso: Prometheus, `tsdb/docs/format/head_chunks.md`.
final class HeadChunkFiles: Sendable {
    private struct OpenFile {
        var file: any File
        var size: Int
        /// The newest time in it.
        var newest: Int64
    }
    private struct State: ~Copyable {
        var files: [Int: OpenFile] = [:]
        var current = 0
        var buffer: [UInt8] = []
    }

    private let directory: String
    private let files: any FileSystem
    private let state: Mutex<State>
    private let fileBytes: Int
    private static let fixedBytes = 25
    private static let outOfOrderFlag: UInt8 = 0x80

    init(directory: String, files: any FileSystem, fileBytes: Int = 128 << 20) throws(FileError) {
        try files.createDirectory(directory)
        (self.directory, self.files, self.fileBytes) = (directory, files, fileBytes)
        state = Mutex(State())
    }

    // MARK: Writing

    /// Writes chunks, and answers where each of them lies.
    func append(_ chunks: [UnstoredChunk]) throws(FileError) -> [UInt64] {
        try state.withLock { (state) throws(FileError) in
            var places: [UInt64] = []
            var written = 0
            while written < chunks.count {
                if state.files[state.current].map({ $0.size >= fileBytes }) ?? true { try begin(&state) }
                guard let open = state.files[state.current] else { break }
                state.buffer.removeAll(keepingCapacity: true)
                var newest = open.newest
                // At least one, and no more than the file takes.
                while written < chunks.count, state.buffer.isEmpty || open.size + state.buffer.count < fileBytes {
                    let one = chunks[written]
                    places.append(UInt64(state.current) << 32 | UInt64(open.size + state.buffer.count))
                    HeadChunkFiles.encode(one, into: &state.buffer)
                    newest = max(newest, one.chunk.lastTime)
                    written += 1
                }
                do throws(FileError) {
                    try unsafe open.file.write(state.buffer.span.bytes, at: open.size)
                } catch {
                    // What the next attempt writes takes its place; if that is never, a reader finds the mistake.
                    throw error
                }
                state.files[state.current]?.size += state.buffer.count
                state.files[state.current]?.newest = newest
            }
            return places
        }
    }

    private static func encode(_ one: UnstoredChunk, into buffer: inout [UInt8]) {
        let start = buffer.count
        buffer.appendBigEndian(one.reference)
        buffer.appendBigEndian(UInt64(bitPattern: one.chunk.firstTime))
        buffer.appendBigEndian(UInt64(bitPattern: one.chunk.lastTime))
        buffer.append(BlockFormat.xor)
        buffer.appendUvarint(UInt64(one.chunk.byteCount))
        if let bytes = unsafe one.chunk.bytes {
            unsafe buffer.append(contentsOf: UnsafeBufferPointer(start: bytes, count: Int(one.chunk.byteCount)))
        }
        var code = CRC32C()
        unsafe code.add(buffer.span.extracting(start..<buffer.count).bytes)
        buffer.appendBigEndian(code.value)
    }

    private func begin(_ state: inout State) throws(FileError) {
        // Of the files, only the last may be less than was written after a loss of power: a hole before whole chunks
        // would not be seen, and hide what the log has of its time.
        if let last = state.files[state.current] { try last.file.synchronize() }
        let number = state.current + 1
        let path = "\(directory)/\(BlockFormat.segmentName(number))"
        // What a failed attempt left.
        if try files.attributes(of: path) != nil { try files.remove(path) }
        let file = try files.open(path, .create)
        var header: [UInt8] = []
        header.appendBigEndian(BlockFormat.headChunksMagic)
        header += [1, 0, 0, 0]
        try unsafe file.write(header.span.bytes, at: 0)
        state.files[number] = OpenFile(file: file, size: header.count, newest: .min)
        state.current = number
    }

    /// Begins a new file with the next chunk, so that the one before can go as a whole.
    func cut() {
        state.withLock { state in
            if let open = state.files[state.current], open.newest > .min {
                state.files[state.current]?.size = max(open.size, fileBytes)
            }
        }
    }

    /// Removes the files whose every chunk ends before `time`, but for the one that is written.
    func forget(before time: Int64) throws(FileError) {
        let old = state.withLock { state -> [Int] in
            var old: [Int] = []
            for number in state.files.keys.sorted() {
                guard number != state.current, let open = state.files[number], open.newest < time else { break }
                old.append(number)
                // Readers that have it open still read it.
                state.files[number] = nil
            }
            return old
        }
        for number in old { try files.remove("\(directory)/\(BlockFormat.segmentName(number))") }
    }

    // MARK: Reading

    /// A file for reading its chunks; nil once it is gone.
    func file(_ number: Int) -> (any File)? { state.withLock { $0.files[number]?.file } }

    /// The files as they are now, by number.
    var open: [Int: any File] { state.withLock { $0.files.mapValues(\.file) } }

    /// A chunk's data in the file that it lies in, with slack behind it.
    static func read(_ chunk: ClosedChunk, in file: any File, directory: String) throws(BlockDefect) -> (
        bytes: [UInt8], data: Range<Int>
    ) {
        guard let place = chunk.storedPlace else { return ([], 0..<0) }
        let offset = Int(place & 0xFFFF_FFFF)
        let start = fixedBytes + (chunk.byteCount < 128 ? 1 : chunk.byteCount < 16384 ? 2 : 3)
        let data = start..<start + Int(chunk.byteCount)
        let name = "\(directory)/chunks_head/\(BlockFormat.segmentName(Int(place >> 32)))"
        var bytes: [UInt8]
        do throws(FileError) {
            bytes = try file.read(at: offset, count: data.upperBound + 4 + ChunkArena.slack)
        } catch {
            throw BlockDefect(error)
        }
        guard bytes.count >= data.upperBound + 4 else { throw BlockDefect(name, at: offset, "a chunk is cut short") }
        var code = CRC32C()
        unsafe code.add(bytes.span.extracting(0..<data.upperBound).bytes)
        guard code.value == bytes.bigEndian(at: data.upperBound, as: UInt32.self) else {
            throw BlockDefect(name, at: offset, "a chunk's checksum is wrong")
        }
        if bytes.count < data.upperBound + ChunkArena.slack { bytes += repeatElement(0, count: ChunkArena.slack) }
        return (bytes, data)
    }

    /// What an earlier run stored of a series.
    struct Stored {
        var chunks: [ClosedChunk] = []
        var lastValue = 0.0
    }

    /// Reads the files of earlier runs; answers their chunks that reach to `oldest` by the log's number of the series,
    /// and one sentence for each mistake. The first mistake ends it: what was stored later is in the log, and would
    /// hide what is missing before it.
    func load(oldest: Int64) throws(FileError) -> (chunks: [SeriesReference: Stored], repairs: [String]) {
        var found: [SeriesReference: Stored] = [:]
        var repairs: [String] = []
        var isBroken = false
        let numbers = try files.list(directory).compactMap { Int($0) }.sorted()
        for number in numbers {
            let path = "\(directory)/\(BlockFormat.segmentName(number))"
            guard !isBroken else {
                try files.remove(path)
                continue
            }
            let bytes = try files.contents(of: path, limit: 1 << 30)
            let (size, newest, mistake) = HeadChunkFiles.scan(bytes, number: number, oldest: oldest, into: &found)
            let file = try files.open(path, .readWrite)
            if let mistake {
                isBroken = true
                repairs.append("\(path): \(mistake) at byte \(size); what was stored after it is read from the log")
                try file.truncate(to: size)
            }
            // The length is that of a full file, so that the next chunk begins a new one.
            state.withLock { state in
                state.files[number] = OpenFile(file: file, size: max(size, fileBytes), newest: newest)
                state.current = number
            }
        }
        return (found, repairs)
    }

    private static func scan(
        _ bytes: [UInt8], number: Int, oldest: Int64, into found: inout [SeriesReference: Stored]
    ) -> (size: Int, newest: Int64, mistake: String?) {
        var newest = Int64.min
        guard bytes.count >= BlockFormat.headerBytes else { return (0, newest, "the file is cut short") }
        guard bytes.bigEndian(at: 0, as: UInt32.self) == BlockFormat.headChunksMagic, bytes[4] == 1 else {
            return (0, newest, "this is no file of chunks")
        }
        var decoder = RecordDecoder(bytes, from: BlockFormat.headerBytes)
        while decoder.hasMore {
            let start = decoder.offset
            // Space that was reserved and not written.
            if bytes[start...].prefix(fixedBytes).allSatisfy({ $0 == 0 }) {
                let isRest = bytes[start...].allSatisfy { $0 == 0 }
                return (start, newest, isRest ? nil : "there is a hole")
            }
            let reference = decoder.uint64()
            let first = Int64(bitPattern: decoder.uint64())
            let last = Int64(bitPattern: decoder.uint64())
            let encoding = decoder.offset < bytes.count ? bytes[decoder.offset] : 0
            decoder.skipVarint()
            let length = decoder.uvarint()
            guard !decoder.isBroken, length < 1 << 20, decoder.offset + Int(length) + 4 <= bytes.count else {
                return (start, newest, "a chunk is cut short")
            }
            let data = decoder.offset..<decoder.offset + Int(length)
            var code = CRC32C()
            unsafe code.add(bytes.span.extracting(start..<data.upperBound).bytes)
            guard code.value == bytes.bigEndian(at: data.upperBound, as: UInt32.self), first <= last,
                Head.times.contains(first), Head.times.contains(last)
            else {
                return (start, newest, "a checksum is wrong")
            }
            decoder.skip(Int(length) + 4)
            newest = max(newest, last)
            // Chunks of late samples are read from their own log; native histograms are not served.
            guard encoding == BlockFormat.xor, length <= UInt64(UInt16.max), length > 2, last >= oldest else {
                continue
            }
            let samples = UInt16(bytes[data.lowerBound]) << 8 | UInt16(bytes[data.lowerBound + 1])
            let chunk = ClosedChunk(
                storedAt: UInt64(number) << 32 | UInt64(start), byteCount: UInt16(length), sampleCount: samples,
                firstTime: first, lastTime: last)
            var value = 0.0
            var gatherer = ColumnGatherer()
            gatherer.add(Array(bytes[data]) + [UInt8](repeating: 0, count: ChunkArena.slack), 0..<data.count)
            value = gatherer.values.last ?? 0
            found[reference, default: Stored()].chunks.append(chunk)
            found[reference]?.lastValue = value
        }
        return (bytes.count, newest, nil)
    }
}
