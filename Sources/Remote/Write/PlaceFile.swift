internal import Basics
internal import Model

/// Where the shards of one remote store are, in a file of two slots that are written in turn, each with one `write`:
/// what a kill leaves half written is known by its checksum, and the other slot counts.
///
///     slot = mark u32 | turn u64 | shards u32 | each: done, under way | crc u32 of all before
///     place = segment u64 | offset u64 | index u64; a segment of all ones: none
///
/// Nothing is synced: after a loss of power the place may be an older one, and samples since then are sent again.
struct PlaceFile {
    private static let mark: UInt32 = 0x3152_5756
    private static let slotBytes = 64 << 10
    private static let placeLimit = (slotBytes - 20) / 48

    private let file: any File
    private var turn: UInt64 = 0
    private var bytes: [UInt8] = []
    /// What was kept when it was opened; empty: nothing.
    private(set) var places: [ShardPlace] = []

    /// Opens the file, which is made when it is missing.
    init(path: String, files: any FileSystem) throws(FileError) {
        file = try files.open(path, .readWrite)
        for slot in 0..<2 {
            let bytes = try file.read(at: slot * PlaceFile.slotBytes, count: PlaceFile.slotBytes)
            guard let (turn, places) = PlaceFile.read(bytes), turn >= self.turn else { continue }
            (self.turn, self.places) = (turn, places)
        }
    }

    /// Keeps how far the shards are.
    mutating func write(_ places: [ShardPlace]) throws(FileError) {
        precondition(places.count <= PlaceFile.placeLimit)
        turn += 1
        bytes.removeAll(keepingCapacity: true)
        bytes.appendLittleEndian(PlaceFile.mark)
        bytes.appendLittleEndian(turn)
        bytes.appendLittleEndian(UInt32(places.count))
        for place in places {
            append(place.done)
            append(place.underWay)
        }
        bytes.appendLittleEndian(CRC32C.of(bytes))
        try unsafe file.write(bytes.span.bytes, at: Int(turn % 2) * PlaceFile.slotBytes)
    }

    private mutating func append(_ mark: LogMark?) {
        bytes.appendLittleEndian(mark.map { UInt64($0.position.segment) } ?? .max)
        bytes.appendLittleEndian(UInt64(mark?.position.offset ?? 0))
        bytes.appendLittleEndian(UInt64(mark?.index ?? 0))
    }

    private static func read(_ bytes: [UInt8]) -> (turn: UInt64, places: [ShardPlace])? {
        guard bytes.count >= 20, bytes.littleEndian(at: 0, as: UInt32.self) == mark else { return nil }
        let count = Int(bytes.littleEndian(at: 12, as: UInt32.self))
        let end = 16 + 48 * count
        guard (1...placeLimit).contains(count), bytes.count >= end + 4,
            bytes.littleEndian(at: end, as: UInt32.self) == CRC32C.of(Array(bytes[..<end]))
        else { return nil }
        func place(at offset: Int) -> LogMark? {
            let numbers = (0..<3).map { bytes.littleEndian(at: offset + 8 * $0, as: UInt64.self) }
            guard let segment = Int(exactly: numbers[0]), let place = Int(exactly: numbers[1]),
                let index = Int(exactly: numbers[2])
            else { return nil }
            return LogMark(position: LogPosition(segment: segment, offset: place), index: index)
        }
        var places: [ShardPlace] = []
        for number in 0..<count {
            guard let done = place(at: 16 + 48 * number) else { return nil }
            places.append(ShardPlace(done: done, underWay: place(at: 40 + 48 * number)))
        }
        return (bytes.littleEndian(at: 4, as: UInt64.self), places)
    }
}
