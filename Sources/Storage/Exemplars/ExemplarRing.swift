internal import Basics
internal import Model

/// The newest exemplars of all series: a ring in which those of each series are chained, the oldest first.
///
/// - SeeAlso: Prometheus, `tsdb/exemplar.go`, `CircularExemplarStorage`.
struct ExemplarRing {
    /// What became of an exemplar.
    enum Verdict {
        case stored, duplicate, outOfOrder, tooLong, off
    }

    private struct Entry {
        var series: Labels
        var exemplar: Exemplar
        /// The series' next one; -1: it is the newest.
        var next = -1
    }

    private struct Chain {
        var oldest: Int, newest: Int
    }

    /// More than this many are not kept; 0: none are.
    let capacity: Int
    private var entries: [Entry] = []
    private var chains: [Labels: Chain] = [:]
    /// Where the next one goes, once the ring is full.
    private var oldest = 0

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { entries.count }
    var seriesCount: Int { chains.count }

    /// Takes an exemplar that is newer than the newest of its series. About a microsecond.
    mutating func append(_ exemplar: Exemplar, of series: Labels) -> Verdict {
        guard capacity > 0 else { return .off }
        var characters = 0
        for label in exemplar.labels.sorted {
            characters += label.name.unicodeScalars.count
            characters += label.value.unicodeScalars.count
        }
        guard characters <= Exemplar.labelLimit else { return .tooLong }
        if let chain = chains[series] {
            let newest = entries[chain.newest].exemplar
            if newest == exemplar { return .duplicate }
            guard newest.isBefore(exemplar) else { return .outOfOrder }
        }
        let place = makeRoom()
        entries[place] = Entry(series: series, exemplar: exemplar)
        // Looked up anew: making room may have cut the chain.
        if let chain = chains[series] {
            entries[chain.newest].next = place
            chains[series] = Chain(oldest: chain.oldest, newest: place)
        } else {
            chains[series] = Chain(oldest: place, newest: place)
        }
        return .stored
    }

    private mutating func makeRoom() -> Int {
        if entries.count < capacity {
            let empty = Exemplar(labels: Labels(), value: 0, timestamp: .distantPast)
            entries.append(Entry(series: Labels(), exemplar: empty))
            return entries.count - 1
        }
        let place = oldest
        oldest = (oldest + 1) % capacity
        // The oldest of all is the oldest of its series.
        let gone = entries[place]
        if gone.next < 0 { chains[gone.series] = nil } else { chains[gone.series]?.oldest = gone.next }
        return place
    }

    /// Takes what another ring holds, in its order; what is not newer than here is left out.
    mutating func take(_ other: ExemplarRing) {
        for index in other.entries.indices {
            let entry = other.entries[(other.oldest + index) % other.entries.count]
            _ = append(entry.exemplar, of: entry.series)
        }
    }

    /// Every exemplar from a moment on, each series' oldest first.
    func all(since moment: Timestamp) -> [(series: Labels, exemplar: Exemplar)] {
        select([[]], from: moment, through: Timestamp(milliseconds: .max)).flatMap { found in
            found.exemplars.map { (found.series, $0) }
        }
    }

    /// The exemplars in `[from, through]` of series that some matcher list fulfils, series sorted by labels.
    /// O(series).
    func select(_ matchers: [[Matcher]], from: Timestamp, through: Timestamp) -> [SeriesExemplars] {
        var found: [SeriesExemplars] = []
        for (series, chain) in chains {
            guard entries[chain.oldest].exemplar.timestamp <= through, entries[chain.newest].exemplar.timestamp >= from
            else { continue }
            let isWanted = matchers.contains { (list: [Matcher]) in list.allSatisfy { $0.matches(series) } }
            guard isWanted else { continue }
            var exemplars: [Exemplar] = []
            var place = chain.oldest
            while place >= 0, entries[place].exemplar.timestamp <= through {
                if entries[place].exemplar.timestamp >= from { exemplars.append(entries[place].exemplar) }
                place = entries[place].next
            }
            if !exemplars.isEmpty { found.append(SeriesExemplars(series: series, exemplars: exemplars)) }
        }
        return found.sorted { $0.series < $1.series }
    }
}

extension Exemplar {
    /// By time, then by value, then by labels: several of one moment are told apart so.
    fileprivate func isBefore(_ other: Exemplar) -> Bool {
        if timestamp != other.timestamp { return timestamp < other.timestamp }
        if value != other.value { return !(other.value < value) }
        return !(other.labels < labels)
    }
}
