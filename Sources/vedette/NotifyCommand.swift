internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Notifying
internal import Settings
internal import Transport

/// `vedette notify`: the receivers of a configuration.
struct NotifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "notify", abstract: "Try receivers.", subcommands: [NotifyTest.self])
}

/// `vedette notify test RECEIVER`: a page marked as a test, sent once through each of its channels.
struct NotifyTest: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Send a test page to a receiver; exits with 1 when a channel does not take it.")

    @Argument(help: "The receiver's name.") var receiver: String
    @Option(help: "The configuration file.") var config = "vedette.yaml"

    func run() async throws {
        let (files, clock) = (SystemFiles(), SystemClock())
        let settings: DaemonSettings
        do throws(SettingsError) {
            settings = try DaemonSettings(path: config, files: files)
        } catch {
            throw Refusal(error.description)
        }
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
