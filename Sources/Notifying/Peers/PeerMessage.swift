internal import Alerting
internal import Basics
internal import Model

/// What one daemon says to another: its changes since a number, in JSON. A request and its answer have the same form.
struct PeerMessage: Sendable {
    /// The greatest body that is taken; and how much is put into one.
    static let limit = 4 << 20, bytes = 256 << 10
    /// How far ahead of ours a peer's times may lie.
    static let tolerance: Milliseconds = 10_000

    /// Who says it.
    var name: String
    /// Another for each run of a daemon; the number of the last change that is told here, and whether there are more.
    var epoch: String, sequence: Int, hasMore = false
    /// Up to which change of which run it knows the other's.
    var known: (epoch: String, sequence: Int)?
    /// When, by the speaker's clock.
    var now: Timestamp
    var entries: [PeerLog.Entry] = []
    /// Silences by their ids.
    var silences: [(id: String, json: JSON)] = []

    /// Whether it tells nothing.
    var isEmpty: Bool { entries.isEmpty && silences.isEmpty }

    func serialized() -> [UInt8] {
        JSON.object([
            JSON.Member("peer", .string(name)), JSON.Member("epoch", .string(epoch)),
            JSON.Member("sequence", .number(Double(sequence))), JSON.Member("more", .bool(hasMore)),
            JSON.Member(
                "known",
                known.map { ["epoch": .string($0.epoch), "sequence": .number(Double($0.sequence))] } ?? .null),
            JSON.Member("now", JSON(now)), JSON.Member("told", .array(entries.map(\.json))),
            JSON.Member("silences", .array(silences.map { ["id": .string($0.id), "silence": $0.json] })),
        ]).serialized()
    }

    /// nil when it is no such message. Entries that are none are left out, and counted.
    init?(_ bytes: [UInt8], unreadable: inout Int) {
        guard bytes.count <= PeerMessage.limit, let json = try? JSON(parsing: bytes),  // Told to the caller by nil.
            let name = json["peer"]?.string, name.utf8.count <= PeerSettings.longestName,
            let epoch = json["epoch"]?.string, epoch.utf8.count <= 64, let sequence = json["sequence"]?.integer,
            let now = json["now"]?.timestamp, let told = json["told"]?.array, let silences = json["silences"]?.array
        else { return nil }
        (self.name, self.epoch, self.sequence, self.now) = (name, epoch, sequence, now)
        hasMore = json["more"]?.bool ?? false
        if let epoch = json["known"]?["epoch"]?.string, let sequence = json["known"]?["sequence"]?.integer {
            known = (epoch, sequence)
        }
        for item in told {
            if let entry = PeerLog.Entry(json: item) { entries.append(entry) } else { unreadable += 1 }
        }
        for item in silences {
            if let id = item["id"]?.string, !id.isEmpty, id.utf8.count <= 100, let json = item["silence"] {
                self.silences.append((id, json))
            } else {
                unreadable += 1
            }
        }
    }

    init(name: String, epoch: String, sequence: Int, now: Timestamp) {
        (self.name, self.epoch, self.sequence, self.now) = (name, epoch, sequence, now)
    }
}

/// Why what a peer says is not taken.
public struct PeerRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    /// What to answer over HTTP.
    public var status: Int
    /// One sentence with the cure.
    public var description: String
}

/// A peer as it is shown.
public struct PeerStatus: Sendable, Hashable {
    /// As the configuration has it, and its host and port.
    public var name: String, address: String
    /// Whether it was heard of lately.
    public var isUp: Bool
    /// Why it was not, when it was not.
    public var problem: String?
}

/// All peers as they are shown.
public struct PeersStatus: Sendable, Hashable {
    /// Ours, and the host and port that the others reach us by, where they are told.
    public var name: String, address: String
    /// Our place among those that are up, from 0: who waits for how many.
    public var position: Int
    /// Whether all others were asked since the start, or had their time.
    public var isSettled: Bool
    /// The others, by name.
    public var peers: [PeerStatus]
}
