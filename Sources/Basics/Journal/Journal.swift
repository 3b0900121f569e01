internal import Synchronization

/// Small state that must survive everything: a table of tables, each commit of which is on the disk when it returns.
///
/// Two files, `a.journal` and `b.journal`, take turns. The active one begins with a snapshot of all entries; commits
/// follow it, one checksummed record each. When it is full, and at every opening, the other file takes a fresh snapshot
/// and becomes active. Both have their space reserved when the journal is made, so that a full disk stops neither a
/// commit nor a turn while the state fits. Checksums are seeded with the file's turn: what is left of an earlier turn
/// never passes for a record of this one.
///
/// A commit that the disk refuses is kept in memory and written with the next that succeeds (as a fresh snapshot), and
/// the answer says so: a page is not held back by a broken disk.
public final class Journal: Sendable {
    /// `table` → `key` → bytes.
    public typealias Tables = [String: [String: [UInt8]]]

    /// What opening found.
    public struct Recovery: Hashable, Sendable {
        /// Records applied after the snapshot.
        public var records = 0
        /// Bytes of a last record that was cut short by a crash: it was never acknowledged.
        public var tornBytes = 0
        /// Places where an acknowledged record was damaged and intact ones follow it.
        public var damagedRecords = 0
    }

    /// Figures to show.
    public struct Figures: Hashable, Sendable {
        /// Commits, commits kept in memory alone, turns.
        public var commits = 0, failures = 0, turns = 0
        /// Bytes used in the active file, and of them the snapshot.
        public var usedBytes = 0, snapshotBytes = 0
        /// Whether some change is in memory alone.
        public var isVolatile = false
    }

    struct State: ~Copyable {
        var tables: Tables = [:]
        var files: [any File]
        var active = 0
        var turn: UInt64 = 0
        var end = 0
        var figures = Figures()
    }

    private let state: Mutex<State>
    private let minimumBytes: Int
    /// What opening found.
    public let recovery: Recovery

    /// Opens the journal in `directory`, which is made when missing, and takes a fresh turn.
    ///
    /// - Parameter reservedBytes: Space reserved for each of the two files at the least.
    public init(directory: String, files: any FileSystem, reservedBytes: Int = 4 << 20) throws(FileError) {
        try files.createDirectory(directory)
        var opened: [any File] = []
        for name in ["a.journal", "b.journal"] { opened.append(try files.open("\(directory)/\(name)", .readWrite)) }
        var state = State(files: opened)
        var best: (content: JournalContent, index: Int)?
        for (index, file) in opened.enumerated() {
            guard let content = JournalContent(reading: try file.read(at: 0, count: try file.size())) else { continue }
            if content.turn > best?.content.turn ?? 0 { best = (content, index) }
        }
        if let best {
            (state.tables, state.turn, state.active) = (best.content.tables, best.content.turn, best.index)
        }
        recovery = best?.content.recovery ?? Recovery()
        minimumBytes = reservedBytes
        for file in opened { try file.preallocate(to: reservedBytes) }
        try Journal.turn(&state, minimumBytes: reservedBytes)
        try files.synchronize(directory: directory)
        self.state = Mutex(state)
    }

    /// The entries of a table.
    public func entries(of table: String) -> [String: [UInt8]] { state.withLock { $0.tables[table] ?? [:] } }

    /// Figures to show.
    public var figures: Figures { state.withLock { $0.figures } }

    /// Applies all changes and returns once they are on the disk, or says why they are in memory alone. After a crash
    /// all of them are there or none. Cost: one write and one `fdatasync`.
    public func commit(_ changes: [(table: String, key: String, value: [UInt8]?)]) -> FileError? {
        state.withLock { state in
            for change in changes { state.tables[change.table, default: [:]][change.key] = change.value }
            state.figures.commits += 1
            do throws(FileError) {
                if state.figures.isVolatile {
                    try Journal.turn(&state, minimumBytes: minimumBytes)
                } else {
                    try Journal.write(changes, to: &state, minimumBytes: minimumBytes)
                }
                state.figures.isVolatile = false
                return nil
            } catch {
                // What the file holds behind `end` is unknown now: the next success starts the other file afresh.
                state.figures.isVolatile = true
                state.figures.failures += 1
                return error
            }
        }
    }

    private static func write(
        _ changes: [(table: String, key: String, value: [UInt8]?)], to state: inout State, minimumBytes: Int
    ) throws(FileError) {
        let count = changes.reduce(0) {
            $0 + JournalEncoder.count(table: $1.table, key: $1.key, value: $1.value)
        }
        let end = state.end + JournalContent.recordHeaderCount + count
        if end > max(minimumBytes, 2 * state.figures.snapshotBytes) {
            return try turn(&state, minimumBytes: minimumBytes)
        }
        var encoder = JournalEncoder(payloadBytes: count)
        for change in changes { encoder.add(table: change.table, key: change.key, value: change.value) }
        let record = encoder.record(kind: .changes, turn: state.turn)
        let file = state.files[state.active]
        try unsafe file.write(record.span.bytes, at: state.end)
        try file.synchronize()
        state.end += record.count
        state.figures.usedBytes = state.end
    }

    /// Writes a snapshot of all entries to the other file and makes that one the active one.
    private static func turn(_ state: inout State, minimumBytes: Int) throws(FileError) {
        let next = 1 - state.active
        let file = state.files[next]
        let turn = state.turn + 1
        var count = 0
        for (table, entries) in state.tables {
            for (key, value) in entries { count += JournalEncoder.count(table: table, key: key, value: value) }
        }
        // The order of the entries means nothing.
        var encoder = JournalEncoder(after: JournalContent.header(turn: turn), payloadBytes: count)
        for (table, entries) in state.tables {
            for (key, value) in entries { encoder.add(table: table, key: key, value: value) }
        }
        let content = encoder.record(kind: .snapshot, turn: turn)
        if 2 * content.count > minimumBytes { try file.preallocate(to: 2 * content.count) }
        try unsafe file.write(content.span.bytes, at: 0)
        try file.synchronize()
        (state.active, state.turn, state.end) = (next, turn, content.count)
        state.figures.turns += 1
        (state.figures.usedBytes, state.figures.snapshotBytes) = (content.count, content.count)
    }
}
