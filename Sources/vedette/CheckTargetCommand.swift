internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Model
internal import Scraping
internal import Settings
internal import Systemd
internal import Transport

/// `vedette check target NAME`: one health check, now, on this machine, with all that was seen.
struct CheckTarget: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "target", abstract: "Run one health check now and show every phase.",
        discussion: "No daemon is asked. Exit status 0 when all expectations are fulfilled, else 1.")

    @Argument(help: "The check's name.") var name: String
    @Option(help: "The configuration file.") var config = "vedette.yaml"
    @Option(help: "table or json.") var output = OutputFormat.table

    func run() async throws {
        let (files, clock) = (SystemFiles(), SystemClock())
        let settings = try daemonSettings(config, files: files)
        guard let check = settings.checks.first(where: { $0.name == name }) else {
            let names = settings.checks.map(\.name).sorted().joined(separator: ", ")
            let cure = name.nearest(among: settings.checks.map(\.name)).map { "did you mean '\($0)'?" }
            throw Refusal("\(config): there is no health check '\(name)'; \(cure ?? "there are: \(names)")")
        }
        let readFile: Secret.FileReader = { try files.contents(of: $0) }
        let prober = MachineProber(clock: clock, files: readFile, units: BusUnitStates(clock: clock))
        let look = HealthLook(
            check, fetcher: CurlFetcher(clock: clock), prober: prober, clock: clock, readFile: readFile)
        switch output {
        case .table, .csv:
            // What others wrote must not steer a terminal.
            for line in CheckTarget.lines(look, of: check, at: clock.now()) { Output.line(Output.shown(line)) }
        case .json: Output.line(CheckTarget.document(look, of: check).text)
        }
        if !look.report.isUp { throw ExitCode(1) }
    }

    private static func milliseconds(_ seconds: Double) -> String {
        "\(GoNumber.fixed((seconds * 1e5).rounded() / 100))ms"
    }

    static func lines(_ look: HealthLook, of check: HealthCheck, at now: Timestamp) -> [String] {
        let report = look.report
        var lines = ["\(check.name)  \(check.shownURL)"]
        for phase in report.details.phases {
            let name = phase.phase.rawValue
            lines.append("  \(name)\(String(repeating: " ", count: 12 - name.count))\(milliseconds(phase.seconds))")
        }
        lines.append("  total       \(milliseconds(report.durationSeconds))")
        if report.status > 0 { lines.append("  status      \(report.status)") }
        if let expiry = report.details.certificateExpiry {
            let days = (Double(expiry - now) / 8_640_000).rounded() / 10
            lines.append("  certificate ends \(expiry) (\(GoNumber.fixed(days)) days left)")
        }
        for verdict in look.verdicts {
            let word = verdict.isFulfilled ? "good" : verdict.failure == nil ? "open" : "FAIL"
            lines.append("  \(word)  \(verdict.expectation)\(verdict.failure.map { ": \($0)" } ?? "")")
        }
        for value in report.values {
            let labels = value.labels.map { "\($0.name)=\($0.value.goQuoted)" }.joined(separator: ", ")
            let shown = value.shown == .number(value.value) ? "" : " (\(value.shown.text))"
            lines.append(
                "  value  \(value.field)\(labels.isEmpty ? "" : "{\(labels)}") \(GoNumber.fixed(value.value))\(shown)")
        }
        let reasons = report.reasons.map(\.rawValue).joined(separator: ", ")
        lines.append(report.isUp ? "healthy" : "\(report.standing) (\(reasons)): \(report.sentence)")
        return lines
    }

    static func document(_ look: HealthLook, of check: HealthCheck) -> JSON {
        let report = look.report
        var members: [JSON.Member] = [
            .init("check", .string(check.name)), .init("url", .string(check.shownURL)),
            .init("up", .bool(report.isUp)), .init("status", .string(report.standing)),
            .init("status_code", .number(Double(report.status))),
            .init("duration_seconds", .number(report.durationSeconds)),
            .init(
                "phases",
                .object(report.details.phases.map { .init($0.phase.rawValue, .number($0.seconds)) })),
        ]
        if let expiry = report.details.certificateExpiry {
            members.append(.init("certificate_expiry", .string(expiry.description)))
        }
        members.append(
            .init(
                "expectations",
                .array(
                    look.verdicts.map {
                        [
                            "expectation": .string($0.expectation), "fulfilled": .bool($0.isFulfilled),
                            "failure": $0.failure.map(JSON.string) ?? .null,
                        ]
                    })))
        members.append(
            .init(
                "values",
                .array(
                    report.values.map { value in
                        [
                            "field": .string(value.field), "value": .number(value.value), "shown": value.shown,
                            "labels": .object(value.labels.map { .init($0.name, .string($0.value)) }),
                        ]
                    })))
        members.append(
            .init(
                "failures",
                .array(report.failures.map { ["reason": .string($0.reason.rawValue), "text": .string($0.text)] })))
        return .object(members)
    }
}
