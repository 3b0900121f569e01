public import Basics
internal import SQL
public import Settings
internal import Synchronization
public import Systemd
public import Transport

/// One look at something that a thread has to wait for.
public final class HealthProbe: Sendable {
    private enum State { case waiting, begun, over }

    /// What is looked at, and which of its queries are due.
    public let check: HealthCheck, queries: [Int]
    /// By when it is over.
    public let deadline: ProbeDeadline
    private let state = Mutex(State.waiting)

    init(_ check: HealthCheck, queries: [Int], deadline: ProbeDeadline) {
        (self.check, self.queries, self.deadline) = (check, queries, deadline)
    }

    /// Whether it may begin: once, and not when it was given up while it waited for a thread.
    public func begin() -> Bool {
        state.withLock { state in
            guard state == .waiting else { return false }
            state = .begun
            return true
        }
    }

    /// Gives it up; answers whether it had begun.
    func abandon() -> Bool {
        state.withLock { state in
            defer { state = .over }
            return state == .begun
        }
    }
}

/// Looks at what libcurl does not speak to, away from the loop's thread.
public protocol Prober: Sendable {
    /// Begins a look, or lets it wait until it can begin; the answer is handed over once, by any thread. Nothing is
    /// handed over of a probe whose `begin` says no.
    func start(_ probe: HealthProbe, _ finish: @escaping @Sendable (HealthAnswer) -> Void)
}

/// This machine: a few threads, so that what hangs keeps no more than those waiting, each until its time is up.
public final class MachineProber: Prober {
    private let clock: any TimeSource
    private let files: Secret.FileReader
    private let units: any UnitStates
    /// Made when it is first needed.
    private let threads = Mutex<ThreadPoolExecutor?>(nil)
    private let count: Int

    /// - Parameters:
    ///   - files: Reads the files of passwords.
    ///   - threadCount: How many looks may be under way at once.
    public init(
        clock: any TimeSource, files: @escaping Secret.FileReader, units: any UnitStates, threadCount: Int = 32
    ) {
        (self.clock, self.files, self.units, count) = (clock, files, units, threadCount)
    }

    /// See `Prober`.
    public func start(_ probe: HealthProbe, _ finish: @escaping @Sendable (HealthAnswer) -> Void) {
        let threads = threads.withLock { threads in
            if threads == nil { threads = ThreadPoolExecutor(count: count, name: "vedette-probe") }
            return threads
        }
        threads?.start { [self] in
            guard probe.begin() else { return }
            finish(look(probe))
        }
    }

    /// Looks now, on the caller's thread, which waits for at most the check's time and a second.
    public func look(_ probe: HealthProbe) -> HealthAnswer {
        let began = clock.uptimeNanoseconds()
        var answer = HealthAnswer()
        do throws(ProbeError) {
            try look(probe, &answer)
        } catch {
            answer.failure = HealthReport.Failure(HealthReason(error.cause), error.description)
        }
        answer.durationSeconds = Double(clock.uptimeNanoseconds() - began) / 1e9
        return answer
    }

    private func look(_ probe: HealthProbe, _ answer: inout HealthAnswer) throws(ProbeError) {
        let (check, deadline) = (probe.check, probe.deadline)
        switch check.kind {
        case .dns(let dns):
            let health = try dns.look(id: .random(in: 0 ... .max), by: deadline)
            (answer.details.phases, answer.details.ipVersion) = (health.phases, health.ipVersion)
            (answer.dns, answer.document) = (health.answer, health.answer.document)
        case .icmp(let ping):
            let health = try ping.look(id: .random(in: 0 ... .max), by: deadline)
            (answer.details.phases, answer.details.ipVersion) = (health.phases, health.ipVersion)
        case .redis(let redis):
            let health = try redis.look(
                withInfo: !check.body.isEmpty || !check.metrics.isEmpty, by: deadline, files: files)
            (answer.details.phases, answer.document) = (health.phases, health.document)
            answer.details.certificateExpiry = health.certificateExpiry
        case .postgres(let postgres): try look(postgres, probe, &answer)
        case .systemd(let unit):
            let began = deadline.now
            do throws(UnitError) {
                answer.document = try units.properties(of: unit, timeout: max(1, deadline.left)).document
            } catch {
                throw ProbeError(error.isTimeout ? .timeout : .connect, error.description)
            }
            answer.details.phases = [.init(.processing, deadline.seconds(since: began))]
        case .http, .tcp, .tls, .unix: throw ProbeError(.request, "it is fetched, not probed")
        }
    }

