/// Items, the least first; a binary heap. Insertion and removal cost O(log *n*).
public struct MinHeap<Item: Comparable & Sendable>: Sendable {
    private var items: [Item] = []

    /// Empty.
    public init() {}

    /// The least, nil when there is none.
    public var first: Item? { items.first }

    /// Takes an item in.
    public mutating func insert(_ item: Item) {
        items.append(item)
        var child = items.count - 1
        while child > 0, items[child] < items[(child - 1) / 2] {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Takes the least out; nil when there is none.
    @discardableResult
    public mutating func removeFirst() -> Item? {
        guard let first = items.first else { return nil }
        items.swapAt(0, items.count - 1)
        items.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < items.count && items[child] < items[least] {
                least = child
            }
            guard least != parent else { return first }
            items.swapAt(parent, least)
            parent = least
        }
    }

    /// Changes every item, none of which may thereby pass another.
    public mutating func changeAll(_ change: (inout Item) -> Void) {
        for index in items.indices { change(&items[index]) }
    }

    /// Lets go of everything.
    public mutating func removeAll() { items = [] }
}
