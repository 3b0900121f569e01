internal import Basics
internal import Model
internal import Query
internal import Transport

/// Does the steps that touch something outside, one at a time. It keeps nothing: what is known is in the run.
struct RollbackPerformer: Sendable {
    /// How often a flag is tried again after another writer changed it in between.
    static let flagTries = 5

    let files: any FileSystem
    let processes: any Processes
    let engine: QueryEngine
    let clock: any TimeSource
    /// By the store's name: what stands before a flag's name, and the store.
    let stores: [String: (prefix: String, store: any FlagStore)]

    // MARK: Flags

    /// Switches a flag off and reads it back. Safe to repeat: a flag that is off stays untouched.
    func switchOff(_ flag: FlagTarget) async -> StepResult {
        guard let (prefix, store) = stores[flag.store] else {
            return .failed("there is no flag store '\(flag.store)' in the configuration any more")
        }
        let key = prefix + flag.name
        do throws(FlagError) {
            for _ in 0..<RollbackPerformer.flagTries {
                let stored = try await store.value(of: key)
                let before = stored.map { String(decoding: $0.prefix(4096), as: UTF8.self) }
                switch FlagRecord.switchingOff(stored, for: flag.environment) {
                case .isOff: return .done("it was off", before: before)
                case .foreign(let reason):
                    return .failed("\(key) holds what is no flag: \(reason); it was left as it is, set it by hand")
                case .turned(let value):
                    guard try await store.set(key, to: value, expecting: stored) else { continue }
                    guard
                        case .isOff = FlagRecord.switchingOff(try await store.value(of: key), for: flag.environment)
                    else { return .failed("\(key) was set, and reads back as on: another writer set it again") }
                    return .done("off, and read back", before: before)
                }
            }
            return .failed("\(key) was changed by others \(RollbackPerformer.flagTries) times while it was to be set")
        } catch {
            return .failed(error.description)
        }
    }

    /// What a flag is now, for a plan.
    func preview(_ flag: FlagTarget) async -> String {
        guard let (prefix, store) = stores[flag.store] else { return "there is no such store" }
        do throws(FlagError) {
            let stored = try await store.value(of: prefix + flag.name)
            switch FlagRecord.switchingOff(stored, for: flag.environment) {
            case .isOff: return "is off already"
            case .foreign(let reason): return "cannot be switched off: \(reason)"
            case .turned:
                return stored.map { "is now " + String(decoding: $0.prefix(200), as: UTF8.self) } ?? "is not set"
            }
        } catch {
            return error.description
        }
    }

    // MARK: Deployments

    /// Finds the release to go back to, and that it could be started.
    ///
    /// - Parameter lately: what another run set the link to; while it shows that, there is nothing to go back from.
    func check(_ deployment: Deployment, lately: (release: String, run: String)? = nil) -> StepResult {
        do throws(FileError) {
            let link = try files.readLink(deployment.link)
            let present = link.map(RollbackPerformer.release)
            guard link != nil || deployment.release != nil else {
                return .failed("\(deployment.link) is no link, so nobody knows which release is before it")
            }
            let releases = try folders(in: deployment.releases)
            let wanted: String
            if let release = deployment.release {
                wanted = release
            } else if let lately, present == lately.release {
                return .done("\(lately.release) runs, set by \(lately.run); it stays", before: lately.release)
            } else {
                guard let present, let index = releases.firstIndex(of: present) else {
                    return .failed(
                        "\(deployment.link) shows \(link ?? "nothing"), which is no release in \(deployment.releases)")
                }
                guard index > 0 else {
                    return .failed("\(present) is the oldest release in \(deployment.releases); none is before it")
                }
                wanted = releases[index - 1]
            }
            guard releases.contains(wanted) else {
                return .failed("there is no release \(wanted) in \(deployment.releases)")
            }
            let folder = "\(deployment.releases)/\(wanted)"
            if let needed = deployment.requires, try files.attributes(of: "\(folder)/\(needed)") == nil {
                return .failed("the release \(wanted) cannot start: there is no \(needed) in it")
            }
            if try files.list(folder).isEmpty { return .failed("the release \(wanted) is an empty folder") }
            // The link keeps its form, so the release has to be beside the one that it shows.
            if let target = link.map({ RollbackPerformer.path($0, with: wanted) }) {
                let shown = target.hasPrefix("/") ? target : "\(deployment.link.parentDirectory)/\(target)"
                guard try files.attributes(of: shown) != nil else {
                    return .failed(
                        "\(deployment.link) shows another folder than \(deployment.releases): there is no \(shown)")
                }
            }
            return .done("\(present ?? "nothing") runs, \(wanted) is there", before: wanted)
        } catch {
            return .failed("\(error.path): \(error.reason)")
        }
    }

    /// Lets the link show the release, and reads it back. Safe to repeat.
    func setLink(_ deployment: Deployment, to release: String) -> StepResult {
        do throws(FileError) {
            let old = try files.readLink(deployment.link)
            let target = old.map { RollbackPerformer.path($0, with: release) } ?? "\(deployment.releases)/\(release)"
            if old == target { return .done("it shows \(release)", before: old) }
            if old == nil, try files.attributes(of: deployment.link) != nil {
                return .failed("\(deployment.link) is no link; it was left as it is")
            }
            try files.replaceLink(deployment.link, to: target)
            guard try files.readLink(deployment.link) == target else {
                return .failed("\(deployment.link) was set, and shows something else: another writer set it again")
            }
            return .done("it shows \(release)", before: old)
        } catch {
            return .failed("\(error.path): \(error.reason)")
        }
    }

