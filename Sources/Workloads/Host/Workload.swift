public import Basics
public import Model
public import SQL

/// A piece of work on a schedule that Vedette runs and watches: its runs, their duration and outcome, the rows and the
/// last success become series without its doing.
public protocol Workload: Sendable {
    /// Its name, the `workload` label: `[a-z][a-z0-9_]*`.
    var name: String { get }
    /// When it runs.
    var schedule: WorkloadSchedule { get }
    /// The longest that a run may take; it is given up then, and its result is not used.
    var timeLimit: Milliseconds { get }
    /// What is promised of it.
    var objectives: WorkloadObjectives { get }
    /// Does the work once. A throw is a failed run, told by the error's text, which holds no secret. It looks at
    /// `Task.isCancelled` before anything that others see: a run that is over its limit changes nothing.
    @concurrent func run(_ context: WorkloadContext) async throws -> WorkloadReport
    /// Work beside the schedule for as long as the host lives, such as writing a log; none by default.
    @concurrent func accompany() async
    /// Called once before anything else, to load what earlier runs left.
    @concurrent func start() async
    /// Series of its own.
    func metrics() -> [MetricFamily]
    /// What it answers.
    var endpoints: [WorkloadEndpoint] { get }
    /// What it serves with, for health: nil when all is well.
    var trouble: String? { get }
}

extension Workload {
    /// Nothing.
    @concurrent public func accompany() async {}
    /// Nothing.
    @concurrent public func start() async {}
    /// None.
    public func metrics() -> [MetricFamily] { [] }
    /// None.
    public var endpoints: [WorkloadEndpoint] { [] }
    /// None.
    public var trouble: String? { nil }
    /// Ten minutes.
    public var timeLimit: Milliseconds { 600_000 }
    /// None but those of the schedule.
    public var objectives: WorkloadObjectives { WorkloadObjectives() }
}

/// When a workload runs.
public enum WorkloadSchedule: Sendable, Hashable {
    /// So long after the start of the run before.
    case every(Milliseconds)
    /// Each day at a time of day, milliseconds after midnight, by a zone's wall clock.
    case daily(at: Milliseconds, CivilZone)
    /// Only when asked.
    case onRequest

    /// The first moment to run after `moment`; nil for never.
    public func next(after moment: Timestamp) -> Timestamp? {
        switch self {
        case .every(let interval): return moment + interval
        case .onRequest: return nil
        case .daily(let time, let zone):
            let today = zone.date(at: moment).daysSinceEpoch
            for day in today - 1...today + 2 {
                let candidate = zone.moment(of: CivilDate(daysSinceEpoch: day), at: time)
                if candidate > moment { return candidate }
            }
            return moment + 86_400_000
        }
    }
}

/// What is promised of a workload; shown in its state, and as series that a rule can compare with.
public struct WorkloadObjectives: Sendable, Hashable {
    /// How old the last success may be.
    public var age: Milliseconds?
    /// How long a run should take.
    public var duration: Milliseconds?

    /// Objectives by their parts.
    public init(age: Milliseconds? = nil, duration: Milliseconds? = nil) { (self.age, self.duration) = (age, duration) }
}

/// What a run is given.
public struct WorkloadContext: Sendable {
    /// The database.
    public var database: any SQLDatabase
    /// When the run began.
    public var now: Timestamp
    /// Where time comes from.
    public var clock: any TimeSource
    /// Where it tells what a person should know.
    public var log: any LogSink
    /// What a request asked for beside the schedule; null for a scheduled run.
    public var request: JSON
}

/// What a run did.
public struct WorkloadReport: Sendable, Hashable {
    /// Rows read or written, whichever is the work.
    public var rows: Int
    /// What a request that asked for the run is answered.
    public var details: JSON

    /// A report by its parts.
    public init(rows: Int, details: JSON = .null) { (self.rows, self.details) = (rows, details) }
}

/// A mistake that a caller can cure, with the HTTP status that tells it.
public struct WorkloadRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    /// 400 not JSON, 404, 409 the state forbids it, 422 the values are wrong, 503 later.
    public var status: Int
    /// What is wrong, and how to cure it.
    public var message: String, cure: String
    /// A refusal by its parts.
    public init(_ status: Int, _ message: String, cure: String) {
        (self.status, self.message, self.cure) = (status, message, cure)
    }
    /// `what; cure`.
    public var description: String { "\(message); \(cure)" }
}

/// A request to a workload, without anything of a server.
public struct WorkloadRequest: Sendable, Hashable {
    /// `GET` or `POST`, and the path without the query.
    public var method: String, path: String
    /// The query's parameters, decoded.
    public var query: [String: String]
    /// The body.
    public var body: [UInt8]

    /// A request by its parts.
    public init(_ method: String, _ path: String, query: [String: String] = [:], body: [UInt8] = []) {
        (self.method, self.path, self.query, self.body) = (method, path, query, body)
    }

    /// The body as a JSON value; null when it is empty.
    func json() throws(WorkloadRefusal) -> JSON {
        if body.isEmpty { return .null }
        guard body.count <= 4 << 20 else {
            throw WorkloadRefusal(413, "the body is longer than 4 MiB", cure: "send it in parts")
        }
        do {
            return try JSON(parsing: body, maximumDepth: 16)
        } catch {
            throw WorkloadRefusal(400, "the body is no JSON: \(error)", cure: "send a JSON object")
        }
    }

    /// Refuses parameters that nobody knows.
    func checkQuery(_ known: [String]) throws(WorkloadRefusal) {
        for name in query.keys.sorted() where !known.contains(name) {
            let near = name.nearest(among: known).map { "did you mean '\($0)'?" }
            let list = known.isEmpty ? "leave it out" : "known are \(known.joined(separator: ", "))"
            throw WorkloadRefusal(400, "unknown parameter '\(name)'", cure: near ?? list)
        }
    }
}

/// What is answered, always JSON.
public struct WorkloadResponse: Sendable, Hashable {
    /// The HTTP status.
    public var status: Int
    /// The body.
    public var body: JSON
    /// With 405: the methods that the path takes.
    public var allowed: [String] = []

    /// An answer by its parts.
    public init(_ body: JSON, status: Int = 200) { (self.status, self.body) = (status, body) }

    /// `{"error": …, "cure": …}`.
    init(_ refusal: WorkloadRefusal) {
        status = refusal.status
        body = .object([.init("error", .string(refusal.message)), .init("cure", .string(refusal.cure))])
    }
}

/// A method and a path that a workload answers.
public struct WorkloadEndpoint: Sendable {
    /// Answers, or throws a `WorkloadRefusal`; `runner` runs a workload as its schedule does.
    public typealias Handler =
        @concurrent @Sendable (
            _ request: WorkloadRequest, _ runner: any WorkloadRunner
        ) async throws(WorkloadRefusal) -> JSON

    /// `GET` or `POST`, and the path.
    public var method: String, path: String
    /// Answers.
    public var handler: Handler

    /// An endpoint by its parts.
    public init(_ method: String, _ path: String, _ handler: @escaping Handler) {
        (self.method, self.path, self.handler) = (method, path, handler)
    }
}

/// Runs workloads when they are asked for.
public protocol WorkloadRunner: Sendable {
    /// Runs a workload now, counted and limited like a scheduled run; refused while it is running.
    func runNow(_ name: String, request: JSON) async throws(WorkloadRefusal) -> WorkloadReport
}
