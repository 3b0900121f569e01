internal import ArgumentParser
internal import Backup
internal import Basics
internal import Settings
internal import Storage

/// `vedette backup`: series, journal and SQLite in one file.
struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Back up series, journal and SQLite into one file, check it, restore it.",
        discussion: "A database on PostgreSQL is not in it: pg_dump backs that up.",
        subcommands: [BackupCreate.self, BackupVerify.self, BackupRestore.self])
}

/// Where the passphrase comes from; never the command line.
struct Passphrase: ParsableArguments {
    @Option(help: "A file with the passphrase that seals the archive; or the variable VEDETTE_BACKUP_PASSPHRASE_FILE.")
    var passphraseFile: String?

    func bytes() throws -> [UInt8]? {
        for name in ["VEDETTE_BACKUP_PASSPHRASE_FILE", "VEDETTE_BACKUP_PASSPHRASE"] {
            // An archive that is meant to be sealed is not to lie open because a variable was lost.
            if environmentVariable(name)?.isEmpty ?? false {
                throw Refusal("\(name) is empty; give it a value, or unset it for an archive that is not sealed")
            }
        }
        if let path = passphraseFile ?? environment("VEDETTE_BACKUP_PASSPHRASE_FILE") {
            let text: String
            do { text = try Secret(file: path).reveal { try SystemFiles().contents(of: $0) } } catch {
                throw Refusal("--passphrase-file: \(path) cannot be read: \(error)")
            }
            guard !text.isEmpty else {
                throw Refusal("--passphrase-file: \(path) is empty; write a passphrase into it")
            }
            return Array(text.utf8)
        }
        return environment("VEDETTE_BACKUP_PASSPHRASE").map { Array($0.utf8) }
    }
}

/// `vedette backup create FILE`.
struct BackupCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a backup of the running daemon, on its machine, or with --data-dir of one that is stopped.")
    @Argument(help: "The archive to make; there must be none of that name.") var file: String
    @Option(help: "The data directory of a daemon that is stopped; without it the running one is asked.")
    var dataDir: String?
    @Option(help: "With --data-dir: the SQLite file, if it is not vedette.db there.") var database = "vedette.db"
    @OptionGroup var passphrase: Passphrase
    @OptionGroup var client: Client

    func run() async throws {
        let (secret, files) = (try passphrase.bytes(), SystemFiles())
        if try files.attributes(of: file) != nil { throw Refusal("\(file): is there already; choose another name") }
        guard let dataDir else { return try await fromDaemon(secret) }
        do {
            // Opening a store makes its directory.
            guard try files.attributes(of: "\(dataDir)/wal") != nil else {
                throw Refusal("\(dataDir): is no data directory, since it has no wal; check --data-dir")
            }
            var settings = StorageSettings()
            settings.retention = .max / 4
            let store = try SeriesStore(directory: dataDir, settings: settings, files: files, clock: SystemClock())
            store.replayLog()
            let journal = try Journal(directory: "\(dataDir)/journal", files: files)
            let stage = try await BackupStage(
                of: store, journal, .sqlite(database), directory: dataDir, files: files, clock: SystemClock())
            defer { try? BackupStage.remove(stage.name, directory: dataDir, files: files) }
            try archive(stage.path, secret)
        } catch let error as ExitCode {
            throw error
        } catch let StorageError.locked(directory) {
            throw Refusal(
                "\(directory): a daemon uses this data directory; back it up with --url in place of --data-dir")
        } catch let error as Refusal {
            throw error
        } catch {
            throw Refusal("\(error)")
        }
    }

    private func fromDaemon(_ secret: [UInt8]?) async throws {
        let made = try await client.post("/api/vedette/v1/backup", [])
        guard let name = made["name"]?.string, let path = made["path"]?.string else {
            throw Refusal("\(client.shownURL) answers not as a daemon does; check --url")
        }
        var failure: (any Error)?
        do {
            guard try SystemFiles().attributes(of: "\(path)/vedette-backup.json") != nil else {
                throw Refusal("\(path) is not on this machine; make the backup where the daemon runs, as its user")
            }
            try archive(path, secret)
        } catch { failure = error }
        _ = try await client.exchange("/api/vedette/v1/backup/\(name.percentEncoded)", method: "DELETE")
        if let failure { throw failure is Refusal || failure is ExitCode ? failure : Refusal("\(failure)") }
    }

    private func archive(_ stage: String, _ secret: [UInt8]?) throws {
        let size = try BackupStage.archive(
            stage, as: file, passphrase: secret, files: SystemFiles(), clock: SystemClock())
        Output.line("\(file): \(size) bytes\(secret == nil ? "" : ", sealed")")
        let facts = try JSON(parsing: SystemFiles().contents(of: "\(stage)/vedette-backup.json"))
        if tellMissing(facts) { throw ExitCode(1) }
    }
}

/// Names the blocks that could not be read when the backup was made; whether there are any.
private func tellMissing(_ facts: JSON) -> Bool {
    let missing = facts["missing"]?.array ?? []
    for block in missing {
        Output.problem("not in the backup: block \(block.string ?? ""); keep an older backup that has it")
    }
    return !missing.isEmpty
}

/// Damage is found, exit 1; the rest is wrong use.
private func opening<Value>(_ body: () throws(ArchiveError) -> Value) throws -> Value {
    do throws(ArchiveError) {
        return try body()
    } catch {
        guard error.isDamage else { throw Refusal("\(error)") }
        Output.problem("\(error)")
        throw ExitCode(1)
    }
}

private func tell(_ report: Archive.Report) {
    let database = report.facts["database"]?.string ?? "none"
    Output.line("made \(report.facts["made"]?.string ?? ""), database: \(database)")
    _ = tellMissing(report.facts)
}

/// `vedette backup verify FILE`.
struct BackupVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check every checksum of a backup and of its blocks; exits with 1 at damage.")
    @Argument(help: "The archive.") var file: String
    @OptionGroup var passphrase: Passphrase

    func run() throws {
        let secret = try passphrase.bytes()
        let report = try opening { () throws(ArchiveError) in
            try Archive(file, SystemFiles(), passphrase: secret).verify()
        }
        tell(report)
        Output.line("\(report.files) files and \(report.samples) samples in \(report.blocks) blocks are as they were")
    }
}

/// `vedette backup restore FILE`.
struct BackupRestore: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Restore a backup into a data directory that is empty or not there.")
    @Argument(help: "The archive.") var file: String
    @Option(help: "The data directory to make.") var dataDir: String
    @OptionGroup var passphrase: Passphrase

    func run() throws {
        let secret = try passphrase.bytes()
        let report = try opening { () throws(ArchiveError) in
            try Archive(file, SystemFiles(), passphrase: secret).restore(to: dataDir, SystemFiles())
        }
        tell(report)
        Output.line("\(dataDir): restored; start the daemon with --data-dir \(dataDir)")
    }
}
