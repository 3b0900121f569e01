import Basics
import Foundation
import Glibc
import Systemd
import TestSupport
import Testing

/// The daemon as a service: its program beside a manager's socket that the test holds.
@Suite struct ServiceTests {
    @Test("it tells readiness, a reload with its moment in one message, its status, and its end") func notify()
        async throws
    {
        let folder = try Folder()
        let manager = try ManagerSocket("\(folder.path)/notify")
        let configuration = try folder.put("v.yaml", "scrape_configs: []\n")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Program.vedette.path)
        process.arguments = [
            "run", "--config", configuration, "--data-dir", "\(folder.path)/data", "--listen",
            "unix:\(folder.path)/web",
        ]
        process.environment = [
            "NOTIFY_SOCKET": "\(folder.path)/notify", "WATCHDOG_USEC": "300000", "PATH": "/usr/bin:/bin",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        defer { if process.isRunning { process.terminate() } }
        #expect(await manager.read { $0.contains("READY=1") } != nil)
        #expect(
            await manager.read { $0.contains("WATCHDOG=1") && $0.contains { $0.hasPrefix("STATUS=0 rules") } } != nil)
        kill(process.processIdentifier, SIGHUP)
        let reloading = await manager.read { $0.contains("RELOADING=1") }
        let moment = reloading?.first { $0.hasPrefix("MONOTONIC_USEC=") }.flatMap { UInt64($0.dropFirst(15)) }
        var now = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        let microseconds = UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
        #expect(moment.map { $0 <= microseconds && microseconds - $0 < 60_000_000 } == true)
        #expect(await manager.read { $0.contains("READY=1") } != nil)
        process.terminate()
        let stopping = await manager.read { $0.contains("STOPPING=1") }
        #expect(stopping?.contains { $0.hasPrefix("EXTEND_TIMEOUT_USEC=") } == true)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    @Test("the catalogue's ids are those of the events") func catalogue() throws {
        let text = try String(contentsOfFile: "\(Program.root)/packaging/vedette.catalog", encoding: .utf8)
        let lines = text.components(separatedBy: "\n")
        var kinds = 0
        for (index, line) in lines.enumerated() where line.hasPrefix("-- ") {
            let kind = String(lines[index - 1].dropFirst(2))
            #expect(line.dropFirst(3) == JournalLog.messageID(of: kind), "\(kind)")
            kinds += 1
        }
        #expect(kinds > 5)
    }

    @Test("the unit is as tight as it says") func exposure() throws {
        guard let analyze = Program.installed("systemd-analyze") else {
            print("ServiceTests: skipped: systemd-analyze is not installed")
            return
        }
        let outcome = try analyze.run(["security", "--offline=true", "--no-pager", "packaging/vedette.service"])
        let level = outcome.output.components(separatedBy: "vedette.service: ").last?.split(separator: " ").first
        let exposure = try #require(level.flatMap { Double($0) }, "\(outcome.errors)")
        #expect(exposure <= 1.2)
    }
}

/// The datagram socket of a service manager.
private final class ManagerSocket: Sendable {
    private let descriptor: Int32

    init(_ path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8.prefix(107)) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(descriptor, $0, size) }
        }
        try #require(result == 0)
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// The lines of the next message that fits; nil when none comes. Waits on a thread of its own.
    func read(_ fits: @escaping @Sendable ([String]) -> Bool) async -> [String]? {
        await ManagerSocket.thread.start { [self] in next(fits) }.value
    }

    private static let thread = ThreadPoolExecutor(count: 1, name: "test-manager")

    private func next(_ fits: ([String]) -> Bool) -> [String]? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            let lines = String(decoding: buffer[..<count], as: UTF8.self).components(separatedBy: "\n")
            if fits(lines) { return lines }
        }
    }
}
