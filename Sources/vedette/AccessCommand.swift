internal import ArgumentParser
internal import Basics

/// `vedette access`: passwords, tokens, and who changed what.
struct AccessCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "access", abstract: "Make password hashes and tokens for the section web; read the audit record.",
        subcommands: [Hash.self, Token.self, Audit.self])

    struct Hash: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read a password from standard input and print its hash, for web.users.")
        @Option(help: "The binary logarithm of the rounds: 10 takes some 50 ms.") var cost: UInt = 10

        func run() throws {
            let bytes = try StandardInput.contents(limit: 4096)
            let password = String(decoding: bytes, as: UTF8.self).trimmed
            guard password.utf8.count >= 8 else {
                throw Refusal("a password has at least 8 characters; type it into standard input")
            }
            guard password.utf8.count <= 72 else {
                throw Refusal("bcrypt looks at the first 72 bytes alone; choose a shorter password")
            }
            guard (4...14).contains(cost), let hash = PasswordHash.bcrypt(password, cost: cost) else {
                throw Refusal("--cost: must be from 4 to 14")
            }
            Output.line(hash.reveal())
        }
    }

    struct Token: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a new token, for whoever will show it, and its SHA-256, for web.tokens.")

        func run() {
            let token = "vdt_" + randomBytes(32).map { hexadecimal($0, digits: 2) }.joined()
            Output.line("token   \(token)")
            Output.line("sha256  \(Digest.hexadecimal(of: token, .sha256))")
        }
    }

    struct Audit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List who changed what, the newest first.")
        @OptionGroup var client: Client
        @Option(help: "table, json or csv.") var output = OutputFormat.table

        func run() async throws {
            let entries = try await client.get("/api/vedette/v1/audit").array ?? []
            Output.rows(
                ["time", "who", "role", "from", "request", "status"],
                entries.map { entry in
                    ["time", "caller", "role", "peer", "request", "status"].map { name in
                        entry[name]?.string ?? entry[name]?.number.map { "\(Int($0))" } ?? "not done"
                    }
                }, output)
        }
    }
}
