internal import Basics

/// First in, first out; both in O(1) on average.
struct FIFO<Item: Sendable>: Sendable {
    private var items: [Item] = []
    private var head = 0

    var isEmpty: Bool { head == items.count }
    var first: Item? { isEmpty ? nil : items[head] }
    var count: Int { items.count - head }

    mutating func append(_ item: Item) { items.append(item) }

    mutating func removeFirst() -> Item {
        let item = items[head]
        head += 1
        if head > 64, head * 2 > items.count {
            items.removeFirst(head)
            head = 0
        }
        return item
    }

    /// Takes items out wherever they stand. O(*n*).
    mutating func removeAll(where isGone: (Item) -> Bool) {
        items.removeFirst(head)
        head = 0
        items.removeAll(where: isGone)
    }

    /// The first first.
    var all: ArraySlice<Item> { items[head...] }
}

/// Something that is due at a moment. What is over stays in its heap until its time: whoever takes it asks whether it
/// still holds.
struct DueItem: Sendable, Hashable, Comparable {
    var due: Timestamp
    /// Parts things of one moment, so that the order never hangs on the heap's shape.
    var order: Int
    var id: String

    static func < (left: DueItem, right: DueItem) -> Bool {
        left.due == right.due ? left.order < right.order : left.due < right.due
    }
}

extension MinHeap<DueItem> {
    /// The first when it is due.
    mutating func removeFirst(dueAt now: Timestamp) -> DueItem? {
        guard let first, first.due <= now else { return nil }
        return removeFirst()
    }

    /// Moves all moments; the order stays.
    mutating func shift(by jump: Milliseconds) { changeAll { $0.due = $0.due + jump } }
}