    private func folders(in directory: String) throws(FileError) -> [String] {
        var folders: [String] = []
        for name in try files.list(directory) where !name.hasPrefix(".") {
            // A link in the folder, `current` often, is no release.
            guard try files.readLink("\(directory)/\(name)") == nil,
                try files.attributes(of: "\(directory)/\(name)")?.isDirectory == true
            else { continue }
            folders.append(name)
        }
        return folders.sorted(by: RollbackPerformer.isOlder)
    }

    /// The release that a link's text shows: its last part.
    static func release(_ target: String) -> String { trimmed(target).lastPathPart }

    private static func path(_ target: String, with release: String) -> String {
        trimmed(target).dropLast(RollbackPerformer.release(target).count) + release
    }

    private static func trimmed(_ target: String) -> String {
        var target = target
        while target.count > 1, target.hasSuffix("/") { target.removeLast() }
        return target
    }

    /// The order of releases: by name, numbers in it by their value, so that `v9` is before `v10`.
    static func isOlder(_ one: String, _ two: String) -> Bool {
        var (a, b) = (Array(one.utf8)[...], Array(two.utf8)[...])
        func number(_ text: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
            let digits = text.prefix { (0x30...0x39).contains($0) }
            text = text.dropFirst(digits.count)
            return digits.drop { $0 == 0x30 }
        }
        while let x = a.first, let y = b.first {
            if (0x30...0x39).contains(x), (0x30...0x39).contains(y) {
                let (m, n) = (number(&a), number(&b))
                if m.count != n.count { return m.count < n.count }
                if m.elementsEqual(n) { continue }
                return m.lexicographicallyPrecedes(n)
            }
            if x != y { return x < y }
            a = a.dropFirst()
            b = b.dropFirst()
        }
        return a.count != b.count ? a.count < b.count : one < two
    }

    // MARK: Commands

    /// Runs a command to its end. It ends with the daemon, so that after a crash none of them runs on unseen.
    func run(_ command: CommandTarget) async -> StepResult {
        let result = await processes.run(
            request(command.arguments, of: command), timeout: command.timeout, outputLimit: command.outputBytes)
        let detail = RollbackPerformer.detail(of: result, limit: command.outputBytes)
        return result.end == .exited(0) ? .done(detail) : .failed(detail)
    }

    /// What became of a command that was under way when the daemon ended: its probe knows, or nobody.
    ///
    /// - Returns: nil when the probe says that it was not done, so that it may be run.
    func settle(_ command: CommandTarget) async -> StepResult? {
        guard let probe = command.probe else {
            return .unknown("the daemon ended while it ran, and without a probe nobody knows whether it was done")
        }
        let result = await processes.run(
            request(probe, of: command), timeout: command.timeout, outputLimit: command.outputBytes)
        switch result.end {
        case .exited(0): return .done("its probe says that it was done before the restart")
        case .exited: return nil
        default: return .unknown("the daemon ended while it ran, and its probe was \(result.end)")
        }
    }

    private func request(_ arguments: [String], of command: CommandTarget) -> ProcessRequest {
        ProcessRequest(
            arguments, directory: command.directory, limits: ProcessLimits(memoryBytes: command.memoryBytes),
            endsWithParent: true)
    }

    private static func detail(of result: ProcessResult, limit: Int) -> String {
        var text = String(decoding: result.output, as: UTF8.self)
        while text.last?.isWhitespace == true { text.removeLast() }
        if result.outputBytes > limit { text += " … (\(result.outputBytes) bytes in all)" }
        return result.end.description + (text.isEmpty ? "" : ": \(text)")
    }

    // MARK: Verification

    /// What does not hold now, a clause each; empty when all does. Only what was measured after `since` counts.
    func unmet(_ verification: Verification, since: Timestamp) -> [String] {
        let now = clock.now()
        return verification.conditions(since: since).compactMap { name, expression in
            do throws(QueryError) {
                return try holds(expression, at: now) ? nil : "\(name) does not hold"
            } catch {
                return "\(name): \(error)"
            }
        }
    }

    /// Whether an expression gives something, for every series that it compares.
    private func holds(_ text: String, at now: Timestamp) throws(QueryError) -> Bool {
        let expression = try Verification.parsed(text)
        let result = try engine.instant(expression, at: now).value
        if case .scalar(let sample) = result { return sample.value != 0 && !sample.value.isNaN }
        guard !result.samples.isEmpty else { return false }
        guard let compared = expression.comparedVector else { return result.samples.allSatisfy { $0.value != 0 } }
        return try engine.instant(compared, at: now).value.samples.count == result.samples.count
    }
}

extension Expression {
    /// Of `vector < number` the vector: each of its series must pass, where the comparison would drop those that do
    /// not.
    fileprivate var comparedVector: String? {
        guard case .binary(let node) = root.bare, node.operation.isComparison, !node.returnsBool else { return nil }
        if node.right.type == .scalar { return node.left.description }
        if node.left.type == .scalar { return node.right.description }
        return nil
    }
}
