internal import Basics
internal import Model

/// A place between two samples of the log: behind `index` entries of the record that begins at `position`.
struct LogMark: Hashable, Comparable {
    var position: LogPosition
    var index = 0

    static func < (left: LogMark, right: LogMark) -> Bool {
        left.position == right.position ? left.index < right.index : left.position < right.position
    }
}

/// A request's body, ready to be sent any number of times.
struct WriteBatch {
    /// Compressed.
    var body: [UInt8]
    var samples: Int
    var exemplars: Int
    /// The newest time in it, in milliseconds.
    var newest: Int64
    /// Behind its last entry.
    var end: LogMark
    /// Whether it was under way at a crash, so that it may have been taken already.
    var isRepeat = false
}

/// How far a shard is, as it is kept over a restart: what comes before `done` needs not to be sent, and what comes
/// before `underWay` was perhaps sent, as one request.
struct ShardPlace: Hashable {
    var done: LogMark
    var underWay: LogMark?
}

/// What waits to be sent, by shards, and how far each of them is. Pure.
///
/// A series belongs to one shard, whose requests go out one after another, so that its samples arrive in order. After a
/// crash the request that was under way is made again with exactly what it had: a receiver such as Prometheus takes a
/// request whole or not at all, so what it has already costs nothing that it has not.
struct WriteBook {
    private struct Shard {
        var open = WireWriter()
        var openSamples = 0, openExemplars = 0
        var newest = Int64.min
        var openEnd: LogMark?
        var openSince: UInt64 = 0
        var waiting: [WriteBatch] = []
        var underWay: WriteBatch?
        var done: LogMark
        /// Where the first request ends after a restart.
        var resumesUntil: LogMark?
        /// The same until that request is done with: another kill may come before it is even read.
        var unsure: LogMark?
        var pending = 0, pendingExemplars = 0

        var isIdle: Bool { pending == 0 && pendingExemplars == 0 }
    }

    /// A request with as many bytes is full, before it is compressed, however few samples they are.
    private static let requestBytes = 4 << 20

    private var shards: [Shard]
    private let queue: RemoteWriteSettings.Queue
    private var compressed: [UInt8] = []
    /// The next entry that the log gives.
    private(set) var mark: LogMark

    /// Where the shards were left; they begin again there, in the same number.
    init(resuming places: [ShardPlace], queue: RemoteWriteSettings.Queue) {
        precondition(!places.isEmpty)
        self.queue = queue
        shards = places.map { place in
            var shard = Shard(done: place.done)
            (shard.resumesUntil, shard.unsure) = (place.underWay, place.underWay)
            return shard
        }
        // The log is read from the beginning of a record, of which the first entries may be done.
        let first = places.map(\.done).min() ?? LogMark(position: LogPosition(segment: 0))
        mark = LogMark(position: first.position)
    }

    var count: Int { shards.count }
    var pendingSamples: Int { shards.reduce(0) { $0 + $1.pending } }
    var pendingExemplars: Int { shards.reduce(0) { $0 + $1.pendingExemplars } }
    var isIdle: Bool { shards.allSatisfy(\.isIdle) }

    /// Everything before it needs not to be read again.
    var oldestNeeded: LogMark { shards.map { $0.isIdle ? max($0.done, mark) : $0.done }.min() ?? mark }

    /// How far each shard is.
    var places: [ShardPlace] {
        shards.map { shard in
            // A shard that nothing waits in has done all that was read.
            let done = shard.isIdle ? max(shard.done, mark) : shard.done
            return ShardPlace(done: done, underWay: shard.underWay?.end ?? shard.unsure)
        }
    }

    // MARK: Filling

    /// What came of offering an entry.
    enum Offer: Equatable {
        /// It waits now; whether the shard has something new to look at.
        case taken(shard: Int, wakes: Bool)
        /// It was done before the restart.
        case known
        /// The shard is full: nothing was changed.
        case full(shard: Int)
    }

    /// Offers a sample of a series with encoded labels, at `mark`.
    mutating func offer(hash: Int, labels: [UInt8], value: Double, time: Int64, now: UInt64) -> Offer {
        add(hash: hash, isSample: true, time: time, now: now) { $0.append(labels: labels, value: value, time: time) }
    }

