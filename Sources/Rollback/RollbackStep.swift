public import Basics

/// One step of a plan: what is to be done, and how far it is.
public struct RollbackStep: Sendable, Hashable {
    /// What is to be done.
    public enum Kind: Sendable, Hashable {
        /// The release to go back to is there and startable.
        case check(Deployment)
        /// The receivers are told that it begins.
        case announce
        /// A flag goes off and is read back.
        case flag(FlagTarget)
        /// A link is set to the release that the check found.
        case deployment(Deployment)
        /// A program is run.
        case command(CommandTarget)
        /// Nothing is done for so long.
        case stabilise(Milliseconds)
        /// What must hold is looked at.
        case verify(Verification)
        /// The triggers are no longer true, within so long.
        case clear(Milliseconds)
    }

    /// How far a step is.
    public enum Status: String, Sendable, Hashable {
        case pending
        /// Journalled before it is done; after a crash its outcome is unknown until it is settled.
        case begun
        case done
        case failed
        case skipped
        /// Begun before a crash, and nothing can tell whether it was done.
        case unknown
    }

    /// What is to be done.
    public var kind: Kind
    /// How far it is.
    public var status = Status.pending
    /// When it was begun and ended, by the wall clock.
    public var begunAt: Timestamp?, endedAt: Timestamp?
    /// What was found or done, for people.
    public var detail = ""
    /// What was there before, to restore it by hand: a flag's value, a link's target. Of a check the release found.
    public var before: String?

    init(_ kind: Kind) { self.kind = kind }

    /// What the step works on, the same in every plan: a step known done in a run is not done again by one that
    /// absorbs it.
    public var key: String {
        switch kind {
        case .check(let deployment): "check:\(deployment.link)"
        case .announce: "announce"
        case .flag(let flag): "flag:\(flag.store)/\(flag.name)" + (flag.environment.map { "@\($0)" } ?? "")
        case .deployment(let deployment): "link:\(deployment.link)"
        case .command(let command): "command:" + (command.writtenArguments ?? command.arguments).joined(separator: " ")
        case .stabilise: "stabilise"
        case .verify: "verify"
        case .clear: "clear"
        }
    }

    /// Whether it changes something outside.
    public var isActing: Bool {
        switch kind {
        case .flag, .deployment, .command: true
        case .check, .announce, .stabilise, .verify, .clear: false
        }
    }

    /// What it is, in a few words.
    public var title: String {
        switch kind {
        case .check(let deployment):
            "check the release " + (deployment.release ?? "before the present one") + " of \(deployment.link)"
        case .announce: "tell the receivers"
        case .flag(let flag):
            "flag \(flag.name) off in \(flag.store)" + (flag.environment.map { " for \($0)" } ?? "")
        case .deployment(let deployment): "set \(deployment.link) to the release before"
        case .command(let command): "run \(command.name)"
        case .stabilise(let length): "wait \(DurationText.format(length))"
        case .verify(let verification):
            "verify \(verification.passes) of \(verification.rounds): \(verification.text)"
        case .clear(let length): "see the trigger clear within \(DurationText.format(length))"
        }
    }
}

/// What came of a step.
public enum StepResult: Sendable, Hashable {
    /// Done, and read back where that is possible.
    case done(String, before: String? = nil)
    /// Not done.
    case failed(String)
    /// Begun before a crash; nothing can tell whether it was done.
    case unknown(String)
    /// Given up, since the run goes another way: cancelled, or taken over.
    case abandoned(String)
    /// The daemon is ending: it goes on at the next start.
    case interrupted
}

// MARK: JSON, of the journal and of the API alike

extension RollbackStep {
    var json: JSON {
        var members = [JSON.Member("step", .string(title)), JSON.Member("status", .string(status.rawValue))]
        for (name, moment) in [("begun_at", begunAt), ("ended_at", endedAt)] {
            if let moment { members.append(JSON.Member(name, .number(Double(moment.milliseconds)))) }
        }
        if !detail.isEmpty { members.append(JSON.Member("detail", .string(detail))) }
        if let before { members.append(JSON.Member("before", .string(before))) }
        members.append(JSON.Member("kind", .string(kindName)))
        return .object(members + kindMembers)
    }

    /// The same for the API: what variables gave is shown as written.
    static func shown(_ json: JSON) -> JSON {
        guard case .object(let members) = json else { return json }
        let written = members.filter { $0.name.hasSuffix("_written") }
        return .object(
            members.filter { !$0.name.hasSuffix("_written") }.map { member in
                JSON.Member(member.name, written.first { $0.name == "\(member.name)_written" }?.value ?? member.value)
            })
    }

