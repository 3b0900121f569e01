internal import Basics

/// The values of variables, by where they come from: the process's environment counts before files, a later file
/// before an earlier one. An empty value is none.
public struct EnvironmentValues: Sendable {
    private let process: Variables.Source
    private let files: [EnvironmentFile]

    /// Values of a process and of files.
    public init(process: @escaping Variables.Source, files: [EnvironmentFile] = []) {
        (self.process, self.files) = (process, files)
    }

    /// A value; nil when there is none.
    public subscript(name: String) -> String? { found(name)?.text }

    /// A value with where it was found.
    func found(_ name: String) -> (text: String, source: String)? {
        if let text = process(name), !text.isEmpty { return (text, "environment") }
        for file in files.reversed() {
            if let entry = file.entries.last(where: { $0.name == name }), !entry.value.isEmpty {
                return (entry.value, entry.location.description)
            }
        }
        return nil
    }

    /// The variables that files set, with their places.
    var entries: [EnvironmentFile.Entry] { files.flatMap(\.entries) }
}

/// Holds the environment to a file of variables. Pure: the environment and the disk are handed in.
///
/// A variable's value may stand in the file that `NAME_FILE` or `NAME_file` names, as Docker's and Kubernetes' secrets
/// do, or in `$CREDENTIALS_DIRECTORY/NAME` or `…/secret_NAME`, where systemd puts a unit's credentials.
public struct EnvironmentCheck: Sendable {
    /// What was found of one variable. No verdict holds a secret or a part of one.
    public struct Verdict: Sendable {
        /// How it stands.
        public enum Status: String, Sendable, CaseIterable {
            /// As it must be.
            case good
            /// Not set, and need not be.
            case unset
            /// Not set, and should be; or not described.
            case warning
            /// Missing, of the wrong type, or weak.
            case problem
        }
        /// The variable.
        public var name: String
        /// Its type; empty when it is not described.
        public var type: String
        /// How much it is needed; nil when it is not described.
        public var level: VariableLevel?
        /// How it stands.
        public var status: Status
        /// Where the value comes from: `environment`, or `file:line:column`, or a path; empty without one.
        public var source: String
        /// What is wrong and how to cure it, or what of a good value may be shown.
        public var message: String
    }

    private let definitions: [VariableDefinition]
    private let stage: DeploymentStage
    private let values: EnvironmentValues
    private let files: VariableFiles

    /// A check by its parts.
    public init(
        _ definitions: [VariableDefinition], in stage: DeploymentStage, _ values: EnvironmentValues,
        _ files: VariableFiles
    ) {
        (self.definitions, self.stage, self.values, self.files) = (definitions, stage, values, files)
    }

    /// A verdict for each variable of this stage in the order of the file, then those of the files that are not
    /// described.
    public func verdicts() -> [Verdict] {
        var verdicts: [Verdict] = []
        var owners: [String: String] = [:]
        for definition in definitions {
            guard let level = definition.levels[stage] else { continue }
            var verdict = Verdict(
                name: definition.name, type: definition.kind.name, level: level, status: .good, source: "", message: "")
            switch find(definition.name) {
            case .none: absent(&verdict, definition, level)
            case .unreadable(let source, let reason):
                (verdict.status, verdict.source, verdict.message) = (.problem, source, reason)
            case .value(let value, let source):
                verdict.source = source
                judge(value, definition, &verdict, &owners)
            }
            verdicts.append(verdict)
        }
        return verdicts + unknown()
    }

    private func absent(_ verdict: inout Verdict, _ definition: VariableDefinition, _ level: VariableLevel) {
        let purpose = definition.description.isEmpty ? "" : ": \(definition.description)"
        (verdict.status, verdict.message) =
            switch level {
            case .required: (.problem, "is not set; set it\(purpose)")
            case .recommended: (.warning, "is not set and should be\(purpose)")
            case .optional: (.unset, "not set")
            }
    }

    private func judge(
        _ value: String, _ definition: VariableDefinition, _ verdict: inout Verdict, _ owners: inout [String: String]
    ) {
        let problem = definition.kind.problem(with: value, named: definition.name, in: stage, files)
        let secret = definition.kind.secret(in: value)
        if let problem {
            (verdict.status, verdict.message) = (.problem, problem)
        } else if let secret, let owner = owners[secret] {
            (verdict.status, verdict.message) = (.problem, "the same as \(owner); each needs a secret of its own")
        } else {
            verdict.message = definition.kind.shown(value)
        }
        if let secret, owners[secret] == nil { owners[secret] = definition.name }
    }

    private enum Found {
        case none
        case value(String, source: String)
        case unreadable(source: String, reason: String)
    }

    private func find(_ name: String) -> Found {
        let direct = values.found(name)
        for twin in ["\(name)_FILE", "\(name)_file"] where !definitions.contains(where: { $0.name == twin }) {
            guard let (path, source) = values.found(twin) else { continue }
            if let direct {
                return .unreadable(
                    source: direct.source, reason: "both \(name) and \(twin) are set; remove one of the two")
            }
            return read(path, source: "\(twin) (\(source))")
        }
        if let direct { return .value(direct.text, source: direct.source) }
        guard let folder = values["CREDENTIALS_DIRECTORY"] else { return .none }
        for path in ["\(folder)/\(name)", "\(folder)/secret_\(name)"] where files.isDirectory(path) == false {
            return read(path, source: "credential")
        }
        return .none
    }

    private func read(_ path: String, source: String) -> Found {
        do {
            let text = try Secret(file: path).reveal(files.read)
            return text.isEmpty
                ? .unreadable(source: source, reason: "the file is empty; write the value into it")
                : .value(text, source: source)
        } catch {
            let reason = (error as? FileError)?.reason ?? "it cannot be read"
            return .unreadable(source: source, reason: "its file cannot be read: \(reason); mend the path or the mode")
        }
    }

    /// What files set and nobody described: a slip of the pen, or a leftover.
    private func unknown() -> [Verdict] {
        let known = Set(definitions.map(\.name))
        var verdicts: [Verdict] = []
        for entry in values.entries {
            let isTwin = entry.name.uppercased().hasSuffix("_FILE") && known.contains(String(entry.name.dropLast(5)))
            guard !known.contains(entry.name), !isTwin, entry.name != "CREDENTIALS_DIRECTORY" else { continue }
            let near = entry.name.nearest(among: known).map { "; did you mean '\($0)'?" }
            verdicts.append(
                Verdict(
                    name: entry.name, type: "", level: nil, status: .warning, source: entry.location.description,
                    message: "is not described" + (near ?? "; describe it or remove it")))
        }
        return verdicts
    }
}

extension [VariableDefinition] {
    /// A `.env` file to be filled in: each variable of a stage with its purpose, type and level; no values.
    public func template(for stage: DeploymentStage) -> String {
        var lines = ["# Variables of the environment \(stage.rawValue); not for version control once filled in."]
        var group = ""
        for definition in self {
            guard let level = definition.levels[stage] else { continue }
            if definition.group != group {
                group = definition.group
                lines += ["", "# --- \(group) ---"]
            }
            lines.append("")
            if !definition.description.isEmpty { lines.append("# \(definition.description)") }
            let example = definition.example.map { ", such as \($0)" } ?? ""
            lines.append("# \(definition.kind.name), \(level.rawValue)\(example)")
            lines.append(level == .required ? "\(definition.name)=" : "#\(definition.name)=")
        }
        // A description may go over lines, and none of them may become a variable.
        return lines.map { $0.replacing("\n", with: " ") + "\n" }.joined()
    }
}
