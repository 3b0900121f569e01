internal import Basics
internal import Model

/// Texts by number: every label name and value is held once, for as long as it is in use.
struct SymbolTable {
    private var texts: [String] = []
    private var uses: [UInt32] = []
    private var free: [UInt32] = []
    private var numbers: [ByteText: UInt32] = [:]
    /// Bytes of all texts.
    private(set) var bytes = 0

    subscript(number: UInt32) -> String { texts[Int(number)] }
    var count: Int { numbers.count }

    func find(_ text: String) -> UInt32? { numbers[ByteText(text)] }
    /// Every text with its number.
    var inUse: [(text: String, number: UInt32)] { numbers.map { ($0.key.text, $0.value) } }

    mutating func number(of text: String) -> UInt32 {
        if let known = numbers[ByteText(text)] { return known }
        let number = free.popLast() ?? UInt32(texts.count)
        if Int(number) == texts.count {
            texts.append(text)
            uses.append(0)
        } else {
            texts[Int(number)] = text
        }
        numbers[ByteText(text)] = number
        bytes += text.utf8.count
        return number
    }

    mutating func retain(_ number: UInt32) { uses[Int(number)] += 1 }

    /// The last release lets the text go and its number be used again.
    mutating func release(_ number: UInt32) {
        uses[Int(number)] -= 1
        guard uses[Int(number)] == 0 else { return }
        bytes -= texts[Int(number)].utf8.count
        numbers[ByteText(texts[Int(number)])] = nil
        texts[Int(number)] = ""
        free.append(number)
    }
}

/// Which series there are, by label: posting lists of slots in ascending order.
struct SeriesIndex {
    private(set) var symbols = SymbolTable()
    private var postings: [UInt64: [UInt32]] = [:]
    private var values: [UInt32: [UInt32]] = [:]
    private var all: [UInt32] = []
    private var byHash: [UInt64: UInt32] = [:]
    private var collisions: [Labels: UInt32] = [:]

    /// Slots of all series.
    var slots: [UInt32] { all }

    private static func key(_ name: UInt32, _ value: UInt32) -> UInt64 { UInt64(name) << 32 | UInt64(value) }

    static func hash(_ labels: Labels) -> UInt64 {
        var hasher = Hasher()
        labels.hash(into: &hasher)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// The slot that may hold these labels; the caller compares.
    func candidate(_ hash: UInt64, _ labels: Labels) -> (slot: UInt32?, collided: UInt32?) {
        (byHash[hash], collisions.isEmpty ? nil : collisions[labels])
    }

    /// Enters a series; the pairs of symbols of its labels are answered.
    mutating func insert(_ labels: Labels, hash: UInt64, slot: UInt32) -> [UInt32] {
        if byHash[hash] == nil { byHash[hash] = slot } else { collisions[labels] = slot }
        var pairs: [UInt32] = []
        pairs.reserveCapacity(labels.count * 2)
        SeriesIndex.add(slot, to: &all)
        for label in labels.sorted {
            let (name, value) = (symbols.number(of: label.name), symbols.number(of: label.value))
            pairs += [name, value]
            let key = Self.key(name, value)
            if postings[key] == nil {
                values[name, default: []].append(value)
                symbols.retain(name)
                symbols.retain(value)
            }
            SeriesIndex.add(slot, to: &postings[key, default: []])
        }
        return pairs
    }

    /// Removes series: O(size of the index), so call it with many.
    mutating func remove(_ removed: [(slot: UInt32, labels: Labels, pairs: [UInt32])]) {
        let gone = Set(removed.map { $0.slot })
        all.removeAll { gone.contains($0) }
        var touched: Set<UInt64> = []
        for series in removed {
            let hash = Self.hash(series.labels)
            if byHash[hash] == series.slot { byHash[hash] = nil }
            if collisions[series.labels] == series.slot { collisions[series.labels] = nil }
            for index in stride(from: 0, to: series.pairs.count, by: 2) {
                touched.insert(Self.key(series.pairs[index], series.pairs[index + 1]))
            }
        }
        var goneValues: [UInt32: Set<UInt32>] = [:]
        for key in touched {
            postings[key]?.removeAll { gone.contains($0) }
            guard postings[key]?.isEmpty ?? false else { continue }
            postings[key] = nil
            let (name, value) = (UInt32(key >> 32), UInt32(truncatingIfNeeded: key))
            goneValues[name, default: []].insert(value)
            symbols.release(name)
            symbols.release(value)
        }
        for (name, gone) in goneValues {
            values[name]?.removeAll { gone.contains($0) }
            if values[name]?.isEmpty ?? false { values[name] = nil }
        }
    }

    private static func add(_ slot: UInt32, to list: inout [UInt32]) {
        guard let last = list.last, last >= slot else { return list.append(slot) }
        var low = 0
        var high = list.count
        while low < high {
            let middle = (low + high) / 2
            if list[middle] < slot { low = middle + 1 } else { high = middle }
        }
        if low == list.count || list[low] != slot { list.insert(slot, at: low) }
    }

    /// Names of labels in use.
    var labelNames: [String] { values.keys.map { symbols[$0] } }

    /// Values of a label in use.
    func labelValues(_ name: String) -> [String] {
        guard let number = symbols.find(name) else { return [] }
        return values[number]?.map { symbols[$0] } ?? []
    }
}

extension SeriesIndex: LabelIndex {
    func everything() -> [UInt32] { all }

    func list(_ name: String, _ value: String) -> [UInt32] {
        guard let name = symbols.find(name), let value = symbols.find(value) else { return [] }
        return postings[Self.key(name, value)] ?? []
    }

    func union(of name: String, where isWanted: (String) -> Bool) -> [UInt32] {
        guard let number = symbols.find(name), let values = values[number] else { return [] }
        return SortedLists.merge(
            values.compactMap { isWanted(symbols[$0]) ? postings[Self.key(number, $0)] : nil })
    }
}
