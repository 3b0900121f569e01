public import Basics
public import Model

/// Why a run began, or one more reason for it to go on.
public struct RollbackCause: Sendable, Hashable {
    /// The trigger's name; nil when a person asked for it.
    public var trigger: String?
    /// When the trigger began to fire: with its name, the episode.
    public var firedAt: Timestamp?
    /// `websocket_latency_p95 > 200 for 10m`, or what the person said.
    public var text: String
    /// The value that was seen.
    public var value: Double?
    /// Of which series.
    public var labels: Labels

    /// A cause by its parts.
    public init(
        trigger: String? = nil, firedAt: Timestamp? = nil, text: String, value: Double? = nil, labels: Labels = Labels()
    ) {
        (self.trigger, self.firedAt, self.text, self.value, self.labels) = (trigger, firedAt, text, value, labels)
    }

    init(_ reading: TriggerReading) {
        self.init(
            trigger: reading.trigger, firedAt: reading.firedAt, text: reading.condition, value: reading.value,
            labels: reading.labels)
    }
}

/// How a run ended.
public enum RollbackOutcome: String, Sendable, Hashable, CaseIterable {
    /// Every step was done, what must hold holds, and the trigger is clear.
    case succeeded
    /// It helped, and yet some step was not done.
    case incomplete
    /// Done, and it did not help.
    case ineffective
    /// It stopped half-way: a person must look.
    case stopped
    /// A person ended it.
    case cancelled
    /// A wider run took it over.
    case absorbed
    /// Nothing was done: the mode is observe.
    case observed
    /// Nothing was done: a guard forbade it.
    case refused
    /// Nothing was to be done but to page.
    case held

    /// Whether the incident is over with it.
    public var closes: Bool { self == .succeeded || self == .absorbed }
}

/// One rollback from its cause to its outcome: a pure state machine over its steps. It is journalled whole before and
/// after each step, and its plan with it: a change of the configuration does not change what runs.
public struct RollbackRun: Sendable, Hashable {
    /// Unique: `rb-1790000000000-1`.
    public var id: String
    /// The action's name.
    public var action: String
    /// The names of the actions it includes, its own first.
    public var actions: [String]
    /// What it touches; two runs that share one of these never run at the same time.
    public var resources: Set<String>
    /// Told with every page.
    public var environment: String?
    /// Why; more reasons may come while it runs.
    public var causes: [RollbackCause]
    /// Its incident: that of the run it absorbed, if any.
    public var thread: String
    /// When it was decided.
    public var createdAt: Timestamp
    /// What is done, in order.
    public var steps: [RollbackStep]
    /// Runs that must end before it begins: they touch the same things.
    public var waitsFor: [String] = []
    /// The run that takes this one over.
    public var absorbedBy: String?
    /// Who ended it.
    public var cancelledBy: String?
    /// How it ended; nil while it runs.
    public var outcome: RollbackOutcome?
    /// Why so, for people.
    public var reason = ""
    /// When it ended.
    public var finishedAt: Timestamp?
    /// Whether its incident is closed, and when it was, if later than the end.
    public var isClosed = false, closedAt: Timestamp?
    /// How many announcements it made.
    public var announced = 0

    /// A new run with its plan: of all actions the checks, then flags, links and commands, each once.
    init(id: String, action: String, closure: [RollbackAction], cause: RollbackCause, now: Timestamp) {
        (self.id, self.action, thread, createdAt, causes) = (id, action, id, now, [cause])
        actions = closure.map(\.name)
        environment = closure.first?.environment
        resources = Set(closure.flatMap { action in action.services.map { "service:\($0)" } })
        steps = []
        guard let own = closure.first else { return }
        func add(_ kinds: [RollbackStep.Kind]) {
            for kind in kinds where !steps.contains(where: { $0.kind == kind }) { steps.append(RollbackStep(kind)) }
        }
        add(closure.flatMap(\.deployments).map { .check($0) })
        add([.announce])
        add(closure.flatMap(\.flags).map { .flag($0) })
        add(closure.flatMap(\.deployments).map { .deployment($0) })
        add(closure.flatMap(\.commands).map { .command($0) })
        resources.formUnion(steps.filter(\.isActing).map(\.key))
        add([.stabilise(closure.map(\.stabilise).max() ?? 0)])
        add(closure.compactMap(\.verification).map { .verify($0) })
        if cause.trigger != nil { add([.clear(own.clearsWithin)]) }
    }

    /// What a run does next.
    enum Move: Equatable {
        case perform(Int)
        case announce(Int)
        case skip(Int, String)
        /// Until another run ends.
        case wait
        case finish(RollbackOutcome, String)
    }

    /// Whether it counts against the budget and for the cooldown: it was to change something.
    public var isActing: Bool {
        switch outcome {
        case .observed, .refused, .held: false
        default: true
        }
    }

