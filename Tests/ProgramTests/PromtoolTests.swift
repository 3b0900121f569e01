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

    @Test("it reads a log with exemplars and deletions, and leaves out what was deleted") func deletions() throws {
        let folder = try Folder()
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_000_000))
        let store = try SeriesStore(
            directory: "\(folder.path)/data", settings: StorageSettings(), files: SystemFiles(), clock: clock)
        store.replayLog()
        for round in 0..<10 {
            var batch = SampleBatch(timestamp: Timestamp(milliseconds: 1_790_000_000_000 + Int64(round) * 1000))
            for name in ["a", "b"] {
                let labels: Labels = ["__name__": name]
                let reference = try #require(store.reference(of: labels))
                batch.append(reference, Double(round))
                let exemplar = Exemplar(labels: ["trace_id": "\(round)"], value: 1, timestamp: batch.timestamp)
                store.append([SeriesExemplar(reference: reference, series: labels, exemplar: exemplar)])
            }
            #expect(store.append(batch).stored == 2)
        }
        try store.delete(
            [Matcher("__name__", equals: "b")], from: Timestamp(milliseconds: 1_790_000_003_000),
            through: .distantFuture)
        let lines = try dump(folder)
        #expect(lines.count == 13 && lines.filter { $0.hasPrefix("{__name__=\"b\"}") }.count == 3)
        #expect(lines.last == "{__name__=\"b\"} 2 1790000002000")
    }

    @Test("it finds in a page what `check metrics` finds, and nothing in our own") func metrics() throws {
        let pages = [
            ("a_total 1\n", 1),
            ("# HELP a A.\n# TYPE a counter\na 1\n# HELP b_total B.\n# TYPE b_total gauge\nb_total 1\n", 2),
            (
                "# HELP aB_ms X.\n# TYPE aB_ms gauge\naB_ms{userId=\"1\"} 1\n# HELP c_bits C.\n# TYPE c_bits gauge\nc_bits 1\n",
                4
            ),
            ("# HELP a:b X.\n# TYPE a:b gauge\na:b 1\n", 1), ("# HELP a A.\n# TYPE a gauge\na 1\n", 0),
            ("# HELP a_kilobytes A.\n# TYPE a_kilobytes gauge\na_kilobytes{le=\"1\"} 1\n", 2),
        ]
        for (page, count) in pages {
            let ours = try Program.vedette.run(["check", "metrics"], input: page)
            let theirs = try #require(promtool).run(["check", "metrics"], input: page)
            let names = { (text: String, column: Int) in
                text.split(separator: "\n").map { $0.split(separator: " ")[column].replacing(/:$/, with: "") }.sorted()
            }
            #expect(names(ours.errors, 1) == names(theirs.errors, 0), "\(page): \(ours.errors)\(theirs.errors)")
            #expect(names(ours.errors, 1).count == count && (ours.status == 0) == (count == 0))
        }
        let bad = try Program.vedette.run(["check", "metrics"], input: "a 1\nb{ 2\n")
        #expect(bad.status == 1 && bad.errors == "stdin:2:4: a label's name is expected\n")
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

    @Test("it reads blocks that were imported from its own text, and a backup brings them back")
    func imported() throws {
        let folder = try Folder()
        var text = "# TYPE a gauge\n"
        for job in ["x", "y"] {
            for minute in 0..<300 { text += "a{job=\"\(job)\"} \(minute) \(1_700_006_400 + minute * 60)\n" }
        }
        let file = try folder.put("a.om", text + "# EOF\n")
        let data = "\(folder.path)/data"
        let bad = try Program.vedette.run(["import", "openmetrics", "-", "--data-dir", data], input: text)
        #expect(bad.status == 2 && bad.errors.hasPrefix("stdin:602:1: the text does not end with # EOF"))
        let outcome = try Program.vedette.run(["import", "openmetrics", file, "--data-dir", data])
        #expect(outcome.status == 0 && outcome.output.hasPrefix("600 samples in 3 blocks"), "\(outcome)")
        let before = try dump(folder)
        #expect(before.count == 600)
        let theirs = try Folder()
        let made = try #require(promtool).run([
            "tsdb", "create-blocks-from", "openmetrics", file, "\(theirs.path)/data",
        ])
        #expect(made.status == 0)
        // Its own dump wants a log beside the blocks.
        try FileManager.default.createDirectory(
            atPath: "\(theirs.path)/data/wal", withIntermediateDirectories: false)
        #expect(try dump(theirs) == before)
        // What Prometheus' tool made comes over too: the same samples once more, and no others.
        let over = try Program.vedette.run(["import", "prometheus", "\(theirs.path)/data", "--data-dir", data])
        #expect(over.status == 0, "\(over)")
        #expect(try dump(folder) == before)
    }

    @Test("it reads what a backup restores, and an unsealed archive opens with tar", arguments: [true, false])
    func backup(isSealed: Bool) throws {
        let folder = try Folder()
        try write(folder)
        let before = try dump(folder)
        let key = isSealed ? ["--passphrase-file", try folder.put("key", "a passphrase\n")] : []
        let archive = "\(folder.path)/b.tar"
        func run(_ arguments: [String]) throws -> Program.Outcome {
            try Program.vedette.run(["backup"] + arguments)
        }
        let made = try run(["create", archive, "--data-dir", "\(folder.path)/data"] + key)
        #expect(made.status == 0, "\(made)")
        let verified = try run(["verify", archive] + key)
        #expect(verified.status == 0 && verified.output.contains("30 samples in 1 blocks are as they were"))
        let target = try Folder()
        let restored = try run(["restore", archive, "--data-dir", "\(target.path)/data"] + key)
        #expect(restored.status == 0, "\(restored)")
        #expect(try dump(target) == before)
        #expect(try run(["restore", archive, "--data-dir", "\(target.path)/data"] + key).status == 2)
        if isSealed {
            let closed = try run(["verify", archive, "--passphrase-file", try folder.put("wrong", "another\n")])
            #expect(closed.status == 2 && closed.errors.contains("the passphrase is not the one"))
        } else {
            let opened = try #require(Program.installed("sh")).run(
                ["-c", "tar -xf \(archive) && sha256sum --quiet -c SHA256SUMS"], in: target.path)
            #expect(opened.status == 0, "\(opened)")
        }
        var bytes = try Data(contentsOf: URL(fileURLWithPath: archive))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(fileURLWithPath: archive))
        let damaged = try run(["verify", archive] + key)
        #expect(damaged.status == 1 && damaged.errors.contains("b.tar: byte "), "\(damaged)")
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
