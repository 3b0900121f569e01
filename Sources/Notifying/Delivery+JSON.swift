public import Basics

extension Delivery {
    /// A line of the ledger as the API shows it.
    public var json: JSON {
        [
            "time": .string("\(time)"), "receiver": .string(receiver), "channel": .string(channelID),
            "kind": .string(kind), "id": .string(notificationID), "groupKey": .string(groupKey),
            "title": .string(title), "firing": .bool(isFiring), "attempt": .number(Double(attempt)),
            "latencySeconds": .number(Double(latency) / 1000), "outcome": .string(outcome.rawValue),
            "message": .string(message), "nextTry": nextTry.map { .string("\($0)") } ?? .null,
            "note": .string(note), "standsInFor": standsInFor.map { .string($0) } ?? .null,
        ]
    }
}
