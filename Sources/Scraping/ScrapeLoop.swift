public import Basics
internal import Exposition
public import Model
internal import SQL
public import Settings
internal import Synchronization
public import Transport

/// Fetches its targets, each in its slot, and hands what they said to the store. It belongs to one thread, which calls
/// `step` again and again; under simulation a task does.
///
/// The network is driven by the fetcher, time by the steady clock, so that a jump of the wall clock stops nothing;
/// only the samples' timestamps come from the wall clock, snapped to the slot when they are close to it.
public final class ScrapeLoop {
    final class Runtime {
        let watched: WatchedTarget
        let phase: Milliseconds
        var handle: Int?
        var isRunning = false
        /// The moment of the fetch that runs, and the slot of the next.
        var moment = Timestamp(milliseconds: 0)
        var nextSlot = Timestamp(milliseconds: 0)
        var cache = PageCache()
        /// The check's series of the last time, in its order.
        var own: [(series: HealthReport.Series, reference: SeriesReference)] = []
        var health = HealthRun()
        var ownFixed: [SeriesReference?] = []
        /// The last answer's content type and what it means; bytes of the page that is being read.
        var contentType: (text: String, format: ExpositionFormat?) = ("", nil)
        var bodyBytes = 0
        /// A large new page that is being read in slices, and how long its fetch took.
        var reading: (batch: SampleBatch, duration: Double)?

        init(_ watched: WatchedTarget) {
            self.watched = watched
            phase = watched.target.phase
        }
    }

    private struct Token {
        var authorization = ""
        /// By the steady clock.
        var holdsUntil: Milliseconds = 0
        var handle: Int?
        /// Who is fetched as soon as there is one.
        var waiting: [Runtime] = []
    }

    /// What other threads leave for the loop.
    public final class Mailbox: Sendable {
        fileprivate let targets = Mutex<[WatchedTarget]?>(nil)
        let answers = Mutex<[(number: Int, answer: HealthAnswer)]>([])
        fileprivate let isStopped = Mutex(false)
        private let wake = Mutex<(@Sendable () -> Void)?>(nil)
        /// Owed by the loop's driver, at each step.
        public let pulse = Pulse()

        /// An empty mailbox.
        public init() {}

        /// How the loop's thread is woken from its wait for the network.
        public func setWake(_ wake: @escaping @Sendable () -> Void) { self.wake.withLock { $0 = wake } }

        /// Gives the loop its targets in place of those it has.
        public func set(_ watched: [WatchedTarget]) {
            targets.withLock { $0 = watched }
            wake.withLock { $0 }?()
        }
        /// Hands over what a look by another thread found.
        func deliver(_ answer: HealthAnswer, number: Int) {
            answers.withLock { $0.append((number, answer)) }
            wake.withLock { $0 }?()
        }
        /// Tells the loop's driver to end.
        public func stop() {
            isStopped.withLock { $0 = true }
            wake.withLock { $0 }?()
        }
        /// Whether the driver is to end.
        public var shouldStop: Bool { isStopped.withLock { $0 } }
    }

    /// Where new targets arrive.
    public let mailbox: Mailbox
    let fetcher: any Fetcher
    let clock: any TimeSource
    let sink: any SampleSink
    let figures: ScrapeFigures
    private let readFile: Secret.FileReader
    private let log: any LogSink
    private let exemplars: (any ExemplarSink)?
    let prober: (any Prober)?
    /// Looks by other threads that are under way, by their numbers, and by when each is over.
    var looks: [Int: (runtime: Runtime, probe: HealthProbe)] = [:]
    var ends = MinHeap<Slot>()
    var nextLook = 0
    /// What pages say of their metrics, once for all targets that say the same.
    private var knownMetadata: [Int: [MetricMetadata]] = [:]
    /// Tokens by whom they are asked of; questions under way by their handle.
    private var tokens: [OAuth2Settings: Token] = [:]
    private var questions: [Int: OAuth2Settings] = [:]
    private var runtimes: [ObjectIdentifier: Runtime] = [:]
    var byHandle: [Int: Runtime] = [:]
    /// A target by when it is scraped next.
    struct Slot: Comparable {
        var due: Milliseconds, id: Int
        static func < (left: Slot, right: Slot) -> Bool { left.due < right.due }
    }
    private var due = MinHeap<Slot>()
    private var ids: [Int: Runtime] = [:]
    private var nextID = 0
    var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
    /// Targets whose pages are being read in slices.
    private var readers: [Runtime] = []
    /// Bytes of new lines read at a time, about 5 ms of very short ones: so long may a page keep other targets waiting.
    private static let sliceBytes = 64 << 10

