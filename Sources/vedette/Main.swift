internal import ArgumentParser
internal import Daemon
internal import Glibc

/// The command and its subcommands, a file each.
struct Main: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vedette",
        abstract: "Watches services, evaluates rules, pages the person on call.",
        version: Vedette.version,
        subcommands: [
            RunCommand.self, ReloadCommand.self, CheckCommand.self, TestCommand.self, QueryCommand.self,
            ImportCommand.self, BackupCommand.self, AlertsCommand.self,
            SilenceCommand.self, PagesCommand.self, NotifyCommand.self, RollbackCommand.self, WorkloadsCommand.self,
            AccessCommand.self, EnvironmentCommand.self, ImpactCommand.self, DemoCommand.self,
        ])
}

/// Exit status: 0 all is well, 1 something was found, 2 wrong use.
@main
enum Entry {
    static func main() async {
        do {
            var command = try await Main.asyncParseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let refusal as Refusal {
            StandardError.write("\(refusal)\n")
            leave(2)
        } catch {
            guard Main.exitCode(for: error) == .validationFailure else { Main.exit(withError: error) }
            StandardError.write(Main.fullMessage(for: error) + "\n")
            leave(2)
        }
    }

    /// Ends at once: the libraries' own ends would race with threads that still use them.
    private static func leave(_ status: Int32) -> Never {
        fflush(nil)
        _exit(status)
    }
}
