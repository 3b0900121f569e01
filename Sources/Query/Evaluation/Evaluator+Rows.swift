internal import Basics
internal import Model
internal import Synchronization

extension Evaluator {
    /// Below so many samples and points a walk is not worth another thread: about a millisecond's work.
    private static let wide = 1 << 18

    /// Walks over the series of a feed and gives each a row of `steps` values, absent where `fill` writes none. The
    /// samples of few series are held at a time. Wide walks use all processors; a row is made by one of them, so that
    /// the result does not depend on which.
    ///
    /// - Parameters:
    ///   - keepsStale: Whether staleness markers are among the samples.
    ///   - count: Counts the samples of a series by step, where that is asked for.
    ///   - fill: Writes a row; answers whether there is something to tell about the series.
    /// - Returns: The rows one after the other, and the series of which there is something to tell.
    func rows(
        _ feed: SeriesFeed, of selector: VectorSelector?, steps: Int, keepsStale: Bool = false,
        counting count: ((SeriesColumns) -> Void)? = nil, _ fill: @escaping RowWalk.Fill
    ) throws(QueryError) -> (values: [Double], told: [Int]) {
        let (series, reading) = (feed.count, try begin(feed, of: selector))
        try checkPoints(series, steps)
        let told = Tellings()
        let values = unsafe [Double](unsafeUninitializedCapacity: series * steps) { buffer, written in
            let walk = unsafe RowWalk(
                feed: feed, tally: reading.tally, keepsStale: keepsStale, fill: fill, told: told, rows: buffer,
                steps: steps)
            if let workers, count == nil, reading.bound + series * steps >= Evaluator.wide {
                // Many small parts, so that nobody waits long for the last one.
                let size = max(1, min(16, series / (8 * (workers.helpers + 1))))
                workers.run((series + size - 1) / size) { part in
                    for index in part * size..<min(series, (part + 1) * size) { walk.make(index) }
                }
            } else {
                for index in 0..<series { walk.make(index, counting: count) }
            }
            written = series * steps
        }
        try end(reading)
        return (values, told.series.withLock { $0.sorted() })
    }
}

/// Series of which there is something to tell.
final class Tellings: Sendable {
    let series = Mutex<[Int]>([])
}

/// What all threads of a walk have in common.
// Safe: each row is written by one thread alone, and who owns the memory waits for the end of the walk.
@safe struct RowWalk: @unchecked Sendable {
    typealias Fill = @Sendable (SeriesColumns, inout MutableSpan<Double>) -> Bool

    private let feed: SeriesFeed
    private let tally: ReadTally
    private let keepsStale: Bool
    private let fill: Fill
    private let told: Tellings
    private let rows: UnsafeMutableBufferPointer<Double>
    private let steps: Int

    init(
        feed: SeriesFeed, tally: ReadTally, keepsStale: Bool, fill: @escaping Fill, told: Tellings,
        rows: UnsafeMutableBufferPointer<Double>, steps: Int
    ) {
        (self.feed, self.tally, self.keepsStale, self.fill, self.told) = (feed, tally, keepsStale, fill, told)
        self.steps = steps
        unsafe self.rows = rows
    }

    /// Makes one row. Every row is written, also when the walk has ended early: an array has no gaps.
    func make(_ index: Int, counting count: ((SeriesColumns) -> Void)? = nil) {
        let row = unsafe UnsafeMutableBufferPointer(rebasing: rows[index * steps..<(index + 1) * steps])
        unsafe row.initialize(repeating: absentValue)
        guard tally.goesOn() else { return }
        do throws(SourceError) {
            var columns = try feed.columns(of: index)
            guard !columns.times.isEmpty, tally.add(columns.times.count) else { return }
            if !keepsStale { columns.removeStaleMarkers() }
            count?(columns)
            var span = unsafe row.mutableSpan
            guard !columns.times.isEmpty, fill(columns, &span) else { return }
            told.series.withLock { $0.append(index) }
        } catch {
            tally.fail(.source(error))
        }
    }
}
