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

    @Test("it lists, analyzes and reads blocks that were cut, compacted and partly deleted") func blocks() throws {
        let folder = try Folder()
        let start: Int64 = 1_790_013_600_000  // A multiple of six hours.
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start))
        var settings = StorageSettings()
        settings.maximumAhead = 1 << 40
        settings.lateWindow = 7_200_000
        let store = try SeriesStore(
            directory: "\(folder.path)/data", settings: settings, files: SystemFiles(), clock: clock)
        store.replayLog()
        var expected: Set<String> = []
        for time in stride(from: start, through: start + 20 * 3_600_000, by: 300_000) {
            var batch = SampleBatch(timestamp: Timestamp(milliseconds: time))
            for name in ["a", "b", "c"] {
                let reference = try #require(store.reference(of: ["__name__": name, "text": "quoted \"ü\""]))
                batch.append(reference, Double(time % 1013))
                if time % 1_500_000 == 0, time > start { batch.append(reference, 7, at: time - 450_001) }
                func line(_ value: Double, _ time: Int64) -> String {
                    #"{__name__="\#(name)", text="quoted \"ü\""} \#(GoNumber.fixed(value)) \#(time)"#
                }
                expected.insert(line(Double(time % 1013), time))
                if time % 1_500_000 == 0, time > start { expected.insert(line(7, time - 450_001)) }
            }
            #expect(store.append(batch).isLogged)
            if time % 3_600_000 == 0 { store.maintain() }
        }
        store.maintain()
        try store.delete(
            [Matcher("__name__", equals: "b")], from: Timestamp(milliseconds: start + 3_600_000),
            through: Timestamp(milliseconds: start + 9 * 3_600_000))
        expected = expected.filter { line in
            let time = Int64(line.split(separator: " ").last ?? "") ?? 0
            return !line.hasPrefix("{__name__=\"b\"")
                || !(start + 3_600_000...start + 9 * 3_600_000).contains(time)
        }
        #expect(store.bounds.oldest.map { $0.milliseconds > start + 14 * 3_600_000 } ?? false)
        let tool = try #require(promtool)
        let list = try tool.run(["tsdb", "list", "\(folder.path)/data"])
        #expect(list.status == 0 && list.output.split(separator: "\n").count >= 4, "\(list.output)\(list.errors)")
        let analysis = try tool.run(["tsdb", "analyze", "\(folder.path)/data"])
        #expect(analysis.status == 0 && analysis.output.contains("Series: 3"), "\(analysis.output)")
        // What came late and is not in a block yet is in a log that promtool does not read.
        let found = Set(try dump(folder))
        #expect(found.isSubset(of: expected))
        #expect(expected.subtracting(found).allSatisfy { $0.contains(" 7 ") })
        #expect(expected.subtracting(found).count < 40)
    }

    @Test("blocks that it makes are served, to the sample") func made() throws {
        let folder = try Folder()
        var page = "# TYPE x gauge\n"
        var expected: [Int64: Double] = [:]
        for number in 0..<2000 {
            page += "x{l=\"é\"} \(Double(number) / 7) \(1_790_000_000 + 15 * number)\n"
            expected[1000 * Int64(1_790_000_000 + 15 * number)] = Double(number) / 7
        }
        try Data((page + "# EOF\n").utf8).write(to: URL(fileURLWithPath: "\(folder.path)/page"))
        let tool = try #require(promtool)
        let outcome = try tool.run([
            "tsdb", "create-blocks-from", "openmetrics", "\(folder.path)/page", "\(folder.path)/data",
        ])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_040_000_000))
        let store = try SeriesStore(
            directory: "\(folder.path)/data", settings: StorageSettings(), files: SystemFiles(), clock: clock)
        store.replayLog()
        for _ in 0..<2 {
            let found = try store.select(
                [Matcher("l", equals: "é")], after: Timestamp(milliseconds: 0), through: .distantFuture, reading: .all,
                limits: ReadLimits())
            #expect(found.count == 1 && found.first?.labels == ["__name__": "x", "l": "é"])
            let times = found.first?.times ?? []
            #expect(Dictionary(uniqueKeysWithValues: zip(times, found.first?.values ?? [])) == expected)
            store.maintain()
        }
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
