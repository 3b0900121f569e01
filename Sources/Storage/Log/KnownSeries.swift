internal import Model

/// The slots that a log's references mean. Our own references tell their place in a table, so that a sample costs no
/// hashing; those of other writers that lie far apart are kept in a dictionary.
struct KnownSeries {
    private struct Entry {
        var generation: UInt32 = 0
        /// The slot plus 1; 0: none.
        var slot: UInt32 = 0
    }

    /// At twice a reference's slot, and behind it that of the head beside.
    private var table: [Entry] = []
    private var rest: [SeriesReference: Int] = [:]
    /// How far behind its end the table grows for one reference.
    private let reach: Int

    init(reach: Int = 1 << 20) { self.reach = reach }

    private static func place(_ reference: SeriesReference) -> Int {
        2 * Head.slot(reference) + (Head.isBeside(reference) ? 1 : 0)
    }

    subscript(reference: SeriesReference) -> Int? {
        @inline(__always) get {
            let place = KnownSeries.place(reference)
            if place < table.count {
                let entry = table[place]
                if entry.slot != 0, entry.generation == UInt32(reference >> 32) { return Int(entry.slot) - 1 }
            }
            return rest.isEmpty ? nil : rest[reference]
        }
    }

    /// Enters a reference; a later meaning takes an earlier one's place.
    mutating func enter(_ reference: SeriesReference, slot: Int) {
        let place = KnownSeries.place(reference)
        if place >= table.count, place < table.count + reach {
            table += repeatElement(Entry(), count: max(place + 2 - table.count, table.count / 2))
        }
        let generation = UInt32(reference >> 32)
        guard place < table.count, table[place].slot == 0 || table[place].generation == generation else {
            rest[reference] = slot
            return
        }
        // It may have been too far away when it was entered first.
        if !rest.isEmpty { rest[reference] = nil }
        table[place] = Entry(generation: generation, slot: UInt32(slot) + 1)
    }

    /// Calls `body` with every reference and its slot, in no order.
    func forEach(_ body: (SeriesReference, Int) -> Void) {
        for (place, entry) in table.enumerated() where entry.slot != 0 {
            body(Head.reference(UInt32(place / 2), entry.generation), Int(entry.slot) - 1)
        }
        for (reference, slot) in rest { body(reference, slot) }
    }
}
