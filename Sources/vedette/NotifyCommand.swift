internal import Alerting
internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Model
internal import Notifying
internal import Settings
internal import Transport

/// `vedette notify`: the receivers of a configuration.
struct NotifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "notify", abstract: "Try receivers, and see what they would get.",
        subcommands: [NotifyTest.self, NotifyPreview.self])
}

/// `vedette notify test RECEIVER`: a page marked as a test, sent once through each of its channels.
struct NotifyTest: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Send a test page to a receiver; exits with 1 when a channel does not take it.")

    @Argument(help: "The receiver's name.") var receiver: String
    @Option(help: "The configuration file.") var config = "vedette.yaml"

    func run() async throws {
        let (files, clock) = (SystemFiles(), SystemClock())
        let settings = try daemonSettings(config, files: files)
        guard let found = settings.notifying.receivers[receiver] else {
            let names = settings.notifying.receivers.keys.sorted().joined(separator: ", ")
            throw Refusal("\(config): there is no receiver '\(receiver)'; there are: \(names)")
        }
        guard !found.channels.isEmpty else {
            throw Refusal("the receiver '\(receiver)' has no channel; it pages nobody")
        }
        let transport = CurlTransport(clock: clock)
        defer { transport.stop() }
        let results = await TestPage.send(
            to: found, transport: transport, clock: clock, externalURL: "", files: { try files.contents(of: $0) })
        for result in results { Output.line("\(result.channelID): \(result.message) (\(result.latency) ms)") }
        if results.contains(where: { !$0.isAccepted }) { throw ExitCode(1) }
    }
}

/// `vedette notify preview`: the exact requests that alerts would make, secrets masked.
struct NotifyPreview: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "preview", abstract: "Print the exact requests that alerts would make; nothing is sent.")

    @Option(help: "The configuration file.") var config = "vedette.yaml"
    @Option(help: "Only this receiver, whatever the routes say.") var receiver: String?
    @Option(help: "Alerts as JSON, as amtool and the API print them; a sample when it is not given.")
    var alerts: String?
    @Option(help: "Where people reach the daemon, for links.") var externalUrl = "http://127.0.0.1:9470"

    func run() async throws {
        let (files, now) = (SystemFiles(), SystemClock().now())
        let read = try daemonSettings(config, files: files)
        let (settings, variables) = (read.notifying, read.variables)
        let given = try alerts.map { try Alert.list(inFile: $0, files, now: now) } ?? [Preview.sample(now: now)]
        if let receiver, settings.receivers[receiver] == nil {
            throw Refusal("\(config): there is no receiver '\(receiver)'")
        }
        let notifications = Preview.notifications(for: given, settings, receiver: receiver, now: now)
        for notification in notifications {
            for (id, channel) in settings.receivers[notification.receiver]?.channels ?? [] {
                Output.line("# \(id): \(notification.title)")
                for line in Preview.lines(
                    notification, channel, id: id, externalURL: externalUrl, files: { try files.contents(of: $0) })
                {
                    Output.line(variables.masked(line))
                }
                Output.line("")
            }
        }
        if notifications.isEmpty { throw Refusal("no receiver would be told of these alerts") }
    }
}
