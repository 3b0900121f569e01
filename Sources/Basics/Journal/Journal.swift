internal import Synchronization

/// Small state that must survive everything: a table of tables, each commit of which is on the disk when it returns.
///
/// Two files, `a.journal` and `b.journal`, take turns. The active one begins with a snapshot of all entries; commits
/// follow it, one checksummed record each. When it is full, and at every opening, the other file takes a fresh snapshot
/// and becomes active. Both have their space reserved when the journal is made, so that a full disk stops neither a
/// commit nor a turn while the state fits. Checksums are seeded with the file's turn: what is left of an earlier turn
/// never passes for a record of this one.
///
/// In memory is only where each value stands in the active file, and its checksum; a turn copies the values from file
/// to file. One that is not what was written is left out and counted: the rest is not to be lost for it.
///
/// A commit that the disk refuses is kept in memory and written with the next that succeeds (as a fresh snapshot), and
/// the answer says so: a page is not held back by a broken disk. A turn that cannot read what it copies is such a
/// commit, and the active file stays.
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
        /// Values that the active file did not give back as they were written.
        public var lostEntries = 0
        /// Bytes used in the active file, and of them the snapshot.
        public var usedBytes = 0, snapshotBytes = 0
        /// Whether some change is in memory alone.
        public var isVolatile = false
    }

    struct State: ~Copyable {
        var index: JournalIndex = [:]
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
            (state.index, state.turn, state.active) = (best.content.index, best.content.turn, best.index)
        }
        recovery = best?.content.recovery ?? Recovery()
        minimumBytes = reservedBytes
        for file in opened { try file.preallocate(to: reservedBytes) }
        try Journal.turn(&state, minimumBytes: reservedBytes)
        try files.synchronize(directory: directory)
        self.state = Mutex(state)
    }

    /// The entries of a table, read from the file; those that it does not give back are left out and counted.
    public func entries(of table: String) -> [String: [UInt8]] {
        state.withLock { state in
            var reader = JournalReader(state.files[state.active])
            var found: [String: [UInt8]] = [:]
            let entries = JournalEntry.all([table: state.index[table] ?? [:]])
            found.reserveCapacity(entries.count)
            for entry in entries {
                // Of what the disk refuses nothing is lost yet: the file has it, should it be read again.
                if let value = try? reader.value(entry.slot), value.isIntact {
                    found[entry.key] = Array(value.bytes)
                } else {
                    state.figures.lostEntries += 1
                }
            }
            return found
        }
    }

    /// Writes a journal of the same entries into another directory, as they are at one moment. Takes their size in
    /// memory.
    public func copy(to directory: String, _ files: any FileSystem) throws(FileError) {
        let copied = state.withLock { state -> Result<[(table: String, key: String, value: [UInt8]?)], FileError> in
            var reader = JournalReader(state.files[state.active])
            do throws(FileError) {
                var changes: [(table: String, key: String, value: [UInt8]?)] = []
                for entry in JournalEntry.all(state.index) {
                    let value = try reader.value(entry.slot)
                    if value.isIntact { changes.append((entry.table, entry.key, Array(value.bytes))) }
                }
                return .success(changes)
            } catch {
                return .failure(error)
            }
        }
        let fresh = try Journal(directory: directory, files: files, reservedBytes: 64 << 10)
        if let error = fresh.commit(try copied.get()) { throw error }
    }

    /// Figures to show.
    public var figures: Figures { state.withLock { $0.figures } }

    /// Applies all changes and returns once they are on the disk, or says why they are in memory alone. After a crash
    /// all of them are there or none. Cost: one write and one `fdatasync`.
    public func commit(_ changes: [(table: String, key: String, value: [UInt8]?)]) -> FileError? {
        state.withLock { state in
            state.figures.commits += 1
            do throws(FileError) {
                var isWritten = false
                if !state.figures.isVolatile {
                    isWritten = try Journal.write(changes, to: &state, minimumBytes: minimumBytes)
                }
                if !isWritten {
                    Journal.keep(changes, in: &state)
                    try Journal.turn(&state, minimumBytes: minimumBytes)
                }
                state.figures.isVolatile = false
                return nil
            } catch {
                // What the file holds behind `end` is unknown now: the next success starts the other file afresh.
                Journal.keep(changes, in: &state)
                state.figures.isVolatile = true
                state.figures.failures += 1
                return error
            }
        }
    }

    /// Keeps changes in memory until the next turn.
    private static func keep(
        _ changes: [(table: String, key: String, value: [UInt8]?)], in state: inout State
    ) {
        for change in changes { state.index[change.table, default: [:]][change.key] = change.value.map { .memory($0) } }
    }

    /// Appends a record to the active file; false when it has no room.
    private static func write(
        _ changes: [(table: String, key: String, value: [UInt8]?)], to state: inout State, minimumBytes: Int
    ) throws(FileError) -> Bool {
        let count = changes.reduce(0) {
            $0 + JournalEncoder.count(table: $1.table, key: $1.key, value: $1.value)
        }
        let end = state.end + JournalContent.recordHeaderCount + count
        guard end <= min(max(minimumBytes, 2 * state.figures.snapshotBytes), JournalPlace.fileLimit) else {
            return false
        }
        var encoder = JournalEncoder(payloadBytes: count)
        for change in changes { encoder.add(table: change.table, key: change.key, value: change.value) }
        let record = encoder.record(kind: .changes, turn: state.turn)
        let file = state.files[state.active]
        try unsafe file.write(record.span.bytes, at: state.end)
        try file.synchronize()
        var offset = state.end + JournalContent.recordHeaderCount
        for change in changes {
            let count = JournalEncoder.count(table: change.table, key: change.key, value: change.value)
            offset += count
            state.index[change.table, default: [:]][change.key] = change.value.map { value in
                .file(JournalPlace(offset: offset - value.count, value.span))
            }
        }
        state.end += record.count
        state.figures.usedBytes = state.end
        return true
    }

    /// Copies all entries to the other file, as its snapshot, and makes that one the active one. O(1) in memory but for
    /// the new places.
    private static func turn(_ state: inout State, minimumBytes: Int) throws(FileError) {
        let next = 1 - state.active
        let turn = state.turn + 1
        var entries = JournalEntry.all(state.index)
        while true {
            var writer = JournalSnapshotWriter(
                state.files[next], turn: turn, payloadBytes: entries.reduce(0) { $0 + $1.count })
            try writer.reserve(minimumBytes)
            var reader = JournalReader(state.files[state.active])
            var damaged: Set<Int> = []
            var places: [JournalPlace] = []
            places.reserveCapacity(entries.count)
            for (number, entry) in entries.enumerated() {
                let value = try reader.value(entry.slot)
                if !value.isIntact { damaged.insert(number) }
                places.append(try writer.add(entry, value.bytes))
            }
            guard damaged.isEmpty else {
                // Its length was told ahead of it, so the snapshot is begun again without them.
                for number in damaged { state.index[entries[number].table]?[entries[number].key] = nil }
                state.figures.lostEntries += damaged.count
                entries = JournalEntry.all(state.index)
                continue
            }
            let end = try writer.finish()
            // Made anew, the tables give back the room of what is gone.
            var index: JournalIndex = [:]
            for (table, slots) in state.index { index[table] = Dictionary(minimumCapacity: slots.count) }
            state.index = [:]
            for (entry, place) in zip(entries, places) { index[entry.table]?[entry.key] = .file(place) }
            (state.index, state.active, state.turn, state.end) = (index, next, turn, end)
            state.figures.turns += 1
            (state.figures.usedBytes, state.figures.snapshotBytes) = (end, end)
            return
        }
    }
}
