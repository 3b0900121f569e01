internal import ArgumentParser
internal import Daemon

@main
struct Main: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vedette",
        abstract: "Watches services, evaluates rules, pages the person on call.",
        version: Vedette.version,
        subcommands: [
            RunCommand.self, CheckCommand.self, QueryCommand.self, AlertsCommand.self, NotifyCommand.self,
            DemoCommand.self,
        ])
}