    /// Offers an exemplar, at `mark`.
    mutating func offer(hash: Int, labels: [UInt8], _ exemplar: Exemplar, now: UInt64) -> Offer {
        add(hash: hash, isSample: false, time: exemplar.timestamp.milliseconds, now: now) {
            $0.append(labels: labels, exemplar)
        }
    }

    /// The next entry of the log stands there.
    mutating func move(to mark: LogMark) { self.mark = max(self.mark, mark) }

    @inline(__always)
    private mutating func add(
        hash: Int, isSample: Bool, time: Int64, now: UInt64, _ write: (inout WireWriter) -> Void
    ) -> Offer {
        let index = hash % shards.count
        if mark < shards[index].done { return .known }
        var hasClosed = false
        if let end = shards[index].resumesUntil, mark >= end {
            hasClosed = close(index, isRepeat: true)
            shards[index].resumesUntil = nil
        }
        // What is made again is no larger than it was, and can be sent only when it is whole.
        guard
            shards[index].pending + shards[index].pendingExemplars < queue.capacity
                || shards[index].resumesUntil != nil
        else { return .full(shard: index) }
        let isFirst = shards[index].openEnd == nil
        if isFirst { shards[index].openSince = now }
        write(&shards[index].open)
        if isSample {
            shards[index].openSamples += 1
            shards[index].pending += 1
        } else {
            shards[index].openExemplars += 1
            shards[index].pendingExemplars += 1
        }
        shards[index].newest = max(shards[index].newest, time)
        shards[index].openEnd = LogMark(position: mark.position, index: mark.index + 1)
        let isFull =
            shards[index].openSamples + shards[index].openExemplars
            >= min(queue.samplesPerSend, queue.capacity)
            || shards[index].open.bytes.count >= WriteBook.requestBytes
        // What is made again after a restart ends where it ended, and never grows beyond what it was.
        if isFull, shards[index].resumesUntil == nil { hasClosed = close(index) }
        return .taken(shard: index, wakes: isFirst || hasClosed)
    }

    /// Ends the open request of a shard; false when it is empty.
    @discardableResult
    private mutating func close(_ index: Int, isRepeat: Bool = false) -> Bool {
        guard let end = shards[index].openEnd else { return false }
        shards[index].open.compress(into: &compressed)
        shards[index].waiting.append(
            WriteBatch(
                body: compressed, samples: shards[index].openSamples, exemplars: shards[index].openExemplars,
                newest: shards[index].newest, end: end, isRepeat: isRepeat))
        shards[index].open.reset()
        (shards[index].openSamples, shards[index].openExemplars, shards[index].newest) = (0, 0, .min)
        shards[index].openEnd = nil
        return true
    }

    /// Ends all open requests; answers the shards that have something new.
    mutating func closeAll() -> [Int] { shards.indices.filter { close($0) } }

    // MARK: Emptying

    /// What a shard is to do.
    enum Turn {
        case send(WriteBatch)
        /// Look again at that moment of the steady clock, or when woken; nil: when woken.
        case wait(until: UInt64?)
    }

    /// The next request of a shard, which is under way from then on.
    mutating func turn(of index: Int, now: UInt64) -> Turn {
        if let batch = shards[index].underWay { return .send(batch) }
        if shards[index].waiting.isEmpty {
            guard shards[index].openEnd != nil else { return .wait(until: nil) }
            // What was under way at a crash is whole only when the log has been read that far.
            let due = shards[index].openSince + UInt64(queue.deadline) * 1_000_000
            if due > now { return .wait(until: due) }
            let resumed = shards[index].resumesUntil
            if let resumed, mark < resumed { return .wait(until: now + 1_000_000_000) }
            shards[index].resumesUntil = nil
            close(index, isRepeat: resumed != nil)
        }
        let batch = shards[index].waiting.removeFirst()
        shards[index].underWay = batch
        return .send(batch)
    }

    /// The request under way is done with, sent or given up.
    mutating func finish(_ index: Int) {
        guard let batch = shards[index].underWay else { return }
        shards[index].underWay = nil
        // The first request after a restart is that one.
        shards[index].unsure = nil
        shards[index].done = max(shards[index].done, batch.end)
        shards[index].pending -= batch.samples
        shards[index].pendingExemplars -= batch.exemplars
    }

    /// Other shards from here on; nothing may wait.
    mutating func reshard(to count: Int) {
        precondition(isIdle && count > 0)
        shards = (0..<count).map { _ in Shard(done: oldestNeeded) }
    }
}