    private func look(
        _ postgres: PostgresCheck, _ probe: HealthProbe, _ answer: inout HealthAnswer
    ) throws(ProbeError) {
        let deadline = probe.deadline
        let began = deadline.now
        let password: String?
        do {
            password = try postgres.password?.reveal(files)
        } catch {
            throw ProbeError(.request, "the password's file cannot be read: \(error)")
        }
        var address: String?
        do throws(SQLError) {
            let host = try PostgresProbe.host(of: probe.check.url)
            if let host {
                address = try MachineProber.address(of: host, deadline)
                answer.details.phases.append(.init(.resolve, deadline.seconds(since: began)))
            }
            let session = try PostgresProbe(
                url: probe.check.url, hostAddress: address, username: postgres.username, password: password,
                clock: clock, timeout: max(1, deadline.left))
            let outcome = session.finish(probe.queries.map { postgres.queries[$0].statement })
            answer.details.phases.append(.init(.connect, outcome.connectSeconds))
            answer.details.phases.append(.init(.processing, outcome.answerSeconds))
            for (place, result) in zip(probe.queries, outcome.results) { answer.rows[place] = result }
        } catch {
            throw MachineProber.error(error)
        }
    }

    private static func address(of host: String, _ deadline: ProbeDeadline) throws(SQLError) -> String? {
        do throws(ProbeError) {
            return try HostLookup.addresses(of: host, by: deadline).first
        } catch {
            throw SQLError(.unreachable, error.description, statement: "lookup")
        }
    }

    /// What a failure to connect means.
    private static func error(_ error: SQLError) -> ProbeError {
        let text = error.message
        if error.statement == "lookup" { return ProbeError(.resolve, text) }
        let isLocked = ["authentication failed", "no password supplied", "no pg_hba.conf entry"].contains {
            text.contains($0)
        }
        switch error.kind {
        case .unreachable where isLocked: return ProbeError(.authentication, text)
        case .unreachable where text.contains("refused"): return ProbeError(.refused, text)
        case .unreachable where text.hasSuffix("in time"): return ProbeError(.timeout, text)
        case .unreachable: return ProbeError(.connect, text)
        case .timedOut: return ProbeError(.timeout, text)
        case .interrupted: return ProbeError(.interrupted, text)
        case .busy, .constraint, .refused: return ProbeError(.answer, text)
        }
    }
}

extension DNSAnswer {
    /// `{rcode, authoritative, answers: [{name, type, ttl, value}], authority, additional, serial}`.
    var document: JSON {
        let records = records.map { record -> JSON in
            [
                "name": .string(record.name), "type": .string(record.type), "ttl": .number(Double(record.lifetime)),
                "value": .string(record.value),
            ]
        }
        var members: [JSON.Member] = [
            .init("rcode", .string(code)), .init("authoritative", .bool(isAuthoritative)),
            .init("answers", .array(records)), .init("authority", .number(Double(authorityCount))),
            .init("additional", .number(Double(additionalCount))), .init("records", .number(Double(records.count))),
        ]
        if let serial { members.append(.init("serial", .number(Double(serial)))) }
        return .object(members)
    }
}

extension UnitProperties {
    /// The properties by their names.
    var document: JSON {
        .object(
            texts.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) }
                + numbers.sorted { $0.key < $1.key }.map { .init($0.key, .number($0.value)) })
    }
}
