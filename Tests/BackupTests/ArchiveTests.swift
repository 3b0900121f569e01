import Basics
import Model
import Storage
import TestSupport
import Testing

@testable import Backup

@Suite("Archives") struct ArchiveTests {
    private static let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_700_006_400_000))

    /// A stage as a backup has it: a block, a large file, an empty one.
    private func stage(_ files: MemoryFiles) throws {
        try files.createDirectory("s/journal")
        let blocks = try BlockImport(into: "s", files: files, clock: ArchiveTests.clock)
        for second in 0..<600 {
            try blocks.add(
                ["__name__": "m", "n": "\(second % 7)"],
                Timestamp(milliseconds: 1_700_006_400_000 + Int64(second) * 1000),
                Double(second))
        }
        _ = try blocks.finish()
        try files.removeTree("s/imports")
        var random = SeededRandom(seed: 7)
        let large = (0..<140_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        for (name, bytes) in [
            ("journal/a.journal", large), ("empty", []),
            ("vedette-backup.json", Array(#"{"version":1,"made":"now","database":"none"}"#.utf8)),
        ] {
            let file = try files.open("s/\(name)", .create)
            try unsafe file.write(bytes.span.bytes, at: 0)
        }
    }

    private func make(_ files: MemoryFiles, _ passphrase: String?, as name: String = "b") throws -> Int {
        try BackupStage.archive(
            "s", as: name, passphrase: passphrase.map { Array($0.utf8) }, files: files, clock: ArchiveTests.clock)
    }

    @Test("what is archived is restored, byte for byte", arguments: [nil, "a passphrase"])
    func round(passphrase: String?) throws {
        let files = MemoryFiles()
        try stage(files)
        let size = try make(files, passphrase)
        #expect(try files.attributes(of: "b")?.size == size)
        let archive = try Archive("b", files, passphrase: passphrase.map { Array($0.utf8) })
        let report = try archive.verify()
        #expect(report.blocks == 1 && report.samples == 600 && report.files > 5)
        _ = try archive.restore(to: "r", files)
        let wanted = try files.tree("s").filter { $0 != "vedette-backup.json" }
        #expect(try files.tree("r") == wanted)
        for name in wanted { #expect(try files.contents(of: "r/\(name)") == files.contents(of: "s/\(name)")) }
        #expect(throws: ArchiveError.refused("r: is not empty; name a directory that is, or is not there")) {
            try archive.restore(to: "r", files)
        }
    }

    @Test("an empty directory that is there is filled and not exchanged: it may be another disk") func intoEmpty()
        throws
    {
        let files = MemoryFiles()
        try stage(files)
        _ = try make(files, nil)
        let archive = try Archive("b", files, passphrase: nil)
        let wanted = try files.tree("s").filter { $0 != "vedette-backup.json" }
        try files.createDirectory("mount")
        files.setFailure { operation, path in operation == "remove" && path == "mount" ? 16 : nil }
        _ = try archive.restore(to: "mount", files)
        #expect(try files.tree("mount") == wanted)
        _ = try archive.restore(to: "new/", files)
        #expect(try files.tree("new") == wanted)
    }

    @Test("a flipped bit and a cut are found with their place", arguments: [nil, "a passphrase"])
    func damage(passphrase: String?) throws {
        let files = MemoryFiles()
        try stage(files)
        let size = try make(files, passphrase)
        let whole = try files.contents(of: "b")
        var random = SeededRandom(seed: 11)
        for round in 0..<24 {
            var bytes = whole
            var cut = false
            let place: Int
            if round % 3 == 0 {
                // A tar archive's last kilobyte is zeros.
                place = Int.random(in: 0..<size - 1100, using: &random)
                bytes.removeLast(size - place)
                cut = true
            } else {
                place = Int.random(in: 0..<size, using: &random)
                bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
            let copy = MemoryFiles()
            try copy.createDirectory("")
            let file = try copy.open("b", .create)
            try unsafe file.write(bytes.span.bytes, at: 0)
            let seen: String?
            do throws(ArchiveError) {
                let archive = try Archive("b", copy, passphrase: passphrase.map { Array($0.utf8) })
                _ = try archive.verify()
                seen = nil
            } catch {
                seen = "\(error)"
                #expect(error.isDamage || passphrase != nil && place < 48, "seed 11, round \(round): \(error)")
            }
            // What pads a file to 512 bytes is nobody's; all else is.
            let isPadding = passphrase == nil && !cut && whole[place] == 0
            #expect(seen != nil || isPadding, "seed 11, round \(round): byte \(place)")
            if seen != nil, !(passphrase != nil && place < 48) {
                #expect(throws: ArchiveError.self) {
                    try Archive("b", copy, passphrase: passphrase.map { Array($0.utf8) }).restore(to: "r", copy)
                }
                #expect(try copy.attributes(of: "r") == nil && copy.attributes(of: "r.restoring") == nil)
            }
        }
    }

    @Test("a sealed archive does not open without its passphrase") func passphrases() throws {
        let files = MemoryFiles()
        try stage(files)
        _ = try make(files, "right")
        #expect(throws: ArchiveError.closed(file: "b", reason: "the passphrase is not the one that it was sealed with"))
        {
            try Archive("b", files, passphrase: Array("wrong".utf8))
        }
        #expect(throws: ArchiveError.self) { try Archive("b", files, passphrase: nil) }
        _ = try make(files, nil, as: "open")
        // One that is not sealed is not taken for the one that was.
        #expect(throws: ArchiveError.self) { try Archive("open", files, passphrase: Array("right".utf8)) }
    }

    @Test("a full disk leaves no half archive") func fullDisk() throws {
        let files = MemoryFiles()
        try stage(files)
        files.setFreeBytes(100_000)
        #expect(throws: ArchiveError.file(FileError(operation: "write", path: "b.part", code: 28))) {
            try make(files, nil)
        }
        #expect(try files.attributes(of: "b") == nil && files.attributes(of: "b.part") == nil)
    }
}

@Suite("OpenMetrics as blocks") struct OpenMetricsImportTests {
    private func read(_ text: String, piece: Int) throws -> ImportReport {
        let blocks = try BlockImport(
            into: "d", files: MemoryFiles(),
            clock: SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_700_006_400_000)))
        var reader = OpenMetricsImport(into: blocks)
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: piece) {
            try reader.read(Array(bytes[start..<min(bytes.count, start + piece)]))
        }
        try reader.end()
        return try blocks.finish()
    }

    @Test("pieces may end anywhere", arguments: [1, 7, 1000]) func pieces(piece: Int) throws {
        let text = """
            # TYPE a counter
            a_total{x="1"} 1 1700000000
            a_total{x="1"} 2 1700000060.5
            a_total{x="2"} 1 1700000000 # {id="4"} 1
            # HELP b Of b.
            b 1e3 1700100000
            # EOF

            """
        let report = try read(text, piece: piece)
        #expect(report.samples == 4 && report.blocks == 2)
    }

    @Test(
        "a mistake has its line and column",
        arguments: [
            ("a 1\n# EOF\n", "1:4: a sample without a timestamp; give its seconds behind the value"),
            ("a 1 1\na 2 1\n# EOF\n", "2:4: a series' times do not rise; sort its samples by time, each time once"),
            ("a 1 1\n", "2:1: the text does not end with # EOF; it is cut short, or the line is to be added"),
            (
                "a 1 1\nb 1 1\na 1 2\n# EOF\n",
                "3:1: the lines of 'a' do not stand together; put them one behind the other"
            ),
            ("a 1 1700000000000\n# EOF\n", "1:4: a timestamp after the year 9999; timestamps are in seconds"),
            ("a{ 1 1\n# EOF\n", "1:3: a label's name is expected"),
            ("# EOF\na 1 1\n", "2:1: text behind # EOF; take it away"),
        ])
    func mistakes(text: String, message: String) throws {
        var found = ""
        do { _ = try read(text, piece: 3) } catch { found = "\(error)" }
        #expect(found == message)
    }
}
