internal import CZlib

/// Gzip, RFC 1952; what comes from elsewhere is read by zlib.
public enum Gzip {
    /// Compresses; see `GzipWriter`.
    public static func compress(_ input: [UInt8]) -> [UInt8] {
        var writer = GzipWriter()
        writer.write(input.span)
        return writer.finish()
    }

    /// Decompresses; nil when it is not gzip, is cut off, or would be longer than `limit` bytes.
    public static func decompress(_ input: [UInt8], limit: Int) -> [UInt8]? {
        var stream = unsafe z_stream()
        guard unsafe vedette_gunzip_begin(&stream) == Z_OK else { return nil }
        defer { unsafe inflateEnd(&stream) }
        var output = [UInt8](repeating: 0, count: min(limit, max(4096, 4 * input.count)))
        while true {
            let grown = output.count
            unsafe inflateReset(&stream)
            if let count = unsafe run(&stream, input, into: &output, { stream in unsafe inflate(stream, Z_FINISH) }) {
                output.removeLast(output.count - count)
                return output
            }
            // Once more with more room, unless there was enough, or there may be no more.
            guard unsafe stream.avail_out == 0, grown < limit else { return nil }
            output = [UInt8](repeating: 0, count: min(limit, 4 * grown))
        }
    }

    /// One call over whole buffers; how many bytes came when the stream ended with it.
    private static func run(
        _ stream: inout z_stream, _ input: [UInt8], into output: inout [UInt8],
        _ step: (UnsafeMutablePointer<z_stream>) -> Int32
    ) -> Int? {
        unsafe input.withUnsafeBufferPointer { source in
            unsafe output.withUnsafeMutableBufferPointer { target in
                // Safe: zlib reads from it, whatever its type says.
                unsafe stream.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                unsafe stream.avail_in = uInt(source.count)
                unsafe stream.next_out = target.baseAddress
                unsafe stream.avail_out = uInt(target.count)
                guard unsafe step(&stream) == Z_STREAM_END else { return nil }
                return unsafe target.count - Int(stream.avail_out)
            }
        }
    }
}
