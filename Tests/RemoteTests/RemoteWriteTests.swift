import Basics
import Model
import Settings
import SwiftProtobuf
import Synchronization
import TestSupport
import Testing
import Transport

@testable import Remote

@Suite struct RemoteWriteTests {
    static let start = Timestamp(milliseconds: 1_790_000_000_000)

    /// A daemon's part that sends, over a log, a disk and a clock.
    final class Sender {
        let tail: MemoryTail
        var files: MemoryFiles
        var clock: SimulatedExecutor
        var store: StrictStore
        var writer: RemoteWriter
        let log = RecordingLog()
        let settings: [RemoteWriteSettings]
        private let fate: @Sendable (Timestamp, UInt64) -> StrictStore.Fate
        private let seed: UInt64
        private var life: UInt64 = 0

        init(
            seed: UInt64, tail: MemoryTail = MemoryTail(), _ change: (inout RemoteWriteSettings) -> Void = { _ in },
            fate: @escaping @Sendable (Timestamp, UInt64) -> StrictStore.Fate = { _, _ in .taken }
        ) {
            var settings = RemoteWriteSettings(peer: RemotePeer(name: "far", url: "http://far/api/v1/write"))
            change(&settings)
            (self.settings, self.tail, self.fate, self.seed) = ([settings], tail, fate, seed)
            files = MemoryFiles()
            clock = SimulatedExecutor(seed: seed, start: RemoteWriteTests.start)
            store = StrictStore(clock, fate)
            writer = Sender.writer(tail, store, clock, files, log)
            boot()
        }

        private static func writer(
            _ tail: MemoryTail, _ store: StrictStore, _ clock: SimulatedExecutor, _ files: MemoryFiles,
            _ log: RecordingLog
        ) -> RemoteWriter {
            RemoteWriter(
                tail: tail, transport: store, clock: clock, files: files, log: log, directory: "d/remote_write",
                externalLabels: ["region": "eu"],
                metadata: { [MetricMetadata(metric: "m", type: .counter, help: "Em.")] })
        }

        private func boot() {
            clock.start { [writer, settings] in
                await writer.update(to: settings)
                await writer.run()
            }
            clock.run(for: 0)
        }

        /// SIGKILL, and a start on what the kernel has.
        func kill() {
            clock.abandon()
            life += 1
            let now = clock.now()
            clock = SimulatedExecutor(seed: seed &+ life &* 7919, start: now + 1000)
            files = files.afterKill()
            store = StrictStore(clock, after: store, fate)
            writer = Sender.writer(tail, store, clock, files, log)
            boot()
        }

        func metric(_ name: String, _ label: (String, String)? = nil) -> Double? {
            let family = writer.metrics().first { $0.name == name }
            return family?.lines.first { line in label.map { line.labels[$0.0] == $0.1 } ?? true }?.value
        }
    }

    @Test("the writer's bytes are what the generated code reads and writes", arguments: 0..<20) func wire(seed: Int)
        throws
    {
        var random = SeededRandom(seed: UInt64(seed))
        var writer = WireWriter()
        var expected = WireWriteRequest()
        for number in 0..<Int(random.next() % 30) {
            let labels: Labels = [
                "__name__": "m\(number)", "é": String(repeating: "x", count: Int(random.next() % 300)),
                "z": "\u{1F600}",
            ]
            let value = Double(bitPattern: random.next())
            let time = Int64(bitPattern: random.next() >> (random.next() % 64))
            writer.append(labels: WireWriter.encoded(labels), value: value, time: time)
            var sample = WireSample()
            (sample.value, sample.timestamp) = (value, time)
            var series = WireTimeSeries()
            (series.labels, series.samples) = (labels.wire, [sample])
            expected.timeseries.append(series)
        }
        let read = try WireWriteRequest(serializedBytes: writer.bytes)
        // As bytes: NaN is not equal to itself.
        #expect(WireWriter.encoded(read) == WireWriter.encoded(expected), "seed \(seed)")
    }

