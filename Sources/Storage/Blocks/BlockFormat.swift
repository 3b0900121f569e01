internal import Basics

/// A block: the samples of a span of time, never changed again, in a folder named by its ULID.
///
///     meta.json        who it is: times, counts, from which blocks it was made
///     index            symbols, series, postings; see `IndexWriter`
///     chunks/000001…   segments of XOR chunks, 512 MiB at the most: length uvarint | encoding u8 | data | crc u32
///     tombstones       deleted times: series uvarint, first varint, last varint, …
///
/// Numbers are big-endian, varints as Go's `encoding/binary`, codes CRC-32C.
///
/// - SeeAlso: Prometheus, `tsdb/docs/format`.
enum BlockFormat {
    static let indexMagic: UInt32 = 0xBAAA_D700
    static let indexVersion: UInt8 = 2
    static let chunksMagic: UInt32 = 0x85BD_40DD
    static let tombstonesMagic: UInt32 = 0x0130_BA30
    static let headChunksMagic: UInt32 = 0x0130_BC91
    /// Of a file of chunks, of a block's or the head's.
    static let headerBytes = 8
    static let chunkSegmentBytes = 512 << 20
    /// Where the sections of an index begin stands in its last bytes: six offsets and their code.
    static let contentsBytes = 6 * 8 + 4
    /// Entries of the sorted tables between two that are kept in memory.
    static let sparseness = 32

    /// Kinds of chunks; the others hold native histograms.
    static let xor: UInt8 = 1

    /// Folders that are being made or removed; whoever finds one at the start removes it.
    static let unfinished = ".tmp-for-creation", doomed = ".tmp-for-deletion"

    static func segmentName(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 6 - digits.count)) + digits
    }
}

/// Why a block cannot be read: what is wrong, in which file, where.
struct BlockDefect: Error, Hashable {
    /// A file of the block, and the offset in it.
    var file: String
    var offset: Int
    var reason: String
    /// Whether the disk does not give the file, and may give it again; what is in it may be sound.
    var isPassing = false

    init(_ file: String, at offset: Int = 0, _ reason: String) {
        (self.file, self.offset, self.reason) = (file, offset, reason)
    }

    init(_ error: FileError) {
        self.init(error.path, "cannot \(error.operation): \(error.reason)")
        isPassing = true
    }

    var text: String { offset == 0 ? "\(file): \(reason)" : "\(file): byte \(offset): \(reason)" }
}

/// A block's name: a moment and randomness, in 26 letters that sort by the moment.
///
/// - SeeAlso: the ULID specification, github.com/ulid/spec.
struct ULID: Hashable, Comparable {
    let text: String

    /// Of a block that has no name yet.
    static let none = ULID(at: 0)

    private init(at moment: Int64) {
        var zero = Zeros()
        self.init(at: moment, random: &zero)
    }

    private struct Zeros: RandomNumberGenerator { mutating func next() -> UInt64 { 0 } }

    private static let letters = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

    init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 26, bytes[0] <= UInt8(ascii: "7"), bytes.allSatisfy(ULID.letters.contains) else {
            return nil
        }
        self.text = text
    }

    /// 48 bits of milliseconds, 80 of randomness.
    init(at moment: Int64, random: inout some RandomNumberGenerator) {
        var letters: [UInt8] = []
        let time = UInt64(max(0, moment))
        for place in (0..<10).reversed() { letters.append(ULID.letters[Int(time >> UInt64(5 * place) & 31)]) }
        for _ in 0..<16 { letters.append(ULID.letters[Int(random.next() & 31)]) }
        text = String(decoding: letters, as: UTF8.self)
    }

    static func < (left: ULID, right: ULID) -> Bool { left.text < right.text }
}

/// A block's `meta.json`.
struct BlockMeta: Hashable {
    struct Parent: Hashable {
        var ulid: ULID
        var minTime: Int64, maxTime: Int64
    }

    var ulid: ULID
    /// Half-open: `minTime` to before `maxTime`.
    var minTime: Int64, maxTime: Int64
    var samples = 0, series = 0, chunks = 0, tombstones = 0
    var level = 1
    /// The level-1 blocks that it holds, sorted.
    var sources: [ULID] = []
    /// The blocks that it was made of; whichever of them is still there is to go.
    var parents: [Parent] = []
    /// Whether a compaction left nothing of it, so that it may go.
    var isDeletable = false
    /// Samples that came late, or from elsewhere: that the head has nothing before its end does not follow from it.
    var isOutOfOrder = false
    /// Of blocks with samples of this store's head: up to where the head was cut. What the log has before that is in
    /// blocks.
    var headCut: Int64?

