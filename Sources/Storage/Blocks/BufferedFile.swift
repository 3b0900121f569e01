internal import Basics

/// A file written from its beginning to its end in pieces of a mebibyte.
struct BufferedFile: ~Copyable {
    private let file: any File
    private var buffer: [UInt8] = []
    private var flushed: Int
    private static let piece = 1 << 20

    /// Begins at `offset`.
    init(_ file: any File, at offset: Int = 0) {
        self.file = file
        flushed = offset
        buffer.reserveCapacity(BufferedFile.piece)
    }

    /// Where the next byte goes.
    var offset: Int { flushed + buffer.count }

    mutating func append(_ bytes: some Collection<UInt8>) throws(FileError) {
        buffer += bytes
        if buffer.count >= BufferedFile.piece { try flush() }
    }

    mutating func flush() throws(FileError) {
        guard !buffer.isEmpty else { return }
        try unsafe file.write(buffer.span.bytes, at: flushed)
        flushed += buffer.count
        buffer.removeAll(keepingCapacity: true)
    }

    /// Zeros up to a multiple of `alignment`.
    mutating func align(to alignment: Int) throws(FileError) {
        let rest = offset % alignment
        if rest != 0 { try append(repeatElement(0, count: alignment - rest)) }
    }

    /// Hands over the rest and syncs.
    consuming func finish() throws(FileError) {
        try flush()
        try file.synchronize()
    }
}

extension [UInt8] {
    /// A section as Prometheus' files have them: its length, itself, its code.
    func framed() -> [UInt8] {
        var frame: [UInt8] = []
        frame.reserveCapacity(count + 8)
        frame.appendBigEndian(UInt32(count))
        frame += self
        frame.appendBigEndian(CRC32C.of(self))
        return frame
    }
}
