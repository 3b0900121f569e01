internal import ArgumentParser
internal import Basics

/// `vedette reload`: what SIGHUP asks for, with an answer.
struct ReloadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload", abstract: "Let the daemon read its configuration again, and tell what is wrong with it.")
    @OptionGroup var client: Client

    func run() async throws {
        let (status, text) = try await client.text("/-/reload", method: "POST")
        guard status == 200 else { throw Refusal(text.trimmed) }
        Output.line("the configuration was read again")
    }
}