    /// A loop without targets.
    public init(
        mailbox: Mailbox, fetcher: any Fetcher, clock: any TimeSource, sink: any SampleSink, figures: ScrapeFigures,
        log: any LogSink, readFile: @escaping Secret.FileReader, exemplars: (any ExemplarSink)? = nil,
        prober: (any Prober)? = nil
    ) {
        (self.exemplars, self.prober) = (exemplars, prober)
        (self.mailbox, self.fetcher, self.clock, self.sink) = (mailbox, fetcher, clock, sink)
        (self.figures, self.log, self.readFile) = (figures, log, readFile)
    }

    var uptime: Milliseconds { Milliseconds(clock.uptimeNanoseconds() / 1_000_000) }

    /// Does what is due, waits for the network for at most `wait`, and takes what came; answers how long nothing more
    /// will be due.
    @discardableResult
    public func step(wait: Milliseconds) -> Milliseconds {
        if let targets = mailbox.targets.withLock({ targets in
            defer { targets = nil }
            return targets
        }) {
            replace(with: targets)
        }
        takeLooks()
        let now = uptime
        while let next = due.first, next.due <= now {
            due.removeFirst()
            if let runtime = ids[next.id] { begin(runtime, id: next.id, late: now - next.due) }
        }
        let first = min(due.first?.due ?? .max, ends.first?.due ?? .max)
        let idle = readers.isEmpty ? first == .max ? 60_000 : max(0, first - uptime) : 0
        fetcher.poll(for: min(wait, idle)) { result in finish(result) }
        if !readers.isEmpty { goOnReading() }
        if !readers.isEmpty { return 0 }
        return due.first.map { max(0, $0.due - uptime) } ?? 60_000
    }

    // MARK: Targets

    private func replace(with targets: [WatchedTarget]) {
        let wanted = Set(targets.map(ObjectIdentifier.init))
        for (identity, runtime) in runtimes where !wanted.contains(identity) {
            runtimes[identity] = nil
            for (id, other) in ids where other === runtime { ids[id] = nil }
            readers.removeAll { $0 === runtime }
            if let oauth2 = runtime.watched.target.client.oauth2 {
                tokens[oauth2]?.waiting.removeAll { $0 === runtime }
            }
            if let handle = runtime.handle {
                fetcher.discard(handle)
                byHandle[handle] = nil
            }
            if let number = runtime.health.number { _ = looks.removeValue(forKey: number)?.probe.abandon() }
            retire(runtime)
        }
        knownMetadata = [:]
        for watched in targets where runtimes[ObjectIdentifier(watched)] == nil {
            let runtime = Runtime(watched)
            runtimes[ObjectIdentifier(watched)] = runtime
            nextID += 1
            ids[nextID] = runtime
            schedule(runtime, id: nextID)
        }
    }

    /// A target that is gone ends its series.
    private func retire(_ runtime: Runtime) {
        batch.reset(to: clock.now())
        runtime.cache.markStale(into: &batch)
        for reference in runtime.ownFixed.compactMap(\.self) + runtime.own.map(\.reference) {
            batch.append(reference, SpecialValue.stale)
        }
        count(sink.append(batch), runtime)
    }

    private func schedule(_ runtime: Runtime, id: Int) {
        let now = clock.now().milliseconds
        let interval = runtime.watched.target.interval
        // Two clocks are rounded, so a slot may come a millisecond early by the other: it is not to come twice.
        let from = (1...10).contains(runtime.nextSlot.milliseconds - now) ? runtime.nextSlot.milliseconds : now
        let slot = (from - runtime.phase).flooringDivision(by: interval) * interval + runtime.phase + interval
        runtime.nextSlot = Timestamp(milliseconds: slot)
        due.insert(Slot(due: uptime + slot - now, id: id))
    }

    // MARK: Fetching

    private func begin(_ runtime: Runtime, id: Int, late: Milliseconds) {
        let target = runtime.watched.target
        let slot = runtime.nextSlot
        figures.missed.add(Int(late / target.interval))
        schedule(runtime, id: id)
        guard !runtime.isRunning else {
            figures.missed.add()
            return
        }
        runtime.moment = snapped(slot, interval: target.interval)
        if case .health(let check) = target.kind, !check.kind.isFetched { return look(check, runtime) }
        if let refusal = target.refusal { return fail(runtime, .targetLimit, refusal, duration: 0) }
        if let oauth2 = target.client.oauth2, tokens[oauth2, default: Token()].holdsUntil <= uptime {
            runtime.isRunning = true
            tokens[oauth2, default: Token()].waiting.append(runtime)
            return askForToken(oauth2, timeout: target.timeout)
        }
        fetch(runtime)
    }

