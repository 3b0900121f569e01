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

/// Moments with what is due then, the earliest first; a binary heap. Things that are over stay in until their time:
/// whoever takes one asks whether it still holds.
struct DueHeap: Sendable {
    struct Item: Sendable, Hashable {
        var due: Timestamp
        /// Parts things of one moment, so that the order never hangs on the heap's shape.
        var order: Int
        var id: String

        func isBefore(_ other: Item) -> Bool { due == other.due ? order < other.order : due < other.due }
    }
    private var items: [Item] = []

    var first: Item? { items.first }

    /// O(log *n*).
    mutating func insert(_ item: Item) {
        items.append(item)
        var child = items.count - 1
        while child > 0, items[child].isBefore(items[(child - 1) / 2]) {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// The first when it is due. O(log *n*).
    mutating func removeFirst(dueAt now: Timestamp) -> Item? {
        guard let first = items.first, first.due <= now else { return nil }
        items.swapAt(0, items.count - 1)
        items.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < items.count && items[child].isBefore(items[least]) {
                least = child
            }
            guard least != parent else { return first }
            items.swapAt(parent, least)
            parent = least
        }
    }

    /// Moves all moments; the order stays.
    mutating func shift(by jump: Milliseconds) {
        for index in items.indices { items[index].due = items[index].due + jump }
    }

    mutating func removeAll() { items = [] }
}
