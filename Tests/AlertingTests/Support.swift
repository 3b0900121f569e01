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
    return try RouteTree(
        from: SettingsDocument("route:\n" + indented, file: "r.yaml").map(), receivers: Set(names), fallback: "none")
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