    static let outOfOrderHint = "from-out-of-order"

    init(ulid: ULID, minTime: Int64, maxTime: Int64) {
        (self.ulid, self.minTime, self.maxTime, sources) = (ulid, minTime, maxTime, [ulid])
    }

    /// Reads `meta.json`.
    init(parsing bytes: [UInt8], file: String) throws(BlockDefect) {
        let json: JSON
        do { json = try JSON(parsing: bytes) } catch { throw BlockDefect(file, "is no JSON: \(error)") }
        func integer(_ value: JSON?) -> Int64? { value?.number.flatMap { Int64(exactly: $0) } }
        guard let version = integer(json["version"]) else { throw BlockDefect(file, "tells no version") }
        guard version == 1 else {
            throw BlockDefect(file, "version \(version) is not known; a newer version of its writer reads it")
        }
        guard let ulid = json["ulid"]?.string.flatMap(ULID.init), let minTime = integer(json["minTime"]),
            let maxTime = integer(json["maxTime"]), minTime <= maxTime, Head.times.contains(minTime),
            Head.times.contains(maxTime)
        else { throw BlockDefect(file, "does not tell ulid, minTime and maxTime") }
        self.init(ulid: ulid, minTime: minTime, maxTime: maxTime)
        func count(_ name: String) -> Int { integer(json["stats"]?[name]).flatMap(Int.init(exactly:)) ?? 0 }
        (samples, series) = (count("numSamples"), count("numSeries"))
        (chunks, tombstones) = (count("numChunks"), count("numTombstones"))
        let compaction = json["compaction"]
        level = integer(compaction?["level"]).flatMap(Int.init(exactly:)) ?? 1
        if let listed = compaction?["sources"]?.array { sources = listed.compactMap { $0.string.flatMap(ULID.init) } }
        parents = (compaction?["parents"]?.array ?? []).compactMap { parent in
            guard let ulid = parent["ulid"]?.string.flatMap(ULID.init) else { return nil }
            return Parent(
                ulid: ulid, minTime: integer(parent["minTime"]) ?? minTime,
                maxTime: integer(parent["maxTime"]) ?? maxTime)
        }
        isDeletable = compaction?["deletable"]?.bool ?? false
        isOutOfOrder = compaction?["hints"]?.array?.contains { $0.string == BlockMeta.outOfOrderHint } ?? false
        headCut = integer(json["vedette"]?["headCut"])
    }

    var json: JSON {
        func count(_ number: Int) -> JSON { .number(Double(number)) }
        func time(_ moment: Int64) -> JSON { .number(Double(moment)) }
        var stats: [JSON.Member] = [
            .init("numSamples", count(samples)), .init("numSeries", count(series)), .init("numChunks", count(chunks)),
        ]
        if tombstones > 0 { stats.append(.init("numTombstones", count(tombstones))) }
        var compaction: [JSON.Member] = [
            .init("level", count(level)), .init("sources", .array(sources.map { .string($0.text) })),
        ]
        if !parents.isEmpty {
            let listed = parents.map { parent -> JSON in
                [
                    "ulid": .string(parent.ulid.text), "minTime": time(parent.minTime),
                    "maxTime": time(parent.maxTime),
                ]
            }
            compaction.append(.init("parents", .array(listed)))
        }
        if isDeletable { compaction.append(.init("deletable", .bool(true))) }
        if isOutOfOrder { compaction.append(.init("hints", .array([.string(BlockMeta.outOfOrderHint)]))) }
        var whole: [JSON.Member] = [
            .init("ulid", .string(ulid.text)), .init("minTime", time(minTime)), .init("maxTime", time(maxTime)),
            .init("stats", .object(stats)), .init("compaction", .object(compaction)), .init("version", .number(1)),
        ]
        // A section of our own, as Thanos has one: readers pass over what they do not know.
        if let headCut { whole.append(.init("vedette", ["headCut": time(headCut)])) }
        return .object(whole)
    }
}
