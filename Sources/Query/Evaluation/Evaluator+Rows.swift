internal import Basics
internal import Model
internal import Synchronization

extension Evaluator {
    /// Below so many samples and points a walk is not worth another thread: about a millisecond's work.
    private static let wide = 1 << 18

    /// Rows on a walk that are made before they are taken, all together. Their memory is used again and again.
    private static let batch = 64

    /// The rows of a source one after the other, and the series of which there is something to tell.
    ///
    /// - Parameter count: Counts the samples of a series by step, where that is asked for.
    func rows(
        _ source: RowSource, counting count: ((SeriesColumns) -> Void)? = nil
    ) throws(QueryError) -> (values: [Double], told: [Int]) {
        let series = source.feed.count
        let reading = try begin(source.feed, of: source.selector)
        try checkPoints(series, source.steps)
        let told = Tellings()
        let values = unsafe [Double](unsafeUninitializedCapacity: series * source.steps) { buffer, written in
            let walk = unsafe RowWalk(source: source, tally: reading.tally, told: told, rows: buffer, first: 0)
            make(0..<series, walk, isWide: count == nil && isWide(source, reading), counting: count)
            written = series * source.steps
        }
        try end(reading)
        return (values, told.series.withLock { $0.sorted() })
    }

    /// The same rows, each handed to `take` in the order of the series and then forgotten: for who puts them together.
    ///
    /// - Returns: The series of which there is something to tell.
    func walk(_ source: RowSource, _ take: (Int, Span<Double>) -> Void) throws(QueryError) -> [Int] {
        let (series, steps) = (source.feed.count, source.steps)
        let reading = try begin(source.feed, of: source.selector)
        let batch = min(series, Evaluator.batch)
        try checkPoints(batch, steps)
        let told = Tellings()
        let buffer = UnsafeMutableBufferPointer<Double>.allocate(capacity: batch * steps)
        defer { unsafe buffer.deallocate() }
        let isWide = isWide(source, reading)
        var first = 0
        while first < series {
            let end = min(series, first + batch)
            let walk = unsafe RowWalk(source: source, tally: reading.tally, told: told, rows: buffer, first: first)
            make(first..<end, walk, isWide: isWide, counting: nil)
            try reading.tally.check()
            for index in first..<end {
                let row = unsafe UnsafeBufferPointer(
                    rebasing: buffer[(index - first) * steps..<(index - first + 1) * steps])
                unsafe take(index, row.span)
            }
            first = end
        }
        try end(reading)
        return told.series.withLock { $0.sorted() }
    }

    private func isWide(_ source: RowSource, _ reading: FeedReading) -> Bool {
        reading.bound + source.feed.count * source.steps >= Evaluator.wide
    }

    /// Makes some rows. Wide walks use all processors; a row is made by one of them, so that the result does not depend
    /// on which.
    private func make(
        _ series: Range<Int>, _ walk: RowWalk, isWide: Bool, counting count: ((SeriesColumns) -> Void)?
    ) {
        guard isWide, let workers else {
            for index in series { walk.make(index, counting: count) }
            return
        }
        // Many small parts, so that nobody waits long for the last one.
        let size = max(1, min(16, series.count / (8 * (workers.helpers + 1))))
        workers.run((series.count + size - 1) / size) { part in
            let first = series.lowerBound + part * size
            for index in first..<min(series.upperBound, first + size) { walk.make(index) }
        }
    }
}

/// A row for each series of a feed: what `fill` makes of its samples, absent where it writes nothing. Samples of few
/// series are held at a time.
struct RowSource: Sendable {
    /// Writes a row; answers whether there is something to tell about the series.
    typealias Fill = @Sendable (SeriesColumns, inout MutableSpan<Double>) -> Bool

    var feed: SeriesFeed
    /// What is read, nil for a subquery.
    var selector: VectorSelector?
    /// Values of a row.
    var steps: Int
    /// Whether staleness markers are among the samples.
    var keepsStale = false
    var fill: Fill
}

/// Series of which there is something to tell.
final class Tellings: Sendable {
    let series = Mutex<[Int]>([])
}

/// What all threads of a walk have in common.
// Safe: each row is written by one thread alone, and who owns the memory waits for the end of the walk.
@safe struct RowWalk: @unchecked Sendable {
    private let source: RowSource
    private let tally: ReadTally
    private let told: Tellings
    private let rows: UnsafeMutableBufferPointer<Double>
    private let first: Int

    /// - Parameter first: The series whose row is the first in `rows`.
    init(source: RowSource, tally: ReadTally, told: Tellings, rows: UnsafeMutableBufferPointer<Double>, first: Int) {
        (self.source, self.tally, self.told, self.first) = (source, tally, told, first)
        unsafe self.rows = rows
    }

    /// Makes one row. Every row is written, also when the walk has ended early: an array has no gaps.
    func make(_ index: Int, counting count: ((SeriesColumns) -> Void)? = nil) {
        let (place, steps) = (index - first, source.steps)
        let row = unsafe UnsafeMutableBufferPointer(rebasing: rows[place * steps..<(place + 1) * steps])
        unsafe row.initialize(repeating: absentValue)
        guard tally.goesOn() else { return }
        do throws(SourceError) {
            var columns = try source.feed.columns(of: index)
            guard !columns.times.isEmpty, tally.add(columns.times.count) else { return }
            if !source.keepsStale { columns.removeStaleMarkers() }
            count?(columns)
            var span = unsafe row.mutableSpan
            guard !columns.times.isEmpty, source.fill(columns, &span) else { return }
            told.series.withLock { $0.append(index) }
        } catch {
            tally.fail(.source(error))
        }
    }
}
