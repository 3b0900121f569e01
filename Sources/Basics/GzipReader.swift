internal import CZlib

/// Decompresses gzip as it arrives. It knows whether the end has come, which a reader of a cut-off body has to ask:
/// what is missing would else pass for what the sender does not have any more.
///
/// About 40 KiB while it lives. Several members in a row are one body, as in RFC 1952, 2.2.
@safe public final class GzipReader {
    /// What became of the bytes.
    public enum Outcome: Sendable, Hashable { case taken, tooLong, broken }

    // On the heap, since zlib's state points back to it.
    private let stream: UnsafeMutablePointer<z_stream>
    /// Whether the bytes so far are whole members.
    public private(set) var isWhole = false

    /// nil when there is no memory.
    public init?() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        guard unsafe vedette_gunzip_begin(stream) == Z_OK else {
            unsafe stream.deallocate()
            return nil
        }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Appends what the bytes hold to `body`, which stays within `limit` bytes.
    public func read(_ bytes: UnsafeRawBufferPointer, into body: inout [UInt8], limit: Int) -> Outcome {
        // Safe: zlib reads from it, whatever its type says, and only before this call returns.
        let source = unsafe bytes.assumingMemoryBound(to: UInt8.self)
        unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
        unsafe stream.pointee.avail_in = uInt(bytes.count)
        return unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16 << 10) { room in
            while true {
                if isWhole {
                    guard unsafe stream.pointee.avail_in > 0 else { return .taken }
                    unsafe inflateReset(stream)
                    isWhole = false
                }
                unsafe stream.pointee.next_out = room.baseAddress
                unsafe stream.pointee.avail_out = uInt(room.count)
                let code = unsafe inflate(stream, Z_NO_FLUSH)
                let count = unsafe room.count - Int(stream.pointee.avail_out)
                guard body.count + count <= limit else { return .tooLong }
                unsafe body.append(contentsOf: UnsafeBufferPointer(rebasing: room[..<count]))
                switch code {
                case Z_STREAM_END: isWhole = true
                // Nothing more to do: the input is used up.
                case Z_BUF_ERROR: return .taken
                case Z_OK: if unsafe stream.pointee.avail_in == 0, count < room.count { return .taken }
                default: return .broken
                }
            }
        }
    }
}