    private func fetch(_ runtime: Runtime) {
        guard let handle = runtime.handle ?? prepare(runtime) else { return }
        runtime.isRunning = true
        fetcher.start(handle)
    }

    // MARK: Tokens

    private func askForToken(_ oauth2: OAuth2Settings, timeout: Milliseconds) {
        guard tokens[oauth2]?.handle == nil else { return }
        do {
            let handle = try fetcher.prepare(oauth2.request(timeout: timeout, reading: readFile))
            tokens[oauth2]?.handle = handle
            questions[handle] = oauth2
            fetcher.start(handle)
        } catch {
            release(oauth2, failure: "no token: \(error)")
        }
    }

    private func takeToken(_ result: borrowing FetchResult, _ oauth2: OAuth2Settings) {
        fetcher.discard(result.handle)
        questions[result.handle] = nil
        tokens[oauth2]?.handle = nil
        if let error = result.error { return release(oauth2, failure: "no token: \(error)") }
        do throws(OAuth2Error) {
            let (authorization, lifetime) = try oauth2.token(status: result.status, body: result.body)
            tokens[oauth2]?.authorization = authorization
            tokens[oauth2]?.holdsUntil = uptime + lifetime
            release(oauth2, failure: nil)
        } catch {
            release(oauth2, failure: error.description)
        }
    }

    /// Fetches those that waited for a token, or lets them fail.
    private func release(_ oauth2: OAuth2Settings, failure: String?) {
        let waiting = tokens[oauth2]?.waiting ?? []
        tokens[oauth2]?.waiting = []
        for runtime in waiting {
            runtime.isRunning = false
            if let failure { fail(runtime, .request, failure, duration: 0) } else { fetch(runtime) }
        }
    }

    /// The slot itself when now is close to it, as Prometheus does so that timestamps compress; else now.
    private func snapped(_ slot: Timestamp, interval: Milliseconds) -> Timestamp {
        let now = clock.now()
        return abs(now - slot) <= min(10, interval / 100) ? slot : now
    }

    private func prepare(_ runtime: Runtime) -> Int? {
        do {
            var request = try runtime.watched.target.request(reading: readFile)
            if let token = runtime.watched.target.client.oauth2.flatMap({ tokens[$0] }) {
                request.headers.append(HTTPHeader("Authorization", token.authorization))
            }
            let handle = try fetcher.prepare(request)
            // A secret in a file may be exchanged while running: such a request is made anew each time.
            runtime.handle = handle
            byHandle[handle] = runtime
            return handle
        } catch {
            fail(runtime, .request, "the request cannot be made: \(error)", duration: 0)
            return nil
        }
    }

    private func finish(_ result: consuming FetchResult) {
        if let oauth2 = questions[result.handle] {
            takeToken(result, oauth2)
            return fetcher.recycle(result.body)
        }
        guard let runtime = byHandle[result.handle] else { return fetcher.recycle(result.body) }
        runtime.isRunning = false
        figures.scrapes.add()
        let client = runtime.watched.target.client
        // Of a check, which makes a connection of its own, nothing is worth keeping: ten thousand would be 100 MiB.
        if client.usesFiles || client.oauth2 != nil || runtime.watched.target.isCheck, let handle = runtime.handle {
            fetcher.discard(handle)
            byHandle[handle] = nil
            runtime.handle = nil
        }
        var body = result.body
        switch runtime.watched.target.kind {
        case .metrics(let page):
            runtime.bodyBytes = 0
            if let (failure, reason) = ScrapeLoop.failure(result) {
                if failure == .bodyLimit { runtime.bodyBytes = -1 }
                fail(runtime, failure, reason, duration: result.durationSeconds)
            } else if let format = format(of: result.contentType, runtime) ?? page.fallback?.format {
                runtime.bodyBytes = body.count
                take(&body, runtime, page, format, duration: result.durationSeconds)
            } else {
                let found = result.contentType.map { "the Content-Type '\($0.prefix(64))' is none that is read here" }
                fail(
                    runtime, .contentType,
                    "\(found ?? "the answer has no Content-Type"); let the target say text/plain, or set "
                        + "fallback_scrape_protocol", duration: result.durationSeconds)
            }
        case .health(let check):
            take(HealthAnswer(result, body), of: check, runtime)
        }
        fetcher.recycle(body)
    }

