internal import Basics
internal import Model
internal import SQL
internal import Synchronization
internal import Transport

/// Health checks among the targets: the looks that other threads take, and what becomes of their answers.
extension ScrapeLoop {
    /// A check's look that is under way, and what is remembered from one to the next.
    struct HealthRun {
        /// The number of a look by a thread; whether its time was up.
        var number: Int?, isGivenUp = false
        /// An answer that waits for a look at the certificate that was not trusted.
        var pending: HealthAnswer?
        /// What each query found, and when it is due again by the steady clock.
        var queries: [Int: (due: Milliseconds, result: Result<[SQLRow], SQLError>)] = [:]
    }

    /// How long a thread may go on beyond a check's time before it is taken to hang.
    private static let lookGrace: Milliseconds = 500

    func look(_ check: HealthCheck, _ runtime: Runtime) {
        guard let prober else {
            return take(HealthReport(.request, "it cannot be looked at from here"), of: check, runtime)
        }
        guard runtime.health.number == nil else {
            let text = "the look before still hangs; see why the other side neither answers nor closes"
            return take(HealthReport(.busy, text), of: check, runtime)
        }
        var queries: [Int] = []
        if case .postgres(let postgres) = check.kind {
            // Half an interval early, so that no query slips by a whole one.
            let soon = uptime + check.interval / 2
            queries = postgres.queries.indices.filter { runtime.health.queries[$0].map { $0.due <= soon } ?? true }
        }
        let deadline = ProbeDeadline(clock: clock, in: check.timeout)
        let probe = HealthProbe(check, queries: queries, deadline: deadline)
        nextLook += 1
        let number = nextLook
        runtime.isRunning = true
        runtime.health.number = number
        looks[number] = (runtime, probe)
        ends.insert(Slot(due: uptime + check.timeout + ScrapeLoop.lookGrace, id: number))
        prober.start(probe) { [mailbox] answer in mailbox.deliver(answer, number: number) }
    }

    /// Takes what other threads found, and gives up what they did not find in time.
    func takeLooks() {
        let answers = mailbox.answers.withLock { answers in
            defer { answers = [] }
            return answers
        }
        for (number, answer) in answers {
            guard let (runtime, _) = looks.removeValue(forKey: number),
                case .health(let check) = runtime.watched.target.kind
            else { continue }
            let isGivenUp = runtime.health.isGivenUp
            (runtime.health.number, runtime.health.isGivenUp) = (nil, false)
            guard !isGivenUp else { continue }
            runtime.isRunning = false
            figures.scrapes.add()
            take(answer, of: check, runtime)
        }
        let now = uptime
        while let end = ends.first, end.due <= now {
            ends.removeFirst()
            guard let (runtime, probe) = looks[end.id], case .health(let check) = runtime.watched.target.kind else {
                continue
            }
            runtime.isRunning = false
            let seconds = Double(check.timeout + ScrapeLoop.lookGrace) / 1000
            guard probe.abandon() else {
                looks[end.id] = nil
                runtime.health.number = nil
                let text = "no thread was free to look in time; others hang, or there are too many such checks"
                take(HealthReport(.busy, text, durationSeconds: seconds), of: check, runtime)
                continue
            }
            runtime.health.isGivenUp = true
            take(HealthReport(.timeout, "timed out", durationSeconds: seconds), of: check, runtime)
        }
    }

    func take(_ answer: HealthAnswer, of check: HealthCheck, _ runtime: Runtime) {
        var answer = answer
        if let pending = runtime.health.pending.take() {
            let expiry = answer.details.certificateExpiry
            answer = pending
            answer.details.certificateExpiry = expiry
        } else if answer.details.cause == .certificate, askForCertificate(runtime, answer) {
            return
        }
        if case .postgres(let postgres) = check.kind, answer.failure == nil {
            for (place, result) in answer.rows {
                runtime.health.queries[place] = (uptime + postgres.queries[place].interval, result)
            }
            answer.rows = runtime.health.queries.mapValues(\.result)
        }
        take(check.judge(answer, at: clock.now()), of: check, runtime)
    }

    private func askForCertificate(_ runtime: Runtime, _ answer: HealthAnswer) -> Bool {
        guard let request = runtime.watched.target.certificateRequest(after: answer) else { return false }
        // What cannot be asked is not told.
        guard let handle = try? fetcher.prepare(request) else { return false }
        runtime.handle = handle
        byHandle[handle] = runtime
        runtime.health.pending = answer
        runtime.isRunning = true
        fetcher.start(handle)
        return true
    }

    func take(_ report: HealthReport, of check: HealthCheck, _ runtime: Runtime) {
        figures.checks.add()
        if !report.isUp { figures.failedChecks.add() }
        for reason in report.reasons { figures.checkFailures.add(reason.rawValue) }
        batch.reset(to: runtime.moment)
        append(report, of: check, runtime)
        count(sink.append(batch), runtime)
        runtime.watched.setHealth(report)
        note(runtime, health: report.isUp ? .up : .down, error: report.sentence, duration: report.durationSeconds)
    }

    /// The series of a report, those of the last time that are gone ended.
    private func append(_ report: HealthReport, of check: HealthCheck, _ runtime: Runtime) {
        let before = runtime.own
        var places: [HealthReport.Series: Int]?
        var isKept = [Bool](repeating: false, count: before.count)
        var fresh: [(series: HealthReport.Series, reference: SeriesReference)] = []
        fresh.reserveCapacity(before.count)
        report.eachSeries(of: check) { series, value in
            var place: Int?
            // Mostly they are those of the last time, in that order.
            if fresh.count < before.count, before[fresh.count].series == series {
                place = fresh.count
            } else {
                if places == nil {
                    places = Dictionary(before.indices.map { (before[$0].series, $0) }, uniquingKeysWith: { $1 })
                }
                place = places?[series]
            }
            if let place { isKept[place] = true }
            guard let reference = place.map({ before[$0].reference }) ?? sink.reference(of: labels(series, runtime))
            else { return }
            fresh.append((series, reference))
            batch.append(reference, value)
        }
        for (place, old) in before.enumerated() where !isKept[place] {
            batch.append(old.reference, SpecialValue.stale)
        }
        runtime.own = fresh
    }

    private func labels(_ series: HealthReport.Series, _ runtime: Runtime) -> Labels {
        var labels = runtime.watched.target.labels
        labels[Labels.nameLabel] = series.name
        for label in series.labels { labels[label.name] = label.value }
        return labels
    }
}
