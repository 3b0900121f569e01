internal import CSnappy

/// Snappy's block format, as Prometheus' log and remote write have it.
public enum Snappy {
    /// The most bytes that `count` bytes can become.
    public static func maximumCompressedCount(_ count: Int) -> Int { snappy_max_compressed_length(count) }

    /// Compresses into `output`, which is emptied first and keeps its memory.
    public static func compress(_ input: RawSpan, into output: inout [UInt8]) {
        let capacity = snappy_max_compressed_length(input.byteCount)
        if output.count < capacity { output += repeatElement(0, count: capacity - output.count) }
        var count = output.count
        let status = unsafe input.withUnsafeBytes { source in
            unsafe output.withUnsafeMutableBytes { target in
                unsafe snappy_compress(
                    source.baseAddress?.assumingMemoryBound(to: CChar.self), source.count,
                    target.baseAddress?.assumingMemoryBound(to: CChar.self), &count)
            }
        }
        precondition(status == SNAPPY_OK, "snappy refuses \(input.byteCount) bytes")
        output.removeLast(output.count - count)
    }

    /// Decompresses; nil when it is not Snappy or longer than `limit` bytes.
    public static func decompress(_ input: ArraySlice<UInt8>, limit: Int) -> [UInt8]? {
        var count = 0
        return unsafe input.withUnsafeBytes { source -> [UInt8]? in
            let start = unsafe source.baseAddress?.assumingMemoryBound(to: CChar.self)
            guard unsafe snappy_uncompressed_length(start, source.count, &count) == SNAPPY_OK, count <= limit else {
                return nil
            }
            var output = [UInt8](repeating: 0, count: count)
            let status = unsafe output.withUnsafeMutableBytes { target in
                unsafe snappy_uncompress(
                    start, source.count, target.baseAddress?.assumingMemoryBound(to: CChar.self), &count)
            }
            return status == SNAPPY_OK ? output : nil
        }
    }
}
