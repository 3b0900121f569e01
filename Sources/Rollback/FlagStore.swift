internal import Basics
internal import Settings
internal import Transport

/// Why a flag could not be read or set; one clause without secrets and values.
struct FlagError: Error, CustomStringConvertible {
    var description: String
}

/// Where flags are kept: their values by key, and a set that no other writer's comes between.
protocol FlagStore: Sendable {
    func value(of key: String) async throws(FlagError) -> [UInt8]?
    /// Sets a key that still has the value `expected`; whether it had.
    func set(_ key: String, to value: [UInt8], expecting expected: [UInt8]?) async throws(FlagError) -> Bool
}

struct RedisFlags: FlagStore {
    let redis: any Redis

    func value(of key: String) async throws(FlagError) -> [UInt8]? {
        do { return try await redis.value(of: key) } catch { throw FlagError(description: error.description) }
    }
    func set(_ key: String, to value: [UInt8], expecting expected: [UInt8]?) async throws(FlagError) -> Bool {
        do {
            return try await redis.set(key, to: value, expecting: expected)
        } catch {
            throw FlagError(description: error.description)
        }
    }
}

/// A JSON object in a file, a member for each flag. Replaced whole; compared right before, since a file knows no
/// transaction: a writer in the very moment between is not seen.
struct FileFlags: FlagStore {
    let path: String
    let files: any FileSystem

    func value(of key: String) async throws(FlagError) -> [UInt8]? { try members()[key]?.serialized() }

    func set(_ key: String, to value: [UInt8], expecting expected: [UInt8]?) async throws(FlagError) -> Bool {
        let present = try members()
        guard present[key]?.serialized() == expected, case .object(var members) = present else { return false }
        guard let fresh = try? JSON(parsing: value) else { throw FlagError(description: "the new value is no JSON") }
        if let index = members.lastIndex(where: { $0.name == key }) {
            members[index].value = fresh
        } else {
            members.append(JSON.Member(key, fresh))
        }
        do {
            try files.replace(path, with: JSON.object(members).serialized() + [0x0A])
        } catch {
            throw FlagError(description: "\(path): \(error.reason)")
        }
        return true
    }

    private func members() throws(FlagError) -> JSON {
        let bytes: [UInt8]
        do {
            guard try files.attributes(of: path) != nil else { return .object([]) }
            bytes = try files.contents(of: path, limit: 16 << 20)
        } catch {
            throw FlagError(description: "\(path): \(error.reason)")
        }
        guard let json = try? JSON(parsing: bytes), json.members != nil else {
            throw FlagError(description: "\(path): is no JSON object; mend the file by hand")
        }
        return json
    }
}
