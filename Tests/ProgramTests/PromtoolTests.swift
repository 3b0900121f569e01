import Basics
import Foundation
import Model
import Storage
import TestSupport
import Testing

/// What Prometheus' own tool says of our formats. Without it, `make test` says that these are skipped, and why.
@Suite(.enabled(if: Program.installed("promtool") != nil, "promtool is not installed (Debian package prometheus)"))
struct PromtoolTests {
    private let promtool = Program.installed("promtool")

    /// Ten seconds of three series in a log of our own, under the machine's files.
    private func write(_ folder: Folder, rounds: Int = 10) throws {
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_000_000))
        let store = try SeriesStore(
            directory: "\(folder.path)/data", settings: StorageSettings(), files: SystemFiles(), clock: clock)
        for round in 0..<rounds {
            var batch = SampleBatch(timestamp: Timestamp(milliseconds: 1_790_000_000_000 + Int64(round) * 1000))
            for name in ["a", "b", "c"] {
                let labels: Labels = ["__name__": name, "job": "x", "text": "quoted \"ü\""]
                batch.append(try #require(store.reference(of: labels)), Double(round) * 1.5)
            }
            #expect(store.append(batch).stored == 3)
        }
    }

    private func dump(_ folder: Folder) throws -> [String] {
        let outcome = try #require(promtool).run(["tsdb", "dump", "\(folder.path)/data"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        return outcome.output.split(separator: "\n").map(String.init).sorted()
    }

    @Test("it reads a ten-second log, every sample of it") func log() throws {
        let folder = try Folder()
        try write(folder)
        let lines = try dump(folder)
        #expect(lines.count == 30)
        #expect(lines.first == #"{__name__="a", job="x", text="quoted \"ü\""} 0 1790000000000"#)
        #expect(lines.last == #"{__name__="c", job="x", text="quoted \"ü\""} 9 1790000006000"#)
    }

    @Test("it reads a log that was cut anywhere, after we opened it", arguments: [1, 7, 40, 100, 333]) func cut(
        bytes: Int
    ) throws {
        let folder = try Folder()
        try write(folder, rounds: 40)
        let segment = "\(folder.path)/data/wal/00000000"
        let size = try Data(contentsOf: URL(fileURLWithPath: segment)).count
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: segment))
        try handle.truncate(atOffset: UInt64(size - bytes))
        try handle.close()
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_060_000))
        let store = try SeriesStore(
            directory: "\(folder.path)/data", settings: StorageSettings(), files: SystemFiles(), clock: clock)
        store.replayLog()
        #expect(store.replay.report.repairs.count == 1)
        #expect(try dump(folder).count == store.replay.report.samples)
        #expect(store.replay.report.samples > 90)
    }

    @Test("it accepts the rules that ship, and their tests pass") func rules() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(Program.root)/rules").filter {
            // Prometheus does not know drift rules.
            $0.hasSuffix(".yml") && $0 != "drift.yml"
        }
        #expect(names.count >= 3)
        let outcome = try #require(promtool).run(["check", "rules"] + names.map { "rules/\($0)" })
        #expect(outcome.status == 0, "\(outcome.errors)")
    }
}