    private static func failure(_ result: borrowing FetchResult) -> (ScrapeFailure, String)? {
        if let error = result.error {
            switch error {
            case .invalid(let reason): return (.request, reason)
            case .unreachable(let reason):
                return (result.details.cause == .resolve ? .lookup : .unreachable, reason)
            case .interrupted("timed out", _):
                return (.timeout, "timed out; look why the target is slow, or raise the timeout")
            case .interrupted(let reason, _): return (.interrupted, reason)
            case .tooLarge(let limit):
                return (.bodyLimit, "the page is longer than body_size_limit, \(limit) bytes; raise it or expose less")
            }
        }
        guard result.status == 200 else { return (.status, "server returned HTTP status \(result.status)") }
        return nil
    }

    /// What a content type means; the last one of each target is remembered.
    private func format(of type: String?, _ runtime: Runtime) -> ExpositionFormat? {
        guard let type else { return nil }
        if runtime.contentType.text != type {
            runtime.contentType = (type, ScrapeProtocol.format(ofContentType: type))
        }
        return runtime.contentType.format
    }

    // MARK: Pages

    private func take(
        _ body: inout [UInt8], _ runtime: Runtime, _ page: PageSettings, _ format: ExpositionFormat, duration: Double
    ) {
        batch.reset(to: runtime.moment)
        let before = runtime.cache.parsedLines
        defer { figures.parsedLines.add(runtime.cache.parsedLines - before) }
        let options = PageOptions(
            format: format, honorsTimestamps: page.honorsTimestamps, tracksTimestamped: page.tracksTimestamped,
            sampleLimit: page.sampleLimit)
        let labels = runtime.watched.target.labels
        do throws(PageError) {
            let summary = try runtime.cache.read(&body, into: &batch, options, slice: ScrapeLoop.sliceBytes) {
                (scraped) throws(PageError) in try resolve(&scraped, page, labels)
            }
            guard summary.isWhole else {
                runtime.reading = (batch, duration)
                runtime.isRunning = true
                batch = SampleBatch(timestamp: runtime.moment)
                return readers.append(runtime)
            }
            store(summary, runtime, page, duration: duration)
        } catch {
            fail(runtime, error, duration: duration)
        }
    }

    /// Reads a slice of each large page; one that is at its end is stored.
    private func goOnReading() {
        for runtime in readers {
            guard var reading = runtime.reading.take(), case .metrics(let page) = runtime.watched.target.kind else {
                continue
            }
            swap(&batch, &reading.batch)
            let before = runtime.cache.parsedLines
            defer { figures.parsedLines.add(runtime.cache.parsedLines - before) }
            var body: [UInt8] = []
            let labels = runtime.watched.target.labels
            do throws(PageError) {
                let summary = try runtime.cache.resume(&body, into: &batch, slice: ScrapeLoop.sliceBytes) {
                    (scraped) throws(PageError) in try resolve(&scraped, page, labels)
                }
                guard summary.isWhole else {
                    swap(&batch, &reading.batch)
                    runtime.reading = reading
                    continue
                }
                store(summary, runtime, page, duration: reading.duration)
            } catch {
                fail(runtime, error, duration: reading.duration)
            }
            fetcher.recycle(body)
            runtime.isRunning = false
            // A batch of that size is not kept.
            swap(&batch, &reading.batch)
        }
        readers.removeAll { $0.reading == nil }
    }

    private func resolve(
        _ scraped: inout [Label], _ page: PageSettings, _ labels: Labels
    ) throws(PageError) -> SeriesReference? {
        guard try page.complete(&scraped, with: labels) else { return PageCache.dropped }
        return sink.reference(of: Labels(scraped))
    }

    private func store(_ summary: PageCache.Summary, _ runtime: Runtime, _ page: PageSettings, duration: Double) {
        figures.samples.add(summary.samples)
        figures.refusedSeries.add(summary.refused)
        report(runtime, up: 1, duration: duration, summary)
        count(sink.append(batch), runtime)
        runtime.watched.update { $0.samples = summary.samples }
        if let metadata = runtime.cache.takeMetadata() { runtime.watched.setMetadata(shared(metadata)) }
        if let exemplars {
            let labels = runtime.watched.target.labels
            let fresh = runtime.cache.takeExemplars(at: runtime.moment) { (scraped) throws(PageError) in
                try page.complete(&scraped, with: labels) ? Labels(scraped) : nil
            }
            if !fresh.isEmpty { exemplars.append(fresh) }
        }
        note(runtime, health: .up, error: "", duration: duration)
    }

