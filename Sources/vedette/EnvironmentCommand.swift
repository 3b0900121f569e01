internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Glibc
internal import Settings

/// `vedette env`: the variables that a system is configured by.
struct EnvironmentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "env", abstract: "Check the variables of the environment, make secrets and .env files.",
        subcommands: [Check.self, Generate.self, Template.self])

    /// The file of variables.
    struct Described: ParsableArguments {
        @Option(help: "The file that describes the variables.") var variables = "environment.yaml"
        @Option(help: "development, staging or production.") var environment = Stage.production

        /// Where the system runs.
        enum Stage: String, ExpressibleByArgument, CaseIterable { case development, staging, production }
        /// The same, for whom judging belongs to.
        var stage: DeploymentStage { DeploymentStage(rawValue: environment.rawValue) ?? .production }

        func read() throws -> [VariableDefinition] {
            do {
                let bytes = try SystemFiles().contents(of: variables, limit: SettingsLimits().bytes)
                return try VariableDefinition.all(bytes, file: variables)
            } catch let error as FileError {
                throw Refusal("\(variables): cannot be read: \(error.reason); give the file's path with --variables")
            } catch {
                throw Refusal("\(error)")
            }
        }
    }

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check the environment against a file of variables; no secret is printed.",
            discussion: """
                Exit status 0 when all is well, 1 when a variable is missing, of the wrong type or weak, 2 for wrong use. \
                What is recommended and missing is told and changes nothing. NAME_FILE names a file with NAME's value; \
                systemd's $CREDENTIALS_DIRECTORY is looked into too.
                """)
        @OptionGroup var described: Described
        @Option(
            help: "A file of NAME=value lines, also several; what the process has set comes before, later ones first.")
        var envFile: [String] = []
        @Option(help: "A configuration of Vedette whose ${NAME} and …_file must resolve too.") var config: String?
        @Flag(help: "Look at the files alone, not at what this process has set.") var onlyFiles = false
        @Option(help: "table, json or csv.") var output = OutputFormat.table

        func run() throws {
            let definitions = try described.read()
            let values = try values()
            let check = EnvironmentCheck(definitions, in: described.stage, values, machine)
            let verdicts = check.verdicts()
            let rows = verdicts.map { verdict in
                [
                    verdict.name, verdict.type, verdict.level?.rawValue ?? "", verdict.status.rawValue, verdict.source,
                    verdict.message,
                ]
            }
            Output.rows(["variable", "type", "level", "status", "source", "finding"], rows, output)
            var problems = verdicts.count { $0.status == .problem }
            if let config { problems += resolve(config, values, known: Set(definitions.map(\.name))) }
            let counts = EnvironmentCheck.Verdict.Status.allCases.map { status in
                "\(verdicts.count { $0.status == status }) \(status.rawValue)"
            }
            if output == .table {
                Output.line("\(described.environment.rawValue): \(counts.joined(separator: ", "))")
            }
            if problems > 0 { throw ExitCode(1) }
        }

        private func values() throws -> EnvironmentValues {
            var files: [EnvironmentFile] = []
            for path in envFile {
                do {
                    files.append(
                        try EnvironmentFile(
                            SystemFiles().contents(of: path, limit: SettingsLimits().bytes), file: path))
                } catch let error as FileError {
                    throw Refusal("\(path): cannot be read: \(error.reason); mend --env-file")
                } catch {
                    throw Refusal("\(error)")
                }
            }
            let isAlone = onlyFiles
            return EnvironmentValues(process: { isAlone ? nil : environmentVariable($0) }, files: files)
        }

        private var machine: VariableFiles {
            VariableFiles(
                // A path that may not be looked at is none.
                isDirectory: { path in
                    guard let found = try? SystemFiles().attributes(of: path) else { return nil }
                    return found.isDirectory
                },
                isAllowed: { path, writing in unsafe access(path, writing ? W_OK : R_OK) == 0 },
                read: { try SystemFiles().contents(of: $0, limit: 1 << 20) })
        }

        /// Reads a configuration with these values; tells what does not resolve, and answers how much that is.
        private func resolve(_ config: String, _ values: EnvironmentValues, known: Set<String>) -> Int {
            let settings: DaemonSettings
            do throws(SettingsError) {
                settings = try DaemonSettings(
                    path: config, files: SystemFiles(), variables: { values[$0] }, alone: true)
            } catch {
                Output.problem(error.description)
                return 1
            }
            for reference in settings.variables.references
            where !known.contains(reference.name) && reference.name != "CREDENTIALS_DIRECTORY" {
                Output.problem(
                    "\(reference.location): warning: the variable \(reference.name) is not described in "
                        + "\(described.variables); describe it there")
            }
            var problems = 0
            for (path, location) in settings.neededFiles {
                let shown = settings.variables.masked("'\(path)'")
                do {
                    let bytes = try SystemFiles().contents(of: path, limit: 1 << 20)
                    if bytes.contains(where: { $0 > 0x20 }) { continue }
                    Output.problem("\(location): \(shown) is empty; write the secret into it")
                } catch {
                    Output.problem(
                        "\(location): \(shown) cannot be read: \(error.reason); mend the path or write the file")
                }
                problems += 1
            }
            return problems
        }
    }

    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a new secret from the system's generator.",
            discussion: "alnum has as many characters as hold at least that many bytes' chance.")
        enum Format: String, ExpressibleByArgument, CaseIterable { case hex, base64url, alnum }

        @Option(help: "How many bytes of chance: from 16 to 1024.") var bytes = 32
        @Option(help: "hex, base64url or alnum.") var format = Format.base64url

        func run() throws {
            guard (16...1024).contains(bytes) else { throw Refusal("--bytes: must be from 16 to 1024") }
            Output.line(GeneratedSecret.text(bytes, format))
        }
    }

    struct Template: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a .env file to be filled in: names, purposes, types, levels.")
        @OptionGroup var described: Described

        func run() throws {
            let text = try described.read().template(for: described.stage)
            Output.line(String(text.dropLast()))
        }
    }
}

/// Secrets of the system's generator.
enum GeneratedSecret {
    static func text(_ bytes: Int, _ format: EnvironmentCommand.Generate.Format) -> String {
        switch format {
        case .hex: randomBytes(bytes).map { hexadecimal($0, digits: 2) }.joined()
        case .base64url:
            String(base64(randomBytes(bytes)).filter { $0 != "=" }.map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
        case .alnum: letters(count: Int((Double(bytes) * 8 / log2(62)).rounded(.up)))
        }
    }

    /// 62 of them.
    private static let signs = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")

    /// Bytes from 248 on are thrown away: otherwise the first letters would come more often.
    private static func letters(count: Int) -> String {
        var text = ""
        var length = 0
        while length < count {
            for byte in randomBytes(count) where byte < 248 && length < count {
                text.append(signs[Int(byte) % 62])
                length += 1
            }
        }
        return text
    }
}