    @Test("samples arrive under external labels and write_relabel_configs, with our headers") func sends() throws {
        let rules = [
            RelabelRule(.drop, sourceLabels: ["__name__"], regex: try Pattern("secret.*")),
            RelabelRule(.labeldrop, regex: try Pattern("pod")),
        ]
        let sender = Sender(seed: 1) {
            $0.rules = rules
            $0.peer.headers = [HTTPHeader("X-Scope-OrgID", "7")]
        }
        sender.tail.append(1000, [(["__name__": "up", "pod": "a"], 1), (["__name__": "secret_x"], 2)])
        sender.tail.append(2000, [(["__name__": "up", "pod": "a"], .nan), (["__name__": "up", "region": "us"], 3)])
        sender.clock.run(for: 10_000)
        #expect(sender.store.series[["__name__": "up", "region": "eu"]]?.map(\.time) == [1000, 2000])
        #expect(sender.store.series[["__name__": "up", "region": "us"]]?.map(\.time) == [2000])
        #expect(sender.store.series.count == 2)
        let headers = sender.store.state.withLock { $0.headers }
        for (name, value) in [
            ("Content-Encoding", "snappy"), ("Content-Type", "application/x-protobuf"),
            ("X-Prometheus-Remote-Write-Version", "0.1.0"), ("X-Scope-OrgID", "7"), ("User-Agent", "Vedette"),
        ] { #expect(headers.contains(HTTPHeader(name, value)), "\(name)") }
        #expect(sender.metric("prometheus_remote_storage_samples_total") == 3)
        #expect(sender.metric("prometheus_remote_storage_samples_dropped_total", ("reason", "dropped_series")) == 1)
        #expect(sender.metric("prometheus_remote_storage_samples_pending") == 0)
        #expect(sender.metric("prometheus_remote_storage_queue_highest_sent_timestamp_seconds") == 2)
    }

    @Test("a batch goes out when it is full or when its time is over, and metadata in its interval") func batches()
        throws
    {
        let sender = Sender(seed: 2) { ($0.queue.samplesPerSend, $0.queue.deadline) = (10, 3000) }
        sender.tail.append(1000, (0..<25).map { (labels: ["__name__": "m", "n": "\($0)"], value: 1) })
        sender.clock.run(for: 1500)
        #expect(sender.store.state.withLock { $0.requests } == 2)
        #expect(sender.metric("prometheus_remote_storage_samples_pending") == 5)
        sender.clock.run(for: 3000)
        #expect(sender.store.series.count == 25)
        #expect(sender.store.state.withLock { $0.requests } == 3)
        sender.clock.run(for: 60_000)
        #expect(sender.store.state.withLock { $0.metadata } == ["m": "counter Em."])
    }

    @Test("exemplars are sent where that is asked for") func exemplars() throws {
        for isAsked in [false, true] {
            let sender = Sender(seed: 3) { $0.sendsExemplars = isAsked }
            sender.tail.append(1000, [(["__name__": "m"], 1)])
            let one = Exemplar(labels: ["trace_id": "x"], value: 1, timestamp: Timestamp(milliseconds: 1000))
            sender.tail.append(.exemplars([(reference: SeriesReference(1), exemplar: one)]))
            sender.clock.run(for: 10_000)
            let found = sender.store.state.withLock { $0.exemplars }
            #expect(found == (isAsked ? ["m{region=\"eu\"} {trace_id=\"x\"}"] : []))
        }
    }

    @Test("a request is tried again with growing pauses, as long as it fails for a while") func backOff() throws {
        let bad = Timestamp(milliseconds: Self.start.milliseconds + 40_000)
        let sender = Sender(seed: 4) {
            ($0.queue.deadline, $0.queue.maximumBackoff) = (1000, 4000)
        } fate: { at, random in
            at >= bad ? .taken : random % 2 == 0 ? .lost : .status(503, retryAfter: nil)
        }
        sender.tail.append(1000, [(["__name__": "m"], 1)])
        sender.clock.run(for: 39_000)
        #expect(sender.store.series.isEmpty)
        #expect(sender.metric("vedette_remote_write_failing") == 1)
        // 30 ms, doubling up to 4 s: the tries are few.
        let tries = sender.store.state.withLock { $0.requests }
        #expect((10...20).contains(tries), "\(tries)")
        #expect(sender.metric("prometheus_remote_storage_samples_retried_total") == Double(tries))
        #expect(sender.log.events.map(\.kind) == ["remote-write-failing"])
        sender.clock.run(for: 10_000)
        #expect(sender.store.series.count == 1)
        #expect(sender.metric("vedette_remote_write_failing") == 0)
        #expect(sender.log.events.map(\.kind) == ["remote-write-failing", "remote-write-recovered"])
    }

    @Test(
        "what a status does to a request",
        arguments: [
            (400, true, 1, 0.0), (401, true, 1, 0.0), (413, true, 1, 0.0), (429, true, 2, 1.0), (429, false, 1, 0.0),
            (500, true, 2, 1.0), (503, true, 2, 1.0), (301, true, 2, 1.0), (408, true, 2, 1.0),
        ])
    func statuses(status: Int, retriesLimited: Bool, requests: Int, retried: Double) throws {
        let first = Mutex(true)
        let sender = Sender(seed: 5) {
            ($0.metadata.isSent, $0.queue.retriesLimited) = (false, retriesLimited)
            $0.peer.http.authorization = nil
            $0.peer.headers = [HTTPHeader("X-Key", "hunter22")]
        } fate: { _, _ in
            first.withLock { isFirst in
                defer { isFirst = false }
                return isFirst ? .status(status, retryAfter: "7") : .taken
            }
        }
        sender.tail.append(1000, [(["__name__": "m"], 1)])
        sender.clock.run(for: 30_000)
        let (moments, count) = sender.store.state.withLock { ($0.moments, $0.requests) }
        #expect(count == requests)
        #expect(sender.metric("prometheus_remote_storage_samples_retried_total") == retried)
        #expect(sender.metric("prometheus_remote_storage_samples_failed_total") == (retried == 0 ? 1 : 0))
        if count == 2, status >= 400 { #expect(moments[1] - moments[0] >= 7000) }
        // What the other side says is told, without our secrets.
        let told = sender.log.events.first?.message ?? ""
        #expect(told.contains("HTTP \(status)") && !told.contains("hunter22") && told.contains("<secret>"), "\(told)")
    }

    @Test("a store that never answers holds up nothing but itself, and what waits is bounded") func bounded() throws {
        let sender = Sender(seed: 6) {
            ($0.queue.capacity, $0.queue.samplesPerSend, $0.queue.maximumShards) = (40, 10, 2)
        } fate: { _, _ in
            .unanswered
        }
        for round in 0..<400 {
            sender.tail.append(Int64(round) * 1000, (0..<5).map { (["__name__": "m", "n": "\($0)"], 1) })
        }
        sender.clock.run(for: 600_000)
        let pending = try #require(sender.metric("prometheus_remote_storage_samples_pending"))
        #expect(pending <= 80 && pending > 0)
        #expect(sender.metric("prometheus_remote_storage_samples_in_total") ?? .infinity <= 100)
        #expect(sender.metric("prometheus_remote_storage_enqueue_retries_total") ?? 0 > 0)
        // The log is kept from the first segment on.
        #expect(sender.tail.holds == ["far": 0])
    }

    @Test("a log that was let go is told of, and sending goes on behind the gap") func gap() throws {
        let begin = Self.start.milliseconds
        let sender = Sender(seed: 7) {
            ($0.queue.capacity, $0.queue.samplesPerSend) = (10, 10)
        } fate: { at, _ in
            at.milliseconds < begin + 60_000 ? .lost : .taken
        }
        for round in 0..<200 { sender.tail.append(Int64(round), [(["__name__": "m"], Double(round))]) }
        sender.clock.run(for: 30_000)
        sender.tail.forget(below: 15)
        sender.clock.run(for: 60_000)
        let times = sender.store.series.values.first?.map(\.time) ?? []
        #expect(times.last == 199 && times.count < 100, "\(times.count)")
        #expect(sender.metric("vedette_remote_write_missed_segments_total") ?? 0 > 10)
        #expect(sender.log.events.contains { $0.kind == "remote-write-gap" })
    }

    @Test("samples that the store refused are not sent: another store would refuse their whole request")
    func olderSamples() throws {
        let sender = Sender(seed: 8)
        for time in [1000, 3000, 2000, 3000, 4000] as [Int64] { sender.tail.append(time, [(["__name__": "m"], 1)]) }
        sender.clock.run(for: 20_000)
        #expect(sender.store.series.values.first?.map(\.time) == [1000, 3000, 4000])
        #expect(sender.store.state.withLock { $0.refused } == 0)
    }

    @Test("what was done of a record is not sent again after a restart, so what is made again is what it was")
    func partOfARecord() throws {
        let hangs = Mutex(false)
        let sender = Sender(seed: 11) {
            ($0.queue.samplesPerSend, $0.queue.minimumShards, $0.queue.maximumShards) = (5, 1, 1)
            $0.metadata.isSent = false
        } fate: { _, _ in
            hangs.withLock { hangs in
                defer { hangs = true }
                return hangs ? .lost : .taken
            }
        }
        // One record with twenty samples of one series, of which one request arrives.
        let times = (1...20).map { Int64($0) * 10 }
        sender.tail.append(.series([(1, ["__name__": "m"])]))
        var logged = LoggedSamples()
        for time in times { (logged.references, logged.times) = (logged.references + [1], logged.times + [time]) }
        logged.values = times.map(Double.init)
        sender.tail.append(.samples(logged))
        sender.clock.run(for: 5000)
        #expect(sender.store.series.values.first?.map(\.time) == Array(times.prefix(5)))
        hangs.withLock { $0 = false }
        sender.kill()
        sender.clock.run(for: 5)
        hangs.withLock { $0 = false }
        for _ in 0..<100 {
            sender.clock.run(for: 300)
            hangs.withLock { $0 = false }
        }
        #expect(sender.store.series.values.first?.map(\.time) == times)
        #expect(sender.store.state.withLock { $0.refused } == 0)
    }

    @Test("what is made again after a restart and refused for another reason than being there counts as failed")
    func repeatRefused() throws {
        let answer = Mutex(StrictStore.Fate.lost)
        let sender = Sender(seed: 12) {
            $0.metadata.isSent = false
        } fate: { _, _ in
            answer.withLock { $0 }
        }
        sender.tail.append(1000, [(["__name__": "m"], 1)])
        sender.clock.run(for: 10_000)
        answer.withLock { $0 = .status(401, retryAfter: nil) }
        sender.kill()
        sender.clock.run(for: 10_000)
        #expect(sender.log.events.map(\.kind) == ["remote-write-failing", "remote-write-refused"])
        #expect(sender.metric("prometheus_remote_storage_samples_failed_total") == 1)
    }

    @Test("a request is full by its bytes too") func bytes() throws {
        let sender = Sender(seed: 13) { $0.metadata.isSent = false }
        let long = String(repeating: "x", count: 1 << 20)
        for time in 1...12 { sender.tail.append(Int64(time), [(["__name__": "m", "long": long], 1)]) }
        sender.clock.run(for: 20_000)
        #expect(sender.store.series.values.first?.count == 12)
        #expect(sender.store.state.withLock { $0.requests } == 3)
    }

    @Test("series that no checkpoint names any more are let go; the others are sent on") func checkpoints() throws {
        let sender = Sender(seed: 12)
        func scrape(_ round: Int, _ names: [String]) {
            sender.tail.append(Int64(round) * 1000, names.map { (["__name__": "m", "n": "\($0)"], Double(round)) })
            sender.clock.run(for: 1000)
        }
        for round in 0..<10 { scrape(round, ["a", "b"]) }
        for round in 10..<40 { scrape(round, ["a", round < 20 ? "c" : "d"]) }
        #expect(sender.metric("vedette_remote_write_series") == 4)
        // b, the second, and c, the third, are gone from the store.
        sender.tail.state.withLock { $0.checkpoint = (2, [1, 4]) }
        for round in 40..<60 { scrape(round, ["a", "d"]) }
        #expect(sender.metric("vedette_remote_write_series") == 2)
        sender.kill()
        for round in 60..<70 { scrape(round, ["a", "d"]) }
        sender.clock.run(for: 20_000)
        #expect(sender.metric("vedette_remote_write_series") == 2)
        #expect(sender.store.series.values.map(\.count).sorted() == [10, 10, 50, 70])
    }

    @Test("samples older than sample_age_limit are not sent") func ages() throws {
        let sender = Sender(seed: 9) { $0.queue.ageLimit = 60_000 }
        let now = Self.start.milliseconds
        sender.tail.append(now - 61_000, [(["__name__": "m"], 1)])
        sender.tail.append(now - 10_000, [(["__name__": "m"], 2)])
        sender.clock.run(for: 20_000)
        #expect(sender.store.series.values.first?.map(\.time) == [now - 10_000])
        #expect(sender.metric("prometheus_remote_storage_samples_dropped_total", ("reason", "too_old")) == 1)
    }

    @Test("more shards come with the load, and go again; each series stays in order") func shards() throws {
        let sender = Sender(seed: 10) { ($0.queue.capacity, $0.queue.samplesPerSend) = (50, 10) }
        var (round, most) = (0, 0.0)
        for _ in 0..<30 {
            for _ in 0..<100 {
                sender.tail.append(Int64(round), (0..<20).map { (["__name__": "m", "n": "\($0)"], Double(round)) })
                round += 1
            }
            sender.clock.run(for: 2000)
            most = max(most, sender.metric("prometheus_remote_storage_shards") ?? 0)
        }
        sender.clock.run(for: 600_000)
        #expect(most > 2)
        #expect(sender.metric("prometheus_remote_storage_shards") == 1)
        for (labels, samples) in sender.store.series {
            #expect(samples.map(\.time) == (0..<Int64(round)).map { $0 }, "\(labels)")
        }
        #expect(sender.store.series.count == 20)
        #expect(sender.store.state.withLock { $0.refused } == 0)
    }

    @Test("killed at any moment, before a store that is slow and fails, everything arrives once and in order (seeded)")
    func kills() throws {
        for seed in UInt64(0)..<40 {
            let end = Self.start + 200_000
            let sender = Sender(seed: seed) {
                $0.queue.samplesPerSend = 7
                $0.queue.capacity = 30
                $0.queue.deadline = 800
                $0.queue.minimumShards = Int(seed % 3) + 1
            } fate: { at, random in
                if at > end { return .taken }
                switch random >> 32 % 10 {
                case 0: return .lost
                case 1: return .status(500, retryAfter: nil)
                // Without a kill its second coming is refused, and costs what it has not: nothing.
                case 2: return .unanswered
                default: return .taken
                }
            }
            var random = SeededRandom(seed: seed)
            var told: [Labels: [Int64]] = [:]
            for round in 0..<150 {
                let count = Int(random.next() % 12)
                let time = Int64(round) * 1000
                let samples: [(labels: Labels, value: Double)] = (0..<count).map {
                    (["__name__": "m", "n": "\($0)"], Double(round))
                }
                sender.tail.append(time, samples)
                for (labels, _) in samples { told[labels.merging(["region": "eu"]), default: []].append(time) }
                sender.clock.run(for: Milliseconds(random.next() % 1500))
                if random.next() % 10 == 0 { sender.kill() }
            }
            sender.clock.run(for: 400_000)
            let found = sender.store.series.mapValues { $0.map(\.time) }
            for (labels, times) in told {
                let missing = Set(times).subtracting(found[labels] ?? [])
                #expect(found[labels] == times, "seed \(seed): \(labels): missing \(missing.sorted())")
            }
            if found != told { break }
        }
    }

    @Test("a reload keeps an equal store, moves a changed one on from its place, and forgets one that is gone")
    func reloads() throws {
        let sender = Sender(seed: 11)
        sender.tail.append(1000, [(["__name__": "m"], 1)])
        sender.clock.run(for: 10_000)
        var changed = sender.settings[0]
        changed.queue.samplesPerSend = 5
        let other = RemoteWriteSettings(peer: RemotePeer(name: "b/../c", url: "http://b/"))
        sender.tail.append(2000, [(["__name__": "m"], 1)])
        func update(_ settings: [RemoteWriteSettings]) {
            sender.clock.start { [writer = sender.writer] in await writer.update(to: settings) }
            sender.clock.run(for: 10_000)
        }
        update([changed, other])
        #expect(sender.store.series.values.first?.map(\.time) == [1000, 2000])
        #expect(sender.tail.holds.keys.sorted() == ["b%2F%2E%2E%2Fc", "far"])
        #expect(try sender.files.list("d/remote_write") == ["b%2F%2E%2E%2Fc", "far"])
        update([other])
        #expect(sender.tail.holds.keys.sorted() == ["b%2F%2E%2E%2Fc"])
        #expect(try sender.files.list("d/remote_write") == ["b%2F%2E%2E%2Fc"])
        update([])
        #expect(sender.writer.metrics().isEmpty)
    }

    @Test("a torn or foreign place counts as none, and the other slot holds") func places() throws {
        let files = MemoryFiles()
        try files.createDirectory("d")
        let mark = LogMark(position: LogPosition(segment: 3, offset: 4), index: 5)
        var file = try PlaceFile(path: "d/a", files: files)
        #expect(file.places.isEmpty)
        try file.write([ShardPlace(done: mark), ShardPlace(done: mark, underWay: mark)])
        try file.write([ShardPlace(done: mark)])
        #expect(try PlaceFile(path: "d/a", files: files).places == [ShardPlace(done: mark)])
        files.flipBit(of: "d/a", at: 30)
        #expect(
            try PlaceFile(path: "d/a", files: files).places
                == [ShardPlace(done: mark), ShardPlace(done: mark, underWay: mark)])
        files.flipBit(of: "d/a", at: (64 << 10) + 30)
        #expect(try PlaceFile(path: "d/a", files: files).places.isEmpty)
    }
}