    /// The same array for all targets of one kind: a page's texts may be a tenth of what its series cost.
    private func shared(_ metadata: [MetricMetadata]) -> [MetricMetadata] {
        let key = metadata.hashValue
        if let known = knownMetadata[key], known == metadata { return known }
        if knownMetadata.count >= 1000 { knownMetadata = [:] }
        knownMetadata[key] = metadata
        return metadata
    }

    private func fail(_ runtime: Runtime, _ error: PageError, duration: Double) {
        fail(
            runtime, error.failure, error.description, duration: duration,
            failed: runtime.cache.failedSummary, keepsPage: false)
    }

    private func fail(
        _ runtime: Runtime, _ failure: ScrapeFailure, _ reason: String, duration: Double,
        failed: PageCache.Summary = PageCache.Summary(), keepsPage: Bool = true
    ) {
        figures.failures.add(failure.rawValue)
        if case .health(let check) = runtime.watched.target.kind {
            return take(HealthReport(.request, reason, durationSeconds: duration), of: check, runtime)
        }
        batch.reset(to: runtime.moment)
        runtime.cache.markStale(into: &batch)
        if !keepsPage { runtime.cache.reset() }
        report(runtime, up: 0, duration: duration, failed)
        count(sink.append(batch), runtime)
        note(runtime, health: .down, error: reason, duration: duration)
    }

    func note(_ runtime: Runtime, health: TargetStatus.Health, error: String, duration: Double) {
        let at = runtime.moment
        var before = TargetStatus.Health.unknown
        runtime.watched.update { status in
            before = status.health
            (status.health, status.lastScrape, status.lastDurationSeconds) = (health, at, duration)
            if status.lastError != error { status.lastError = error }
        }
        let target = runtime.watched.target
        if health == .down, before != .down {
            log.write(
                LogEvent(
                    .warning, "target-down", "\(target.url) is down: \(error)", [("target", target.labels.description)])
            )
        } else if health == .up, before == .down {
            log.write(
                LogEvent(.info, "target-up", "\(target.url) is up again", [("target", target.labels.description)]))
        }
    }

    private static let ownNames = [
        "up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
    ]
    private static let extraNames = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"]

    private func report(_ runtime: Runtime, up: Double, duration: Double, _ summary: PageCache.Summary) {
        if runtime.ownFixed.isEmpty {
            let count = ScrapeLoop.ownNames.count + ScrapeLoop.extraNames.count
            runtime.ownFixed = Array(repeating: nil, count: count)
        }
        append(runtime, 0, up)
        append(runtime, 1, duration)
        append(runtime, 2, Double(summary.samples))
        append(runtime, 3, Double(summary.samples - summary.dropped))
        append(runtime, 4, Double(summary.added))
        guard case .metrics(let page) = runtime.watched.target.kind, page.hasExtraMetrics else { return }
        append(runtime, 5, Double(runtime.watched.target.timeout) / 1000)
        append(runtime, 6, Double(page.sampleLimit))
        append(runtime, 7, Double(runtime.bodyBytes))
    }

    /// One of those; a series that the store refuses at its limit is asked for again at the next scrape.
    private func append(_ runtime: Runtime, _ index: Int, _ value: Double) {
        if runtime.ownFixed[index] == nil {
            var labels = runtime.watched.target.labels
            let five = ScrapeLoop.ownNames.count
            labels[Labels.nameLabel] =
                index < five ? ScrapeLoop.ownNames[index] : ScrapeLoop.extraNames[index - five]
            runtime.ownFixed[index] = sink.reference(of: labels)
        }
        if let reference = runtime.ownFixed[index] { batch.append(reference, value) }
    }

    func count(_ outcome: AppendOutcome, _ runtime: Runtime) {
        if outcome.gone > 0 {
            // A target that was away for longer than history is kept: its series begin anew with the next scrape.
            runtime.cache.reset()
            runtime.own = []
            runtime.ownFixed = []
        }
        if outcome.duplicates > 0 { figures.duplicates.add(outcome.duplicates) }
        if outcome.outOfOrder > 0 { figures.outOfOrder.add(outcome.outOfOrder) }
        if outcome.outOfBounds > 0 { figures.outOfBounds.add(outcome.outOfBounds) }
    }
}
