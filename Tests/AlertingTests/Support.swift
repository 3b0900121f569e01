import Alerting
import Basics
import Foundation
import Model
import Settings
import Synchronization
import TestSupport
import Testing

/// A file of the peers' Alertmanager data; nil, told on the console, when there is none.
func alertmanagerData(_ name: String) throws -> SettingsMap? {
    guard let file = Peers.file("alertmanager/\(name)") else { return nil }
    return try SettingsDocument(Peers.bytes(file), file: name).map()
}

/// A route tree from the text under `route:`; every receiver it names is known.
func tree(_ text: String) throws -> RouteTree {
    let indented = text.split(separator: "\n", omittingEmptySubsequences: false).map { "  " + $0 }.joined(
        separator: "\n")
    let names = text.split(separator: "\n").filter { $0.contains("receiver:") }.map { line in
        String((line.split(separator: ":").last ?? "").trimmingCharacters(in: CharacterSet(charactersIn: " '\"")))
    }
    return try alerting("route:\n" + indented, receivers: Set(names)).tree
}

/// The sections of a file that decide who is told.
func alerting(
    _ text: String, receivers: Set<String>, mode: MatcherMode = .fallback
) throws -> AlertingSettings {
    try AlertingSettings(
        from: SettingsDocument(text, file: "a.yaml").map(), receivers: receivers, fallback: "none", mode: mode,
        zones: { CivilZone($0, files: SystemFiles()) })
}

extension AlertGroups {
    /// Every episode counts: none is damped.
    init(_ tree: RouteTree) { self.init(AlertingSettings(undamped: tree)) }
    mutating func restore(
        from store: any StateStore, receivers: Set<String>, now: Timestamp
    ) -> (changes: [StateChange], unreadable: Int) {
        restore(from: store, receivers: receivers, zones: { _ in nil }, now: now)
    }
    mutating func replace(_ tree: RouteTree, receivers: Set<String>, now: Timestamp) -> [StateChange] {
        replace(AlertingSettings(undamped: tree), receivers: receivers, now: now)
    }
}

extension AlertingSettings {
    init(undamped tree: RouteTree) {
        self.init(tree: tree)
        flapping.episodes = 0
    }
}

/// A store in memory.
final class MemoryStore: StateStore {
    private let tables = Mutex<[String: [String: [UInt8]]]>([:])
    @discardableResult
    func commit(_ changes: [StateChange]) -> Durability {
        tables.withLock { tables in
            for change in changes { tables[change.table, default: [:]][change.key] = change.value }
        }
        return .durable
    }
    func entries(of table: String) -> [String: [UInt8]] { tables.withLock { $0[table] ?? [:] } }
}

func alert(_ name: String, _ labels: [String: String] = [:], from start: Double = 0, to end: Double? = nil) -> Alert {
    Alert(
        labels: Labels(labels.merging(["alertname": name]) { $1 }), startsAt: Timestamp(seconds: start),
        endsAt: end.map { Timestamp(seconds: $0) })
}
func at(_ seconds: Double) -> Timestamp { Timestamp(seconds: seconds) }
