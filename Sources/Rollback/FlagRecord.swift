internal import Basics

/// A flag's value as the applications keep it: `{"enabled": true, "rollout_percentage": 25}`, or such a record for each
/// environment. Members that are not ours are kept as they are.
enum FlagRecord {
    /// What switching a flag off comes to.
    enum Change: Equatable {
        /// It is off as it stands.
        case isOff
        /// Its value is to become this.
        case turned([UInt8])
        /// The value is no flag, and why; it is left alone.
        case foreign(String)
    }

    /// The value of a flag that nobody ever set.
    static let off: JSON = ["enabled": false, "rollout_percentage": 0]

    /// How to switch off what is stored; in a flag with a value for each environment only that one changes.
    static func switchingOff(_ stored: [UInt8]?, for environment: String?) -> Change {
        guard let stored else { return .turned(off.serialized()) }
        guard stored.count <= 64 << 10 else { return .foreign("it is longer than a flag, \(stored.count) bytes") }
        guard let json = try? JSON(parsing: stored) else { return .foreign("it is not JSON") }  // Told, not lost.
        do throws(Foreign) {
            let turned = try switchedOff(json, for: environment)
            return turned == json ? .isOff : .turned(turned.serialized())
        } catch {
            return .foreign(error.reason)
        }
    }

    private struct Foreign: Error {
        var reason: String
    }

    private static func switchedOff(_ json: JSON, for environment: String?) throws(Foreign) -> JSON {
        guard case .object(var members) = json else { throw Foreign(reason: "it is \(json.kind), not an object") }
        if let environment, let index = members.firstIndex(where: { $0.name == environment }) {
            let inner = members[index].value
            members[index].value = inner.bool == nil ? try switchedOff(inner, for: nil) : false
            return .object(members)
        }
        if let environment, json["enabled"] == nil, let index = members.firstIndex(where: { $0.name == "environments" })
        {
            members[index].value = try switchedOff(members[index].value, for: environment)
            return .object(members)
        }
        guard let enabled = json["enabled"] else {
            throw Foreign(
                reason: environment.map { "it has neither 'enabled' nor a value for '\($0)'" }
                    ?? "it has no member 'enabled'; where it has a value for each environment, name the environment")
        }
        guard enabled.bool != nil else { throw Foreign(reason: "its 'enabled' is \(enabled.kind)") }
        if let share = json["rollout_percentage"], share.number == nil {
            throw Foreign(reason: "its 'rollout_percentage' is \(share.kind)")
        }
        for index in members.indices {
            if members[index].name == "enabled" { members[index].value = false }
            if members[index].name == "rollout_percentage" { members[index].value = 0 }
        }
        return .object(members)
    }
}
