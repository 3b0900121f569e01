internal import Basics
internal import Model
internal import Synchronization

/// A block that is not served, and why.
public struct SetAsideBlock: Sendable, Hashable {
    /// The folder's name, a ULID as a rule.
    public var name: String
    /// What is wrong with it: file, byte, reason.
    public var reason: String
}

/// The blocks of a data directory: those that are served, those that were set aside.
final class BlockShelf: Sendable {
    private struct State {
        var blocks: [Block] = []
        var aside: [SetAsideBlock] = []
        /// Those of them that were served, until something wrong was found in them: they stay aside in this run.
        var defective: Set<String> = []
        /// Those of them that the disk does not give: they are served again as soon as it does.
        var away: Set<String> = []
        var random: SystemRandomNumberGenerator
        /// Up to where the head was cut, as a file beside the log tells where no block does.
        var mark: Int64?
    }
    let directory: String
    let files: any FileSystem
    private let clock: any TimeSource
    private let state = Mutex(State(random: SystemRandomNumberGenerator()))

    init(directory: String, files: any FileSystem, clock: any TimeSource) {
        (self.directory, self.files, self.clock) = (directory, files, clock)
    }

    /// Opens every block of the directory, and removes what an earlier run left half made or half removed.
    func open() throws(FileError) {
        var opened: [Block] = []
        var aside: [(block: SetAsideBlock, isAway: Bool)] = []
        for name in try files.list(directory) {
            let path = "\(directory)/\(name)"
            if name.hasSuffix(BlockFormat.unfinished) || name.hasSuffix(BlockFormat.doomed)
                || name.hasSuffix(".tmp") && ULID(String(name.dropLast(4))) != nil
            {
                // On a disk that only reads it stays, and does no harm.
                try? files.removeTree(path)
                continue
            }
            load(name, &opened, &aside, checks: false)
        }
        place(opened, aside)
        // Links in half a snapshot would keep blocks on the disk.
        let snapshots = "\(directory)/\(SeriesStore.snapshotFolder)"
        if try files.attributes(of: snapshots) != nil {
            for name in try files.list(snapshots) where name.hasSuffix(BlockFormat.unfinished) {
                try? files.removeTree("\(snapshots)/\(name)")
            }
        }
        if try files.attributes(of: markPath) != nil {
            let text = String(decoding: try files.contents(of: markPath), as: UTF8.self)
            state.withLock { $0.mark = Int64(text.prefix { $0 != "\n" }) }
        }
    }

    /// Opens what was put into the directory since, by an import or by hand, and forgets what was taken out of it. A
    /// folder that is not whole yet is tried again the next time, and so is a block that the disk did not give. Not for
    /// two threads at once.
    func reload() throws(FileError) {
        let names = Set(try files.list(directory).filter { ULID($0) != nil })
        let (known, defective) = (blocks, state.withLock { $0.defective })
        var opened = known.filter { names.contains($0.directory.lastPathPart) }
        var aside = setAside.filter { defective.contains($0.name) && names.contains($0.name) }
            .map { (block: $0, isAway: false) }
        let fresh = names.subtracting(known.map(\.directory.lastPathPart)).subtracting(defective)
        guard opened.count < known.count || !fresh.isEmpty || aside.count < setAside.count else { return }
        for name in fresh.sorted() { load(name, &opened, &aside, checks: true) }
        place(opened, aside)
    }

    private func load(
        _ name: String, _ opened: inout [Block], _ aside: inout [(block: SetAsideBlock, isAway: Bool)], checks: Bool
    ) {
        guard ULID(name) != nil else { return }
        do throws(BlockDefect) {
            let block = try Block(directory: "\(directory)/\(name)", files: files)
            // What is being copied may lack its index yet.
            if checks { _ = try block.index }
            opened.append(block)
        } catch {
            aside.append((SetAsideBlock(name: name, reason: error.text), error.isPassing))
        }
    }

    private func place(_ found: [Block], _ aside: [(block: SetAsideBlock, isAway: Bool)]) {
        // A crash between a block and the removal of what it was made of leaves both. What takes the place of others
        // must be readable.
        let there = Set(found.map(\.meta.ulid))
        let heirs = found.filter { block in
            guard block.meta.parents.contains(where: { there.contains($0.ulid) }) else { return false }
            do throws(BlockDefect) { _ = try block.index } catch { block.report(error) }
            return block.defect == nil
        }
        let parents = Set(heirs.flatMap { $0.meta.parents.map(\.ulid) })
        for block in found where parents.contains(block.meta.ulid) { try? doom(block.directory) }
        let blocks = found.filter { !parents.contains($0.meta.ulid) }
            .sorted { ($0.meta.minTime, $0.meta.ulid) < ($1.meta.minTime, $1.meta.ulid) }
        state.withLock { state in
            (state.blocks, state.aside) = (blocks, aside.map(\.block))
            state.away = Set(aside.filter(\.isAway).map(\.block.name))
        }
    }