    static let kindNames = ["check", "announce", "flag", "deployment", "command", "stabilise", "verify", "clear"]

    var kindName: String {
        switch kind {
        case .check: "check"
        case .announce: "announce"
        case .flag: "flag"
        case .deployment: "deployment"
        case .command: "command"
        case .stabilise: "stabilise"
        case .verify: "verify"
        case .clear: "clear"
        }
    }

    private var kindMembers: [JSON.Member] {
        func texts(_ name: String, _ list: [String]) -> JSON.Member { .init(name, .array(list.map { .string($0) })) }
        func number(_ name: String, _ value: Int) -> JSON.Member { .init(name, .number(Double(value))) }
        func text(_ name: String, _ value: String?) -> [JSON.Member] { value.map { [.init(name, .string($0))] } ?? [] }
        switch kind {
        case .announce: return []
        case .check(let target), .deployment(let target):
            return text("releases", target.releases) + text("link", target.link) + text("release", target.release)
                + text("requires", target.requires)
        case .flag(let flag):
            return text("flag", flag.name) + text("store", flag.store) + text("environment", flag.environment)
        case .command(let command):
            return text("name", command.name) + [texts("run", command.arguments)] + text("directory", command.directory)
                + (command.probe.map { [texts("probe", $0)] } ?? [])
                + (command.writtenArguments.map { [texts("run_written", $0)] } ?? [])
                + (command.writtenProbe.map { [texts("probe_written", $0)] } ?? [])
                + [
                    number("timeout_ms", Int(command.timeout)), number("memory_bytes", command.memoryBytes),
                    number("output_bytes", command.outputBytes),
                ]
        case .stabilise(let length), .clear(let length): return [number("length_ms", Int(length))]
        case .verify(let verification):
            return [
                texts("checks", verification.checks), texts("expressions", verification.expressions),
                number("passes", verification.passes), number("of", verification.rounds),
                number("interval_ms", Int(verification.interval)),
            ]
        }
    }

    init?(_ json: JSON) {
        guard let kind = RollbackStep.kind(json), let status = json["status"]?.string.flatMap(Status.init) else {
            return nil
        }
        (self.kind, self.status) = (kind, status)
        (begunAt, endedAt) = (json.rollbackMoment("begun_at"), json.rollbackMoment("ended_at"))
        (detail, before) = (json["detail"]?.string ?? "", json["before"]?.string)
    }

    private static func kind(_ json: JSON) -> Kind? {
        func texts(_ name: String) -> [String]? { json[name]?.array?.compactMap(\.string) }
        let length = json["length_ms"]?.integer.map { Milliseconds($0) }
        var deployment: Deployment? {
            guard let releases = json["releases"]?.string, let link = json["link"]?.string else { return nil }
            return Deployment(
                releases: releases, link: link, release: json["release"]?.string, requires: json["requires"]?.string)
        }
        switch json["kind"]?.string {
        case "check": return deployment.map { .check($0) }
        case "deployment": return deployment.map { .deployment($0) }
        case "announce": return .announce
        case "flag":
            guard let name = json["flag"]?.string, let store = json["store"]?.string else { return nil }
            return .flag(FlagTarget(name: name, store: store, environment: json["environment"]?.string))
        case "command":
            guard let name = json["name"]?.string, let run = texts("run"), let timeout = json["timeout_ms"]?.integer,
                let memory = json["memory_bytes"]?.integer, let output = json["output_bytes"]?.integer
            else { return nil }
            var command = CommandTarget(name: name, arguments: run, probe: texts("probe"))
            (command.directory, command.timeout) = (json["directory"]?.string, Milliseconds(timeout))
            (command.memoryBytes, command.outputBytes) = (memory, output)
            (command.writtenArguments, command.writtenProbe) = (texts("run_written"), texts("probe_written"))
            return .command(command)
        case "stabilise": return length.map { .stabilise($0) }
        case "clear": return length.map { .clear($0) }
        case "verify":
            var verification = Verification()
            guard let checks = texts("checks"), let expressions = texts("expressions"),
                let passes = json["passes"]?.integer, let rounds = json["of"]?.integer,
                let interval = json["interval_ms"]?.integer
            else { return nil }
            (verification.checks, verification.expressions) = (checks, expressions)
            (verification.passes, verification.rounds) = (passes, rounds)
            verification.interval = Milliseconds(interval)
            return .verify(verification)
        default: return nil
        }
    }
}

extension JSON {
    func rollbackMoment(_ name: String) -> Timestamp? {
        self[name]?.integer.map { Timestamp(milliseconds: Int64($0)) }
    }
}
