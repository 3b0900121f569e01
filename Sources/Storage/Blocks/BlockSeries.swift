internal import Basics
internal import Model

/// Samples that are gathered from chunks in the order of time, columns of a series to be.
struct ColumnGatherer {
    private(set) var times: [Int64] = []
    private(set) var values: [Double] = []
    /// Whether what was added later began before what was there ended; the samples of a chunk are in order.
    private var isMixed = false

    mutating func reserve(_ count: Int) {
        times.reserveCapacity(times.count + count)
        values.reserveCapacity(values.count + count)
    }

    /// Adds a chunk's samples in `(after, through]` that are not deleted.
    mutating func add(
        _ bytes: [UInt8], _ data: Range<Int>, after: Int64 = .min, through: Int64 = .max,
        without gone: [ClosedRange<Int64>] = []
    ) {
        guard data.count > 2 else { return }
        unsafe bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            // Safe: whoever read the chunk left slack behind its bytes.
            unsafe add(base + data.lowerBound, data.count, after: after, through: through, without: gone)
        }
    }

    mutating func add(
        _ bytes: UnsafePointer<UInt8>, _ byteCount: Int, after: Int64, through: Int64,
        without gone: [ClosedRange<Int64>]
    ) {
        let count = unsafe Int(bytes[0]) << 8 | Int(bytes[1])
        unsafe add(bytes, byteCount, samples: count, after: after, through: through, without: gone)
    }

    mutating func add(
        _ bytes: UnsafePointer<UInt8>, _ byteCount: Int, samples: Int, after: Int64, through: Int64,
        without gone: [ClosedRange<Int64>]
    ) {
        let start = times.count
        let decoder = unsafe ChunkDecoder(bytes: bytes, byteCount: byteCount, sampleCount: samples)
        let written = unsafe withUnsafeTemporaryAllocation(of: Int64.self, capacity: samples) { freshTimes in
            unsafe withUnsafeTemporaryAllocation(of: Double.self, capacity: samples) { freshValues in
                guard let timesBase = freshTimes.baseAddress, let valuesBase = freshValues.baseAddress else { return 0 }
                // Safe: there is room for as many samples as the decoder gives.
                let count = unsafe decoder.copy(after: after, through: through, times: timesBase, values: valuesBase)
                unsafe times.append(contentsOf: UnsafeBufferPointer(start: timesBase, count: count))
                unsafe values.append(contentsOf: UnsafeBufferPointer(start: valuesBase, count: count))
                return count
            }
        }
        if start > 0, written > 0, times[start] <= times[start - 1] { isMixed = true }
        if !gone.isEmpty { drop(gone, from: start) }
    }

    mutating func add(_ moreTimes: some Collection<Int64>, _ moreValues: some Collection<Double>) {
        let start = max(times.count, 1)
        times += moreTimes
        for index in start..<max(start, times.count) where times[index] <= times[index - 1] { isMixed = true }
        values += moreValues
    }

    private mutating func drop(_ gone: [ClosedRange<Int64>], from start: Int) {
        var kept = start
        for index in start..<times.count where !gone.holds(times[index]) {
            (times[kept], values[kept]) = (times[index], values[index])
            kept += 1
        }
        times.removeLast(times.count - kept)
        values.removeLast(values.count - kept)
    }

    /// Brings the samples into the order of time; of several at one moment the first that was added stays.
    mutating func settle() {
        guard isMixed else { return }
        isMixed = false
        // Stable by the index: what was added first comes first.
        let order = times.indices.sorted { (times[$0], $0) < (times[$1], $1) }
        let (oldTimes, oldValues) = (times, values)
        times.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        for index in order where oldTimes[index] != times.last {
            times.append(oldTimes[index])
            values.append(oldValues[index])
        }
    }

    /// The samples in chunks of up to 120, none of which crosses a multiple of `range`.
    func chunks(range: Int64 = Head.rangeLength) -> [ChunkData] {
        var arena = ChunkArena()
        var open = OpenChunk()
        var chunks: [ChunkData] = []
        func close() {
            guard !open.isEmpty else { return }
            let closed = open.close(&arena)
            chunks.append(closed.data)
            if let bytes = unsafe closed.bytes { unsafe arena.give(bytes) }
        }
        for (time, value) in zip(times, values) {
            if open.isFull
                || !open.isEmpty && time.flooringDivision(by: range) != open.firstTime.flooringDivision(by: range)
            {
                close()
            }
            open.append(time, value, &arena)
        }
        close()
        return chunks
    }
}

extension ClosedChunk {
    /// A copy of it, to be written.
    var data: ChunkData {
        let copy = unsafe Array(UnsafeBufferPointer(start: bytes, count: isStored ? 0 : Int(byteCount)))
        return ChunkData(firstTime: firstTime, lastTime: lastTime, bytes: copy)
    }
}