    /// The blocks that are served, by their first time.
    var blocks: [Block] {
        state.withLock { state in
            let broken = state.blocks.filter { $0.defect != nil }
            if !broken.isEmpty {
                state.aside += broken.map { SetAsideBlock(name: $0.meta.ulid.text, reason: $0.defect?.text ?? "") }
                let away = broken.filter { $0.defect?.isPassing ?? false }.map(\.meta.ulid.text)
                state.away.formUnion(away)
                state.defective.formUnion(Set(broken.map(\.meta.ulid.text)).subtracting(away))
                state.blocks.removeAll { $0.defect != nil }
            }
            return state.blocks
        }
    }

    var setAside: [SetAsideBlock] {
        _ = blocks
        return state.withLock { $0.aside }
    }

    /// A block that the disk does not give; nil: there is none.
    var away: SetAsideBlock? {
        _ = blocks
        return state.withLock { state in state.aside.first { state.away.contains($0.name) } }
    }

    /// Up to where the head was cut in earlier runs; nil: never. Where no block of ours tells it, as Prometheus has it:
    /// the end of what came in order.
    var headCut: Int64? { headCut(of: blocks.map(\.meta)) }

    private func headCut(of metas: [BlockMeta]) -> Int64? {
        let told = metas.compactMap(\.headCut).max() ?? metas.filter { !$0.isOutOfOrder }.map(\.maxTime).max()
        return [told, state.withLock { $0.mark }].compactMap { $0 }.max()
    }

    private var markPath: String { "\(directory)/wal/cut" }

    /// Keeps up to where the head was cut for the next start. Blocks tell it; but one that is removed does not, nor one
    /// that would be empty, and then the log would bring back what was deleted.
    func mark(_ cut: Int64) throws(FileError) {
        try files.replace(markPath, with: Array("\(cut)\n".utf8))
        state.withLock { $0.mark = cut }
    }

    // MARK: Making and removing

    /// A name for a block.
    func name() -> ULID {
        let now = clock.now().milliseconds
        return state.withLock { ULID(at: now, random: &$0.random) }
    }

    /// A name for a block, and the folder in which to make it.
    func draft() throws(FileError) -> (ulid: ULID, path: String) {
        let ulid = name()
        let path = "\(directory)/\(ulid.text)\(BlockFormat.unfinished)"
        if try files.attributes(of: path) != nil { try files.removeTree(path) }
        return (ulid, path)
    }

    /// Gives a block that is written its name, serves it, and removes those that it takes the place of.
    func publish(_ meta: BlockMeta, from path: String, replacing old: [Block] = []) throws(BlockDefect) {
        let final = "\(directory)/\(meta.ulid.text)"
        do throws(FileError) {
            try files.rename(path, to: final)
        } catch {
            throw BlockDefect(error)
        }
        do throws(BlockDefect) {
            do throws(FileError) { try files.synchronize(directory: directory) } catch { throw BlockDefect(error) }
            let block = try Block(directory: final, files: files)
            // What takes the place of others must be readable first.
            _ = try block.index
            exchange(old, for: [block])
        } catch {
            // It is written anew; what is deleted meanwhile must not come back with it.
            try? doom(final)
            throw error
        }
    }

    /// Removes blocks; what cannot be removed now goes at the next start, for it is a parent, or by its age.
    func remove(_ old: [Block]) throws(BlockDefect) {
        let gone = Set(old.map(\.meta.ulid))
        let left = headCut(of: blocks.map(\.meta).filter { !gone.contains($0.ulid) })
        if let cut = headCut, left.map({ $0 < cut }) ?? true {
            do throws(FileError) { try mark(cut) } catch { throw BlockDefect(error) }
        }
        exchange(old, for: [])
    }

    private func exchange(_ old: [Block], for fresh: [Block]) {
        let gone = Set(old.map(\.meta.ulid))
        state.withLock { state in
            state.blocks.removeAll { gone.contains($0.meta.ulid) }
            state.blocks += fresh
            state.blocks.sort { ($0.meta.minTime, $0.meta.ulid) < ($1.meta.minTime, $1.meta.ulid) }
        }
        for block in old { try? doom(block.directory) }
    }

    private func doom(_ folder: String) throws(FileError) {
        let path = folder + BlockFormat.doomed
        if try files.attributes(of: path) != nil { try files.removeTree(path) }
        try files.rename(folder, to: path)
        try files.removeTree(path)
    }
}

extension FileSystem {
    /// The bytes of all files below a path; 0 where there is none.
    func treeBytes(_ path: String) throws(FileError) -> Int {
        guard let found = try attributes(of: path) else { return 0 }
        guard found.isDirectory else { return found.size }
        var bytes = 0
        for name in try list(path) { bytes += try treeBytes("\(path)/\(name)") }
        return bytes
    }
}
