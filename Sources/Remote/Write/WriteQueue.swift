internal import Basics
internal import Model
internal import Settings
internal import SwiftProtobuf
internal import Synchronization
internal import Transport

/// What all queues work with.
struct WriteContext: Sendable {
    var tail: any LogTail
    var transport: any HTTPTransport
    var clock: any TimeSource
    var files: any FileSystem
    var log: any LogSink
    /// The folder of the places.
    var directory: String
    var externalLabels: Labels
    var metadata: @Sendable () -> [MetricMetadata]
}

/// Sends the log to one remote store: one task reads and encodes, one for each shard sends. What is held in memory is
/// bounded by `capacity` for each shard, compressed; where the store is slow, the log is read no further.
///
/// An actor: a sample is read, encoded and compressed in one go, and only requests pass between its tasks.
actor WriteQueue {
    nonisolated let settings: RemoteWriteSettings
    nonisolated let figures = WriteFigures()
    private let context: WriteContext
    private let client: RemoteClient
    private var book: WriteBook
    private var kept: PlaceFile
    /// Where the log is read on.
    private var position: LogPosition
    /// What samples of a series begin with; empty labels: it is not sent.
    private struct Series {
        /// The log's number of it.
        var reference: SeriesReference
        var labels: [UInt8]
        /// Of its labels before relabelling, so that it stays in its shard whatever the configuration says.
        var hash: Int
        /// The segment that named it last.
        var segment: Int
        /// The time of its newest sample that was read: the log has also what the store then refused as older.
        var newest = Int64.min
        /// Where the series stands whose sample came behind this one's the last time: mostly it does so again.
        var follower = 0
    }
    private var series: [Series] = []
    /// Where each of the log's references stands in `series`.
    private var places: [SeriesReference: Int] = [:]
    private var checkpoint = -1
    /// One for each shard that was ever needed.
    private var wakes: [Wake] = []
    private let room = Wake()
    private let started: AsyncStream<Int>
    private let starter: AsyncStream<Int>.Continuation
    private var load = Load()
    private var refusalTold: UInt64?

    /// What the number of shards follows from.
    private struct Load {
        var since: UInt64 = 0
        /// Nanoseconds that the log was not read since a shard was full, and that requests took, of all shards.
        var blocked: UInt64 = 0, sending: UInt64 = 0
        var hasFailed = false
    }

    /// A queue that goes on where the one before it was, or at the end of the log.
    init(_ settings: RemoteWriteSettings, _ context: WriteContext) throws(FileError) {
        (self.settings, self.context) = (settings, context)
        client = RemoteClient(
            settings.peer, context.transport, context.clock,
            { [files = context.files] in try files.contents(of: $0, limit: 1 << 20) })
        self.kept = try PlaceFile(path: "\(context.directory)/\(settings.placeName)", files: context.files)
        var kept = self.kept.places
        if kept.isEmpty {
            let start = LogMark(position: context.tail.logEnd)
            kept = Array(repeating: ShardPlace(done: start), count: settings.queue.minimumShards)
        }
        book = WriteBook(resuming: kept, queue: settings.queue)
        // A kill before the first request would lose where it began.
        if self.kept.places.isEmpty { try self.kept.write(book.places) }
        position = book.oldestNeeded.position
        context.tail.holdLog(from: position.segment, for: settings.placeName)
        (started, starter) = AsyncStream.makeStream(of: Int.self)
    }

    /// Sends until it is stopped or cancelled.
    func run() async {
        await withDiscardingTaskGroup { tasks in
            startShards()
            tasks.addTask { [self] in await readOn() }
            if settings.metadata.isSent { tasks.addTask { [self] in await tellMetadata() } }
            for await shard in started { tasks.addTask { [self] in await sendAll(of: shard) } }
            tasks.cancelAll()
        }
        keepPlaces()
    }

    /// Lets `run` end; what was not taken is sent by the next queue.
    nonisolated func stop() { starter.finish() }

    private func startShards() {
        while wakes.count < book.count {
            wakes.append(Wake())
            starter.yield(wakes.count - 1)
        }
        tellShards()
    }

    // MARK: Reading

    /// How much of the log is read at once.
    private static let portion = 256 << 10
    /// How long the end of the log is left alone.
    private static let pause: Milliseconds = 500

    private func readOn() async {
        guard await learnSeries() else { return }
        load.since = context.clock.uptimeNanoseconds()
        while !Task.isCancelled {
            let portion: LogPortion
            do throws(FileError) {
                portion = try context.tail.readLog(from: position, limit: WriteQueue.portion)
            } catch {
                tell(.error, "remote-write-log", "\(error.path): cannot \(error.operation): \(error.reason)")
                guard await rest(5000) else { return }
                continue
            }
            if portion.missedSegments > 0 {
                figures.missedSegments.add(portion.missedSegments)
                tell(
                    .error, "remote-write-gap",
                    "\(portion.missedSegments) segments of the log were gone before they were sent; "
                        + "give storage.max_backlog more, or the remote store more shards")
            }
            if let damage = portion.damage {
                tell(.error, "remote-write-log", "\(damage); what it held is not sent")
            }
            for record in portion.records {
                guard await take(record) else { return }
            }
            let isNewSegment = portion.end.segment != position.segment
            position = portion.end
            book.move(to: LogMark(position: position))
            context.tail.holdLog(from: book.oldestNeeded.position.segment, for: settings.placeName)
            if isNewSegment { forgetSeries() }
            guard await reshard() else { return }
            tellShards()
            if portion.isLast {
                guard await rest(WriteQueue.pause) else { return }
            } else {
                await Task.yield()
            }
        }
    }

    /// Reads what the log names before the place where it is read on.
    private func learnSeries() async -> Bool {
        while !Task.isCancelled {
            do throws(FileError) {
                checkpoint = try context.tail.newestCheckpoint() ?? -1
                let segment = position.segment
                var named: [(SeriesReference, Labels)] = []
                try context.tail.readSeries(before: position, checkpointOnly: false) { named.append(($0, $1)) }
                for (reference, labels) in named { learn(reference, labels, segment) }
                return true
            } catch {
                tell(.error, "remote-write-log", "\(error.path): cannot \(error.operation): \(error.reason)")
                guard await rest(5000) else { return false }
            }
        }
        return false
    }

    private func learn(_ reference: SeriesReference, _ labels: Labels, _ segment: Int) {
        var sent = labels
        for label in context.externalLabels.sorted where sent[label.name].isEmpty { sent[label.name] = label.value }
        var list = sent.sorted
        let isSent = RelabelRule.apply(settings.rules, to: &list)
        let encoded = isSent && !list.isEmpty ? WireWriter.encoded(Labels(list)) : []
        let hash = Int(truncatingIfNeeded: labels.fingerprint >> 1)
        var one = Series(reference: reference, labels: encoded, hash: hash, segment: segment)
        if let place = places[reference] {
            if series[place].hash == hash { one.newest = series[place].newest }
            series[place] = one
        } else {
            places[reference] = series.count
            series.append(one)
        }
    }

    /// Lets go of series that neither the newest checkpoint nor a later segment names.
    private func forgetSeries() {
        // What cannot be read now is read when the next segment begins.
        guard let newest = try? context.tail.newestCheckpoint(), newest > checkpoint, newest < position.segment else {
            return
        }
        var alive: Set<SeriesReference> = []
        guard
            (try? context.tail.readSeries(before: position, checkpointOnly: true) { reference, _ in
                alive.insert(reference)
            }) != nil
        else { return }
        checkpoint = newest
        var rest: [Series] = []
        var moved: [SeriesReference: Int] = [:]
        for (reference, place) in places where alive.contains(reference) || series[place].segment > newest {
            moved[reference] = rest.count
            rest.append(series[place])
        }
        (series, places) = (rest, moved)
    }

    /// Takes a record; false when cancelled.
    private func take(_ record: LogRecord) async -> Bool {
        switch record.content {
        case .series(let named):
            for (reference, labels) in named { learn(reference, labels, record.position.segment) }
            return true
        case .samples(let samples): return await take(samples, at: record.position)
        case .exemplars(let exemplars):
            return settings.sendsExemplars ? await take(exemplars, at: record.position) : true
        }
    }

    private func take(_ samples: LoggedSamples, at position: LogPosition) async -> Bool {
        let now = context.clock.uptimeNanoseconds()
        let limit = settings.queue.ageLimit
        let oldest = limit > 0 ? context.clock.now().milliseconds - limit : .min
        var (newest, dropped, unknown, old, known) = (Int64.min, 0, 0, 0, 0)
        let lateWindow = context.tail.lateWindow
        var (index, last) = (0, 0)
        while index < samples.values.count {
            book.move(to: LogMark(position: position, index: index))
            guard let place = place(of: samples.references[index], after: last) else {
                unknown += 1
                index += 1
                continue
            }
            last = place
            let time = samples.times[index]
            // What the store refused is in the log too, and a late sample is sent like any other.
            let isLate = time < series[place].newest && time >= series[place].newest - lateWindow
            guard time > series[place].newest || isLate else {
                known += 1
                index += 1
                continue
            }
            if series[place].labels.isEmpty || time < oldest {
                if series[place].labels.isEmpty { dropped += 1 } else { old += 1 }
                index += 1
                continue
            }
            switch book.offer(
                hash: series[place].hash, labels: series[place].labels, value: samples.values[index], time: time,
                now: now)
            {
            case .taken(let shard, let wakes):
                if wakes { self.wakes[shard].signal() }
                newest = max(newest, time)
            case .known: known += 1
            case .full:
                guard await waitForRoom() else { return false }
                continue
            }
            series[place].newest = max(series[place].newest, time)
            index += 1
        }
        figures.readSamples.add(samples.values.count - known)
        if dropped > 0 { figures.droppedSamples.add("dropped_series", dropped) }
        if old > 0 { figures.droppedSamples.add("too_old", old) }
        if unknown > 0 { figures.droppedSamples.add("unintentionally_dropped_series", unknown) }
        figures.values.withLock { if newest > $0.newestRead ?? .min { $0.newestRead = newest } }
        return true
    }

    /// Where a series stands: a look at what came behind `last` before, which saves most of the look-ups.
    @inline(__always)
    private func place(of reference: SeriesReference, after last: Int) -> Int? {
        if last < series.count {
            let guess = series[last].follower
            if guess < series.count, series[guess].reference == reference { return guess }
        }
        guard let place = places[reference] else { return nil }
        if last < series.count { series[last].follower = place }
        return place
    }

    private func take(
        _ exemplars: [(reference: SeriesReference, exemplar: Exemplar)], at place: LogPosition
    ) async -> Bool {
        for (index, one) in exemplars.enumerated() {
            book.move(to: LogMark(position: place, index: index))
            figures.readExemplars.add()
            guard let entry = places[one.reference].map({ series[$0] }) else {
                figures.droppedExemplars.add("unintentionally_dropped_series")
                continue
            }
            guard !entry.labels.isEmpty else {
                figures.droppedExemplars.add("dropped_series")
                continue
            }
            while true {
                let now = context.clock.uptimeNanoseconds()
                let offer = book.offer(hash: entry.hash, labels: entry.labels, one.exemplar, now: now)
                if case .full = offer {
                    guard await waitForRoom() else { return false }
                    continue
                }
                if case .taken(let shard, true) = offer { wakes[shard].signal() }
                break
            }
        }
        return true
    }

    /// Waits until a request is done with; false when cancelled.
    private func waitForRoom() async -> Bool {
        tellShards()
        figures.waits.add()
        let begin = context.clock.uptimeNanoseconds()
        await room.wait()
        load.blocked += context.clock.uptimeNanoseconds() - begin
        return !Task.isCancelled
    }

    // MARK: Shards

    /// Between two looks at the load.
    private static let lookNanoseconds: UInt64 = 10_000_000_000

    /// Every ten seconds: twice as many shards when reading waited for them half of the time, half as many when they
    /// were busy less than a fifth of it. Nothing may be on its way then, so that each series stays in order; while
    /// requests fail, more of them would not help. False when cancelled.
    private func reshard() async -> Bool {
        let now = context.clock.uptimeNanoseconds()
        let length = now - load.since
        guard length >= WriteQueue.lookNanoseconds else { return true }
        let busy = Double(load.sending) / Double(length) / Double(book.count)
        let queue = settings.queue
        var desired = book.count
        if Double(load.blocked) > 0.5 * Double(length) {
            desired = 2 * book.count
        } else if busy < 0.2, load.blocked == 0 {
            desired = book.count / 2
        }
        desired = min(max(desired, queue.minimumShards), queue.maximumShards)
        let hasFailed = load.hasFailed
        load = Load(since: now)
        figures.values.withLock { $0.desiredShards = desired }
        guard desired != book.count, !hasFailed else { return true }
        for shard in book.closeAll() { wakes[shard].signal() }
        while !book.isIdle {
            guard await waitForRoom() else { return false }
            // The store went away meanwhile: what waits is sent with the shards there are.
            if load.hasFailed { return true }
        }
        book.reshard(to: desired)
        startShards()
        load = Load(since: context.clock.uptimeNanoseconds())
        return true
    }

    private func sendAll(of shard: Int) async {
        while !Task.isCancelled {
            let now = context.clock.uptimeNanoseconds()
            // After a resharding there may be fewer.
            guard shard < book.count else {
                await wakes[shard].wait()
                continue
            }
            switch book.turn(of: shard, now: now) {
            case .wait(let moment):
                await context.clock.wait(
                    for: wakes[shard], atMost: moment.map { Milliseconds(($0 - min(now, $0)) / 1_000_000) + 1 })
            case .send(let batch):
                keepPlaces()
                guard await deliver(batch) else { return }
                book.finish(shard)
                // Before the next one is under way: of what was taken nothing is sent again but at a kill just now.
                keepPlaces()
                tellShards()
                room.signal()
            }
        }
    }

    /// Keeps how far the shards are; where the disk refuses that, more is sent again after a restart.
    private func keepPlaces() {
        do throws(FileError) {
            try kept.write(book.places)
        } catch {
            tell(.warning, "remote-write-place", "\(error.path): cannot \(error.operation): \(error.reason)")
        }
    }

    private func tellShards() {
        let (samples, exemplars, shards, known) = (
            book.pendingSamples, book.pendingExemplars, book.count, series.count
        )
        figures.values.withLock { values in
            (values.pendingSamples, values.pendingExemplars) = (samples, exemplars)
            (values.shards, values.series) = (shards, known)
            if values.desiredShards == 0 { values.desiredShards = shards }
        }
    }

    // MARK: Sending

    private static let headers = [
        HTTPHeader("Content-Encoding", "snappy"), HTTPHeader("Content-Type", "application/x-protobuf"),
        HTTPHeader("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ]
    /// What a server may ask for at the most.
    private static let longestPause: Milliseconds = 300_000

    /// What a store answers to samples that it has: Prometheus and those like it 400, others a conflict.
    private static let repeatStatuses: Set<Int> = [400, 409]

    /// How a try ended.
    private enum Verdict {
        case taken
        /// It would be refused again.
        case refused(status: Int, String)
        case failed(String, after: Milliseconds?)
    }

    /// Sends a request until it is taken, refused or too old; false when cancelled.
    private func deliver(_ batch: WriteBatch) async -> Bool {
        var pause = settings.queue.minimumBackoff
        var attempt = 0
        while !Task.isCancelled {
            let limit = settings.queue.ageLimit
            if attempt > 0, limit > 0, batch.newest < context.clock.now().milliseconds - limit {
                figures.droppedSamples.add("too_old", batch.samples)
                figures.droppedExemplars.add("too_old", batch.exemplars)
                return true
            }
            switch await send(batch.body, attempt: attempt) {
            case .taken:
                figures.sentSamples.add(batch.samples)
                figures.sentExemplars.add(batch.exemplars)
                figures.bytes.add(batch.body.count)
                figures.values.withLock { $0.newestSent = max($0.newestSent ?? .min, batch.newest) }
                noteSuccess()
                return true
            case .refused(let status, let reason) where batch.isRepeat && WriteQueue.repeatStatuses.contains(status):
                noteSuccess()
                figures.droppedSamples.add("repeated", batch.samples)
                figures.droppedExemplars.add("repeated", batch.exemplars)
                tell(
                    .info, "remote-write-repeated",
                    "\(batch.samples) samples that were under way when the daemon ended are there already: \(reason)")
                return true
            case .refused(_, let reason):
                figures.failedSamples.add(batch.samples)
                figures.failedExemplars.add(batch.exemplars)
                noteSuccess()
                noteRefusal(reason, batch)
                return true
            case .failed(let reason, let asked):
                if Task.isCancelled { return false }
                figures.retriedSamples.add(batch.samples)
                figures.retriedExemplars.add(batch.exemplars)
                noteFailure(reason)
                guard await rest(max(pause, min(asked ?? 0, WriteQueue.longestPause))) else { return false }
                pause = min(2 * pause, settings.queue.maximumBackoff)
                attempt += 1
            }
        }
        return false
    }

    private func send(_ body: [UInt8], attempt: Int) async -> Verdict {
        let begin = context.clock.uptimeNanoseconds()
        var headers = WriteQueue.headers
        if attempt > 0 { headers.append(HTTPHeader("Retry-Attempt", "\(attempt)")) }
        do throws(RemoteFailure) {
            let response = try await client.post(
                body, headers: headers, limit: 64 << 10, wantsStatusAlone: true)
            let length = context.clock.uptimeNanoseconds() - begin
            load.sending += length
            figures.tookSeconds(Double(length) / 1e9)
            if (200..<300).contains(response.status) { return .taken }
            let text = client.excerpt(response.body)
            let reason = "HTTP \(response.status)\(text.isEmpty ? "" : ": \(text)")"
            let isLimited = response.status == 429 && settings.queue.retriesLimited
            if (300..<400).contains(response.status) {
                let place = response.header("location").map { client.excerpt(Array($0.utf8)) } ?? "another address"
                return .failed("\(reason); it leads to \(place): write that as the url", after: nil)
            }
            guard isLimited || response.status >= 500 || response.status == 408 else {
                return .refused(status: response.status, reason)
            }
            return .failed(reason, after: response.header("retry-after").flatMap { retryAfter($0) })
        } catch {
            load.sending += context.clock.uptimeNanoseconds() - begin
            return .failed(error.reason, after: nil)
        }
    }

    /// Seconds, or a date.
    private func retryAfter(_ text: String) -> Milliseconds? {
        if let seconds = Int(text) { return Milliseconds(min(max(seconds, 0), 1_000_000)) * 1000 }
        return Timestamp(httpDate: text).map { max(0, $0 - context.clock.now()) }
    }

    private func noteFailure(_ reason: String) {
        load.hasFailed = true
        let wasFailing = figures.values.withLock { values in
            defer { values.isFailing = true }
            return values.isFailing
        }
        if !wasFailing {
            tell(
                .warning, "remote-write-failing",
                "\(reason); it is tried again for as long as the log holds what is to be sent")
        }
    }

    private func noteSuccess() {
        let wasFailing = figures.values.withLock { values in
            defer { values.isFailing = false }
            return values.isFailing
        }
        if wasFailing { tell(.info, "remote-write-recovered", "samples are taken again") }
    }

    /// At most once a minute: what is refused may be refused two thousand samples at a time.
    private func noteRefusal(_ reason: String, _ batch: WriteBatch) {
        let now = context.clock.uptimeNanoseconds()
        if let told = refusalTold, now - told < 60_000_000_000 { return }
        refusalTold = now
        tell(
            .error, "remote-write-refused",
            "\(batch.samples) samples are refused and not sent again: \(reason)")
    }

    private func tell(_ level: LogEvent.Level, _ kind: String, _ message: String) {
        context.log.write(
            LogEvent(level, kind, "remote_write '\(settings.peer.name)': \(message)", [("remote", settings.peer.name)]))
    }

    /// False when cancelled.
    private func rest(_ length: Milliseconds) async -> Bool {
        do throws(CancellationError) {
            try await context.clock.sleep(for: length)
            return true
        } catch {
            return false
        }
    }

    // MARK: Metadata

    private func tellMetadata() async {
        while await rest(settings.metadata.interval) {
            var all = context.metadata()[...]
            while !all.isEmpty, !Task.isCancelled {
                let part = all.prefix(settings.metadata.perSend)
                all = all.dropFirst(part.count)
                await tell(Array(part))
            }
        }
    }

    /// It is told again at the next interval anyway: three tries are enough.
    private func tell(_ metadata: [MetricMetadata]) async {
        var request = WireWriteRequest()
        request.metadata = metadata.map { WireMetricMetadata($0) }
        var body: [UInt8] = []
        unsafe Snappy.compress(WireWriter.encoded(request).span.bytes, into: &body)
        for attempt in 0..<3 {
            switch await send(body, attempt: attempt) {
            case .taken:
                figures.sentMetadata.add(metadata.count)
                figures.metadataBytes.add(body.count)
                return
            case .refused:
                figures.failedMetadata.add(metadata.count)
                return
            case .failed:
                figures.retriedMetadata.add(metadata.count)
                guard await rest(settings.queue.maximumBackoff) else { return }
            }
        }
        figures.failedMetadata.add(metadata.count)
    }
}

extension RemoteWriteSettings {
    /// The name of the file of its places: any name is one.
    var placeName: String { peer.name.percentEncoded.replacing("/", with: "%2F").replacing(".", with: "%2E") }
}