    /// What comes next. `isStopped`: the kill switch is there; `isEnded` tells of another run.
    func next(isStopped: Bool, isEnded: (String) -> Bool) -> Move {
        if waitsFor.contains(where: { !isEnded($0) }) { return .wait }
        if steps.contains(where: { $0.status == .begun }) { return .wait }
        if let unknown = steps.first(where: { $0.status == .unknown }) {
            return .finish(.stopped, "manual intervention required: \(unknown.title): \(unknown.detail)")
        }
        if let wider = absorbedBy { return .finish(.absorbed, "\(wider) goes further and takes it over") }
        if let who = cancelledBy { return .finish(.cancelled, "cancelled by \(who)") }
        guard let index = steps.firstIndex(where: { $0.status == .pending }) else { return judged }
        let step = steps[index]
        if step.isActing {
            if isStopped { return .skip(index, "the kill switch is on") }
            if case .deployment(let target) = step.kind, releaseFound(for: target) == nil {
                return .skip(index, "there is no startable release to go back to")
            }
        }
        if !step.isActing, step.kind != .announce, !isCheck(step), !steps.contains(where: { $0.isActing && $0.isDone })
        {
            return .skip(index, "nothing was done that could have helped")
        }
        return step.kind == .announce ? .announce(index) : .perform(index)
    }

    private func isCheck(_ step: RollbackStep) -> Bool { if case .check = step.kind { true } else { false } }

    /// The release that the check of a deployment found.
    func releaseFound(for target: Deployment) -> String? {
        steps.first { $0.kind == .check(target) && $0.status == .done }?.before
    }

    private var judged: Move {
        let acting = steps.filter(\.isActing)
        let undone = acting.filter { !$0.isDone }
        if !acting.isEmpty, undone.count == acting.count {
            return .finish(.stopped, "manual intervention required: no step could be done")
        }
        for step in steps where step.status == .failed {
            switch step.kind {
            case .verify, .clear: return .finish(.ineffective, "manual intervention required: \(step.detail)")
            default: break
            }
        }
        if !undone.isEmpty {
            return .finish(
                .incomplete,
                "\(undone.count) of \(acting.count) steps were not done: "
                    + undone.map { "\($0.title) (\($0.detail))" }.joined(separator: "; "))
        }
        let isVerified = steps.contains { if case .verify = $0.kind { $0.isDone } else { false } }
        let isClear = steps.contains { if case .clear = $0.kind { $0.isDone } else { false } }
        let seen = [isVerified ? "verified" : nil, isClear ? "the trigger is clear" : nil].compactMap(\.self)
        return .finish(
            .succeeded,
            (["rolled back"] + (seen.isEmpty ? ["nothing was to be verified"] : seen))
                .joined(separator: ", "))
    }

    mutating func begin(_ index: Int, now: Timestamp) {
        steps[index].status = .begun
        steps[index].begunAt = now
    }

    mutating func end(_ index: Int, _ result: StepResult, now: Timestamp) {
        guard steps.indices.contains(index), steps[index].status == .begun else { return }
        switch result {
        case .done(let detail, let before):
            (steps[index].status, steps[index].detail) = (.done, detail)
            steps[index].before = before ?? steps[index].before
        case .failed(let detail): (steps[index].status, steps[index].detail) = (.failed, detail)
        case .unknown(let detail): (steps[index].status, steps[index].detail) = (.unknown, detail)
        case .abandoned(let detail): (steps[index].status, steps[index].detail) = (.skipped, detail)
        case .interrupted: return
        }
        steps[index].endedAt = now
    }

    mutating func skip(_ index: Int, _ reason: String, now: Timestamp) {
        (steps[index].status, steps[index].detail, steps[index].endedAt) = (.skipped, reason, now)
    }

    mutating func finish(_ outcome: RollbackOutcome, _ reason: String, now: Timestamp) {
        (self.outcome, self.reason, finishedAt, isClosed) = (outcome, reason, now, outcome.closes)
    }

    /// Takes one more cause. A trigger is seen clear at the end, though a person may have begun the run without one.
    mutating func join(_ cause: RollbackCause, clearsWithin length: Milliseconds?) {
        causes.append(cause)
        guard cause.trigger != nil, !steps.contains(where: { $0.key == "clear" }) else { return }
        steps.append(RollbackStep(.clear(length ?? RollbackAction.defaultClearance)))
    }

    /// Takes what another run has done, and why: those steps are not done again, and its triggers must be clear too.
    mutating func inherit(_ other: RollbackRun) {
        let length = other.steps.compactMap { if case .clear(let length) = $0.kind { length } else { nil } }.first
        for cause in other.causes where !causes.contains(cause) { join(cause, clearsWithin: length) }
        inherit(other) { _ in true }
    }

    /// Takes the links that another run has set back: they are not set back once more.
    mutating func inheritLinks(_ other: RollbackRun) {
        inherit(other) { if case .deployment = $0.kind { true } else { false } }
    }

