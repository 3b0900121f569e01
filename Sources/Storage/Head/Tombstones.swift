internal import Model

/// A deletion: times of a series that are not to be seen any more.
struct Tombstone {
    var reference: SeriesReference
    var range: ClosedRange<Int64>
}

/// Deleted times of the series by slot, each list sorted and without overlaps.
struct Tombstones {
    private(set) var ranges: [UInt32: [ClosedRange<Int64>]] = [:]

    var isEmpty: Bool { ranges.isEmpty }
    var slots: [UInt32] { Array(ranges.keys) }

    subscript(slot: Int) -> [ClosedRange<Int64>] { ranges.isEmpty ? [] : ranges[UInt32(slot)] ?? [] }

    /// Adds times; what overlaps or touches becomes one range.
    mutating func add(_ range: ClosedRange<Int64>, to slot: Int) {
        var merged = range
        var kept: [ClosedRange<Int64>] = []
        for old in self[slot] {
            guard old.lowerBound <= merged.upperBound.next, merged.lowerBound <= old.upperBound.next else {
                kept.append(old)
                continue
            }
            let lower: Int64 = min(old.lowerBound, merged.lowerBound)
            let upper: Int64 = max(old.upperBound, merged.upperBound)
            merged = lower...upper
        }
        let index = kept.firstIndex { $0.lowerBound > merged.lowerBound } ?? kept.endIndex
        kept.insert(merged, at: index)
        ranges[UInt32(slot)] = kept
    }

    mutating func remove(_ slot: Int) { ranges[UInt32(slot)] = nil }

    /// Drops what lies before `time` altogether: the samples are gone.
    mutating func forget(before time: Int64, of slot: UInt32) {
        let kept = (ranges[slot] ?? []).filter { (range: ClosedRange<Int64>) in range.upperBound >= time }
        ranges[slot] = kept.isEmpty ? nil : kept
    }
}

extension Int64 {
    fileprivate var next: Int64 { self == .max ? self : self + 1 }
}

extension [ClosedRange<Int64>] {
    /// Whether a time is deleted.
    func holds(_ time: Int64) -> Bool { contains { (range: ClosedRange<Int64>) in range.contains(time) } }
    /// Whether all of a chunk is deleted by a single range.
    func covers(_ first: Int64, _ last: Int64) -> Bool {
        contains { (range: ClosedRange<Int64>) in range.contains(first) && range.contains(last) }
    }
}

extension Head {
    /// What deleting `[from, through]` of the matching series means: for each its samples' own part of it, so that
    /// samples to come are never deleted beforehand.
    func tombstones(for matchers: [Matcher], from: Int64, through: Int64) -> [Tombstone] {
        var stones: [Tombstone] = []
        for slot in index.select(matchers).map(Int.init) {
            let first = max(from, firstTime(of: slot) ?? .max)
            let last = min(through, series[slot].lastTime)
            guard first <= last else { continue }
            stones.append(
                Tombstone(
                    reference: Head.reference(UInt32(slot), series[slot].generation), range: first...last))
        }
        return stones
    }

    /// The slots of matching series with late samples in `[from, through]`.
    func lateSlots(_ matchers: [Matcher], from: Int64, through: Int64) -> [UInt32] {
        guard !late.isEmpty || !sealedLate.isEmpty else { return [] }
        return index.select(matchers).filter {
            !(lateSamples(of: $0)?.indices(after: from - 1, through: through).isEmpty ?? true)
        }
    }

    /// The times of the late samples that are to be deleted, from the first to the last of each series.
    func lateTombstones(of slots: [UInt32], from: Int64, through: Int64) -> [Tombstone] {
        slots.compactMap { slot in
            guard let all = lateSamples(of: slot) else { return nil }
            let range = all.indices(after: from - 1, through: through)
            guard let first = range.first, let last = range.last else { return nil }
            return Tombstone(
                reference: Head.reference(slot, series[Int(slot)].generation), range: all.times[first]...all.times[last]
            )
        }
    }

    /// Hides a tombstone's samples, if its series is still there.
    mutating func bury(_ stone: Tombstone) {
        let slot = Head.slot(stone.reference)
        guard slot < series.count, series[slot].isLive, series[slot].generation == UInt32(stone.reference >> 32)
        else { return }
        bury(stone.range, of: slot)
    }
}
