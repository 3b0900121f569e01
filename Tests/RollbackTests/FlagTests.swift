import Basics
import Settings
import TestSupport
import Testing
import Transport

@testable import Rollback

@Suite struct FlagRecordTests {
    static let changes: [(stored: String?, environment: String?, turned: String?)] = [
        (nil, nil, #"{"enabled":false,"rollout_percentage":0}"#),
        (#"{"enabled": true, "rollout_percentage": 25}"#, nil, #"{"enabled":false,"rollout_percentage":0}"#),
        (
            #"{"rollout_percentage":10,"owner":"x","enabled":true}"#, nil,
            #"{"rollout_percentage":0,"owner":"x","enabled":false}"#
        ),
        (#"{"enabled":false,"rollout_percentage":0}"#, nil, nil),
        // Off for all, but not for the share: both go.
        (#"{"enabled":false,"rollout_percentage":5}"#, nil, #"{"enabled":false,"rollout_percentage":0}"#),
        (#"{"enabled":true}"#, nil, #"{"enabled":false}"#),
        (#"{"staging":true,"production":true}"#, "production", #"{"staging":true,"production":false}"#),
        (
            #"{"production":{"enabled":true,"rollout_percentage":9}}"#, "production",
            #"{"production":{"enabled":false,"rollout_percentage":0}}"#
        ),
        (
            #"{"environments":{"staging":true,"production":true}}"#, "staging",
            #"{"environments":{"staging":false,"production":true}}"#
        ),
        // One value for all environments.
        (#"{"enabled":true}"#, "production", #"{"enabled":false}"#),
    ]

    @Test("a flag is switched off, and nothing else of it changes", arguments: changes)
    func change(stored: String?, environment: String?, turned: String?) {
        let change = FlagRecord.switchingOff(stored.map { Array($0.utf8) }, for: environment)
        #expect(change == (turned.map { .turned(Array($0.utf8)) } ?? .isOff))
        guard case .turned(let value) = change else { return }
        #expect(FlagRecord.switchingOff(value, for: environment) == .isOff, "switched off, it is off")
    }

    @Test(
        "what is no flag is left alone, and told why",
        arguments: [
            ("on", "not JSON"), ("[1]", "an array"), ("3", "a number"), ("{}", "no member 'enabled'"),
            (#"{"enabled":1}"#, "'enabled' is a number"), (#"{"enabled":true,"rollout_percentage":"all"}"#, "a string"),
            (#"{"production":true}"#, "name the environment"), ("{\"enabled\":tru", "not JSON"),
        ])
    func foreign(stored: String, reason: String) {
        guard case .foreign(let told) = FlagRecord.switchingOff(Array(stored.utf8), for: nil) else {
            Issue.record("\(stored) was taken for a flag")
            return
        }
        #expect(told.contains(reason))
    }
}

/// Flags in a file and in a real Redis: what both promise.
@Suite struct FlagStoreTests {
    private func contract(_ store: any FlagStore, read: () throws -> String) async throws {
        #expect(try await store.value(of: "f") == nil)
        #expect(try await store.set("f", to: Array(#"{"enabled":true}"#.utf8), expecting: nil))
        #expect(try await !store.set("f", to: Array("{}".utf8), expecting: nil), "there is one by now")
        #expect(try await !store.set("f", to: Array("{}".utf8), expecting: Array(#"{"enabled":false}"#.utf8)))
        #expect(try read().contains(#"{"enabled":true}"#))
        let kept = try await store.value(of: "f")
        #expect(try await store.set("f", to: Array(#"{"enabled":false}"#.utf8), expecting: kept))
        #expect(try await store.value(of: "f") == Array(#"{"enabled":false}"#.utf8))
    }

    @Test("a file's flags") func file() async throws {
        let files = MemoryFiles()
        try await contract(FileFlags(path: "flags.json", files: files)) {
            String(decoding: try files.contents(of: "flags.json"), as: UTF8.self)
        }
        files.put("flags.json", "[]")
        await #expect(throws: FlagError.self) { try await FileFlags(path: "flags.json", files: files).value(of: "f") }
        files.put("flags.json", #"{"a": true, "f": {"enabled": true}}"#)
        let store = FileFlags(path: "flags.json", files: files)
        #expect(try await store.set("f", to: Array("{}".utf8), expecting: Array(#"{"enabled":true}"#.utf8)))
        #expect(try String(decoding: files.contents(of: "flags.json"), as: UTF8.self) == "{\"a\":true,\"f\":{}}\n")
    }

    private static func client(_ server: RedisServer, timeout: Milliseconds = 500) -> RedisFlags {
        var settings = RedisSettings()
        (settings.unixSocket, settings.timeout) = (server.socket, timeout)
        return RedisFlags(redis: RedisClient(settings) { _ in [] })
    }

    @Test("Redis' flags", .enabled(if: RedisServer.isInstalled, "skipped: redis-server is not installed"))
    func redis() async throws {
        let server = try RedisServer()
        let store = FlagStoreTests.client(server)
        try await contract(store) { try server.cli("get", "f") }
        // Wiped in the middle, stopped, and there again.
        try server.cli("flushall")
        #expect(try await store.value(of: "f") == nil)
        try server.stop()
        await #expect(throws: FlagError.self) { try await store.value(of: "f") }
        try server.start()
        #expect(try await store.set("f", to: Array("{}".utf8), expecting: nil), "a broken connection is made anew")
        // Of another type.
        try server.cli("lpush", "list", "1")
        let error = await #expect(throws: FlagError.self) { try await store.value(of: "list") }
        #expect(error?.description.contains("WRONGTYPE") == true)
        // Read-only: in its own words.
        try server.cli("replicaof", "127.0.0.1", "1")
        let refused = await #expect(throws: FlagError.self) {
            try await store.set("f", to: Array("{1}".utf8), expecting: Array("{}".utf8))
        }
        #expect(refused?.description.contains("READONLY") == true)
        try server.cli("replicaof", "no", "one")
        // Slow: the time runs out, and the next try finds it.
        let quick = FlagStoreTests.client(server, timeout: 50)
        #expect(try await quick.value(of: "f") == Array("{}".utf8))
        try server.cli("client", "pause", "300")
        let late = await #expect(throws: FlagError.self) { try await quick.value(of: "f") }
        #expect(late?.description.contains("timed out") == true)
        try server.cli("client", "unpause")
        #expect(try await quick.value(of: "f") == Array("{}".utf8))
    }

    @Test(
        "Redis' password is never told", .enabled(if: RedisServer.isInstalled, "skipped: redis-server is not installed")
    )
    func password() async throws {
        let server = try RedisServer()
        try server.cli("config", "set", "requirepass", "hush-hush-1")
        let map = try SettingsDocument("{unix_socket: \(server.socket), password: wrong-secret-2}", file: "v.yaml")
            .map()
        let wrong = RedisClient(try RedisSettings(from: map)) { _ in [] }
        let error = await #expect(throws: RedisError.self) { try await wrong.value(of: "f") }
        #expect(error?.description.contains("secret") == false)
        let good = try SettingsDocument("{unix_socket: \(server.socket), password: hush-hush-1}", file: "v.yaml").map()
        #expect(try await RedisClient(try RedisSettings(from: good)) { _ in [] }.value(of: "f") == nil)
    }
}
