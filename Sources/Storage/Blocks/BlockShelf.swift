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
        var random: SystemRandomNumberGenerator
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
        var aside: [SetAsideBlock] = []
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
    }

    /// Opens what was put into the directory since, by an import or by hand, and forgets what was taken out of it. A
    /// folder that is not whole yet is tried again the next time. Not for two threads at once.
    func reload() throws(FileError) {
        let names = Set(try files.list(directory).filter { ULID($0) != nil })
        let (known, defective) = (blocks, state.withLock { $0.defective })
        var opened = known.filter { names.contains($0.directory.lastPathPart) }
        var aside = setAside.filter { defective.contains($0.name) && names.contains($0.name) }
        let fresh = names.subtracting(known.map(\.directory.lastPathPart)).subtracting(defective)
        guard opened.count < known.count || !fresh.isEmpty || aside.count < setAside.count else { return }
        for name in fresh.sorted() { load(name, &opened, &aside, checks: true) }
        place(opened, aside)
    }

    private func load(
        _ name: String, _ opened: inout [Block], _ aside: inout [SetAsideBlock], checks: Bool
    ) {
        guard ULID(name) != nil else { return }
        do throws(BlockDefect) {
            let block = try Block(directory: "\(directory)/\(name)", files: files)
            // What is being copied may lack its index yet.
            if checks { _ = try block.index }
            opened.append(block)
        } catch {
            aside.append(SetAsideBlock(name: name, reason: error.text))
        }
    }

    private func place(_ found: [Block], _ aside: [SetAsideBlock]) {
        // A crash between a block and the removal of what it was made of leaves both.
        let parents = Set(found.flatMap { $0.meta.parents.map(\.ulid) })
        for block in found where parents.contains(block.meta.ulid) { try? doom(block) }
        let blocks = found.filter { !parents.contains($0.meta.ulid) }
            .sorted { ($0.meta.minTime, $0.meta.ulid) < ($1.meta.minTime, $1.meta.ulid) }
        state.withLock { ($0.blocks, $0.aside) = (blocks, aside) }
    }

    /// The blocks that are served, by their first time.
    var blocks: [Block] {
        state.withLock { state in
            let broken = state.blocks.filter { $0.defect != nil }
            if !broken.isEmpty {
                state.aside += broken.map { SetAsideBlock(name: $0.meta.ulid.text, reason: $0.defect?.text ?? "") }
                state.defective.formUnion(broken.map(\.meta.ulid.text))
                state.blocks.removeAll { $0.defect != nil }
            }
            return state.blocks
        }
    }

    var setAside: [SetAsideBlock] {
        _ = blocks
        return state.withLock { $0.aside }
    }

    /// Up to where the head was cut in earlier runs; nil: never. Where no block of ours tells it, as Prometheus has it:
    /// the end of what came in order.
    var headCut: Int64? {
        let metas = blocks.map(\.meta)
        return metas.compactMap(\.headCut).max() ?? metas.filter { !$0.isOutOfOrder }.map(\.maxTime).max()
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
            try files.synchronize(directory: directory)
        } catch {
            throw BlockDefect(error)
        }
        let block = try Block(directory: final, files: files)
        // What takes the place of others must be readable first.
        _ = try block.index
        exchange(old, for: [block])
    }

    /// Removes blocks; what cannot be removed now goes at the next start, for it is a parent, or by its age.
    func remove(_ old: [Block]) { exchange(old, for: []) }

    private func exchange(_ old: [Block], for fresh: [Block]) {
        let gone = Set(old.map(\.meta.ulid))
        state.withLock { state in
            state.blocks.removeAll { gone.contains($0.meta.ulid) }
            state.blocks += fresh
            state.blocks.sort { ($0.meta.minTime, $0.meta.ulid) < ($1.meta.minTime, $1.meta.ulid) }
        }
        for block in old { try? doom(block) }
    }

    private func doom(_ block: Block) throws(FileError) {
        let path = block.directory + BlockFormat.doomed
        try files.rename(block.directory, to: path)
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
