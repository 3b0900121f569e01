public import Basics
internal import SQL
public import Storage

/// The consistent part of a backup: a folder below `snapshots` that holds blocks, journal and database as they are at
/// about one moment, to be put into an archive, and then removed.
public struct BackupStage: Sendable {
    /// Which database there is beside the series.
    public enum Database: Sendable, Hashable {
        /// A file of SQLite; relative paths start from the data directory.
        case sqlite(String)
        /// PostgreSQL: its own tools dump it.
        case postgresql
    }

    /// The folder's name, and its path.
    public var name: String, path: String

    /// Makes it. The database is copied by itself (`VACUUM INTO`) while others write to it.
    public init(
        of store: SeriesStore, _ journal: Journal?, _ database: Database, directory: String, files: any FileSystem,
        clock: any TimeSource
    ) async throws {
        BackupStage.removeForgotten(in: directory, files, before: clock.now() - 86_400_000)
        store.openBlocks()
        name = try store.snapshot()
        let missing = store.setAside.map { JSON.string("\($0.name): \($0.reason)") }
        path = "\(directory)/\(SeriesStore.snapshotFolder)/\(name)"
        do {
            try journal?.copy(to: "\(path)/journal", files)
            var facts: [JSON.Member] = [
                .init("version", .number(1)), .init("made", .string(clock.now().rfc3339(trimmed: true))),
                .init("missing", .array(missing)),
            ]
            switch database {
            case .postgresql: facts.append(.init("database", "postgresql, not in this archive: use pg_dump"))
            case .sqlite(let place):
                let source = place.hasPrefix("/") ? place : "\(directory)/\(place)"
                if try files.attributes(of: source) != nil {
                    // What lies outside the data directory is put into it.
                    let isInside = !place.hasPrefix("/") && !place.split(separator: "/").contains("..")
                    let name = isInside ? place : place.lastPathPart
                    try files.createDirectory("\(path)/\(name)".parentDirectory)
                    let opened = SQLiteDatabase(path: source, clock: clock)
                    let target = "\(path)/\(name)"
                    try await opened.perform(timeout: 600_000) { connection throws(SQLError) in
                        _ = try connection.execute("VACUUM INTO ?", [.text(target)])
                    }
                    await opened.close()
                    facts.append(.init("database", .string("sqlite:\(place)")))
                } else {
                    facts.append(.init("database", "none"))
                }
            }
            let file = try files.open("\(path)/\(ArchiveFormat.facts)", .create)
            try unsafe file.write(JSON.object(facts).serialized().span.bytes, at: 0)
        } catch {
            try? files.removeTree(path)
            throw error
        }
    }

    /// Removes what a command that was killed left: stages that are older than a day.
    private static func removeForgotten(in directory: String, _ files: any FileSystem, before moment: Timestamp) {
        let folder = "\(directory)/\(SeriesStore.snapshotFolder)"
        // Where there are no snapshots there is nothing to remove; what cannot be removed now stays for the next.
        for name in (try? files.list(folder)) ?? [] {
            let facts = try? files.attributes(of: "\(folder)/\(name)/\(ArchiveFormat.facts)")
            if let made = facts?.modified, made < moment {
                try? remove(name, directory: directory, files: files)
            }
        }
    }

    /// Removes a stage; what is no stage's name is refused.
    public static func remove(_ name: String, directory: String, files: any FileSystem) throws(FileError) {
        let path = "\(directory)/\(SeriesStore.snapshotFolder)/\(name)"
        guard !name.contains("/"), !name.hasPrefix("."),
            try files.attributes(of: "\(path)/\(ArchiveFormat.facts)") != nil
        else { throw FileError(operation: "open", path: path, code: 2) }
        try files.removeTree(path)
    }

    /// Puts a stage into an archive; what is half made is removed. Answers its size.
    public static func archive(
        _ stage: String, as path: String, passphrase: [UInt8]?, files: any FileSystem, clock: any TimeSource
    ) throws(ArchiveError) -> Int {
        var writer = try ArchiveWriter(path, files, passphrase: passphrase, at: clock.now())
        do throws(ArchiveError) {
            let facts: [UInt8]
            do throws(FileError) {
                facts = try files.contents(of: "\(stage)/\(ArchiveFormat.facts)")
            } catch {
                throw .file(error)
            }
            try writer.add(facts, as: ArchiveFormat.facts)
            try writer.add(folder: stage, prefix: ArchiveFormat.data, except: [ArchiveFormat.facts])
            return try writer.finish()
        } catch {
            ArchiveWriter.abandon(path, files)
            throw error
        }
    }
}
