internal import Basics
internal import Model

/// The one writer of the log: takes whole records and hands them to the kernel before it returns.
///
/// After an error the file is cut back to the last whole record; where that fails too, the next record begins a new
/// segment, so that a reader never meets a hole. It is not for concurrent use; its owner locks.
struct LogWriter: ~Copyable {
    private let directory: String
    private let files: any FileSystem
    private let segmentBytes: Int
    private(set) var segment: Int
    private var file: any File
    /// Where the next fragment goes, and where the last whole record ends.
    private var end = 0
    private var isDirty = false
    /// Segments before this one that are not on the disk yet: it refused their sync.
    private(set) var unsynced: [any File] = []
    private var compressed: [UInt8] = []
    private var fragments: [UInt8] = []

    /// Begins segment `segment`, which must not exist.
    init(
        directory: String, files: any FileSystem, segment: Int, segmentBytes: Int = LogFormat.segmentBytes
    ) throws(FileError) {
        let opened = try files.open("\(directory)/\(LogFormat.segmentName(segment))", .create)
        try files.synchronize(directory: directory)
        (self.directory, self.files, self.segmentBytes, self.segment) = (directory, files, segmentBytes, segment)
        file = opened
    }

    /// The segment's file, for a sync outside the lock.
    var currentFile: any File { file }
    /// Bytes in the segment.
    var segmentSize: Int { end }

    /// Writes one record with a single `write`.
    mutating func write(_ record: [UInt8]) throws(FileError) {
        unsafe Snappy.compress(record.span.bytes, into: &compressed)
        if isDirty || !fits(compressed.count) { try beginSegment() }
        fragments.removeAll(keepingCapacity: true)
        var offset = 0
        var isFirst = true
        repeat {
            let position = (end + fragments.count) % LogFormat.pageBytes
            let room = LogFormat.pageBytes - position
            if room <= LogFormat.headerBytes {
                fragments += repeatElement(0, count: room)
                continue
            }
            let count = min(compressed.count - offset, room - LogFormat.headerBytes)
            let isLast = offset + count == compressed.count
            let kind: LogFormat.Fragment =
                isFirst ? (isLast ? .full : .first) : (isLast ? .last : .middle)
            var code = CRC32C()
            unsafe code.add(compressed.span.extracting(offset..<offset + count).bytes)
            fragments.append(kind.rawValue | LogFormat.snappyFlag)
            fragments.appendBigEndian(UInt16(count))
            fragments.appendBigEndian(code.value)
            fragments += compressed[offset..<offset + count]
            offset += count
            isFirst = false
        } while offset < compressed.count
        try put()
    }

    /// Ends the segment and begins the next.
    mutating func beginSegment() throws(FileError) {
        let next = try files.open("\(directory)/\(LogFormat.segmentName(segment + 1))", .create)
        // The data is in the kernel already: the next sync has to do with both.
        do throws(FileError) { try file.synchronize() } catch { unsynced.append(file) }
        (file, end, isDirty) = (next, 0, false)
        segment += 1
        try files.synchronize(directory: directory)
    }

    /// Says that so many of the earlier segments are on the disk now.
    mutating func didSynchronize(_ count: Int) { unsynced.removeFirst(min(count, unsynced.count)) }

    private mutating func put() throws(FileError) {
        do throws(FileError) {
            try unsafe file.write(fragments.span.bytes, at: end)
            end += fragments.count
        } catch {
            do throws(FileError) { try file.truncate(to: end) } catch { isDirty = true }
            throw error
        }
    }

    private func fits(_ count: Int) -> Bool {
        let room = LogFormat.pageBytes - LogFormat.headerBytes
        let pages = (segmentBytes - end) / LogFormat.pageBytes - 1
        return end == 0 || count <= pages * room
    }
}