    private mutating func inherit(_ other: RollbackRun, where isTaken: (RollbackStep) -> Bool) {
        for index in steps.indices {
            let own = steps[index]
            guard own.isActing, own.status == .pending, isTaken(own),
                let done = other.steps.first(where: { $0.key == own.key && $0.isDone })
            else { continue }
            // A release that is named is to be the one, whatever the other found before the present one.
            if case .deployment(let target) = own.kind, target.release != nil, done.kind != own.kind { continue }
            steps[index] = done
            steps[index].detail = "done by \(other.id): \(done.detail)"
        }
    }
}

extension RollbackStep {
    var isDone: Bool { status == .done }
}

// MARK: JSON, of the journal and of the API alike

extension RollbackRun {
    static let table = "rollback.runs"

    /// The run as the journal holds it; moments in milliseconds since the Unix epoch.
    public var json: JSON {
        func texts(_ list: [String]) -> JSON { .array(list.map { .string($0) }) }
        var members: [JSON.Member] = [
            .init("id", .string(id)), .init("action", .string(action)), .init("actions", texts(actions)),
            .init("resources", texts(resources.sorted())), .init("thread", .string(thread)),
            .init("created_at", .number(Double(createdAt.milliseconds))),
            .init("causes", .array(causes.map(\.json))), .init("steps", .array(steps.map(\.json))),
            .init("waits_for", texts(waitsFor)), .init("reason", .string(reason)), .init("closed", .bool(isClosed)),
            .init("announced", .number(Double(announced))),
        ]
        for (name, text) in [
            ("environment", environment), ("absorbed_by", absorbedBy), ("cancelled_by", cancelledBy),
            ("outcome", outcome?.rawValue),
        ] {
            if let text { members.append(.init(name, .string(text))) }
        }
        for (name, moment) in [("finished_at", finishedAt), ("closed_at", closedAt)] {
            if let moment { members.append(.init(name, .number(Double(moment.milliseconds)))) }
        }
        return .object(members)
    }

    /// The run as the API shows it: without what variables gave to commands.
    public var shown: JSON {
        guard case .object(let members) = json else { return json }
        return .object(
            members.map { member in
                guard member.name == "steps", let steps = member.value.array else { return member }
                return JSON.Member(member.name, .array(steps.map(RollbackStep.shown)))
            })
    }

    var change: StateChange { StateChange(table: RollbackRun.table, key: id, value: json.serialized()) }

    /// Nil when the bytes are not such an entry.
    init?(_ bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes),  // An entry of another form is counted by who reads it.
            let id = json["id"]?.string, let action = json["action"]?.string, let thread = json["thread"]?.string,
            let createdAt = json.rollbackMoment("created_at"), let steps = json["steps"]?.array,
            let causes = json["causes"]?.array, let announced = json["announced"]?.integer
        else { return nil }
        // An outcome of another version is no run under way.
        if let outcome = json["outcome"]?.string, RollbackOutcome(rawValue: outcome) == nil { return nil }
        func texts(_ name: String) -> [String] { json[name]?.array?.compactMap(\.string) ?? [] }
        (self.id, self.action, self.thread, self.createdAt, self.announced) = (id, action, thread, createdAt, announced)
        self.steps = steps.compactMap(RollbackStep.init)
        self.causes = causes.map(RollbackCause.init)
        guard self.steps.count == steps.count else { return nil }
        (actions, resources, waitsFor) = (texts("actions"), Set(texts("resources")), texts("waits_for"))
        (environment, absorbedBy) = (json["environment"]?.string, json["absorbed_by"]?.string)
        (cancelledBy, outcome) = (json["cancelled_by"]?.string, json["outcome"]?.string.flatMap(RollbackOutcome.init))
        (reason, isClosed) = (json["reason"]?.string ?? "", json["closed"]?.bool ?? false)
        (finishedAt, closedAt) = (json.rollbackMoment("finished_at"), json.rollbackMoment("closed_at"))
    }
}

extension RollbackCause {
    fileprivate var json: JSON {
        var members = [JSON.Member("text", .string(text)), JSON.Member("labels", JSON(labels))]
        if let trigger { members.append(.init("trigger", .string(trigger))) }
        if let firedAt { members.append(.init("fired_at", .number(Double(firedAt.milliseconds)))) }
        if let value { members.append(.init("value", .string(GoNumber.fixed(value)))) }
        return .object(members)
    }

    fileprivate init(_ json: JSON) {
        self.init(
            trigger: json["trigger"]?.string, firedAt: json.rollbackMoment("fired_at"),
            text: json["text"]?.string ?? "", value: json["value"]?.string.flatMap(GoNumber.parse),
            labels: json["labels"].flatMap(Labels.init(json:)) ?? Labels())
    }
}
