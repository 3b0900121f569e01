import Basics
import Glibc
import Model
import TestSupport
import Testing

@Suite struct JournalTests {
    /// A workload that rewrites, deletes and grows, long enough for several turns of a small journal.
    private func change(_ number: Int) -> [StateChange] {
        var changes = [
            StateChange(table: "t\(number % 3)", key: "k\(number % 7)", value: Array("value \(number)".utf8))
        ]
        if number % 4 == 3 { changes.append(StateChange(table: "t0", key: "k\(number % 5)", value: nil)) }
        if number % 5 == 4 {
            changes.append(StateChange(table: "long", key: "k", value: Array(repeating: 7, count: number)))
        }
        return changes
    }

    private func state(after count: Int) -> Journal.Tables {
        var tables: Journal.Tables = [:]
        for number in 0..<count {
            for change in change(number) { tables[change.table, default: [:]][change.key] = change.value }
        }
        return tables
    }

    private func tables(of journal: Journal) -> Journal.Tables {
        Dictionary(uniqueKeysWithValues: ["t0", "t1", "t2", "long"].map { ($0, journal.entries(of: $0)) }).filter {
            !$0.value.isEmpty
        }
    }

    private func open(_ files: MemoryFiles) throws -> Journal {
        try Journal(directory: "j", files: files, reservedBytes: 600)
    }

    @Test(
        "a crash at every byte, with a torn write, loses nothing acknowledged and applies each commit whole or not at all"
    )
    func crashAtEveryByte() throws {
        let commits = 24
        let rehearsal = MemoryFiles()
        let journal = try open(rehearsal)
        let opening = rehearsal.writtenBytes
        for number in 0..<commits { #expect(journal.commit(change(number)) == .durable) }
        #expect(journal.figures.turns > 2)
        let total = rehearsal.writtenBytes
        var random = SeededRandom(seed: 42)
        for byte in 0...(total - opening) {
            let files = MemoryFiles()
            let journal = try open(files)
            files.crash(afterBytes: byte)
            var acknowledged = 0
            for number in 0..<commits {
                guard journal.commit(change(number)) == .durable else { break }
                acknowledged = number + 1
            }
            for survivors in [files.afterKill(), files.afterPowerLoss(random: &random)] {
                let found = tables(of: try open(survivors))
                let whole = found == state(after: acknowledged) || found == state(after: min(commits, acknowledged + 1))
                #expect(whole, "crash after \(byte) bytes, \(acknowledged) acknowledged")
            }
        }
    }

    @Test("a crash at every byte of the opening itself loses nothing") func crashWhileOpening() throws {
        let files = MemoryFiles()
        let journal = try open(files)
        for number in 0..<9 { journal.commit(change(number)) }
        let before = files.writtenBytes
        _ = try open(files.afterKill())
        for byte in 0..<400 where byte < before {
            let again = files.afterKill()
            again.crash(afterBytes: byte)
            _ = try? open(again)  // It fails when the crash falls within; what matters is what the next one finds.
            #expect(tables(of: try open(again.afterKill())) == state(after: 9), "crash after \(byte) bytes")
        }
    }

    @Test("a full disk stops no commit while the state fits the reserved space") func fullDisk() throws {
        let files = MemoryFiles()
        let journal = try Journal(directory: "j", files: files, reservedBytes: 4096)
        files.setFreeBytes(0)
        for number in 0..<500 { #expect(journal.commit(change(number % 20)) == .durable) }
        #expect(
            tables(of: try Journal(directory: "j", files: files.afterKill(), reservedBytes: 4096))
                == tables(of: journal))
    }

    @Test("what a broken disk refuses is kept, told, and written when the disk is back") func brokenDisk() throws {
        let files = MemoryFiles()
        let journal = try open(files)
        journal.commit(change(0))
        files.setFailure { operation, _ in operation == "sync" ? EIO : nil }
        guard case .volatile(let reason) = journal.commit(change(1)) else {
            throw FileError(operation: "", path: "", code: 0)
        }
        #expect(reason.hasSuffix(".journal: Input/output error"))
        #expect(tables(of: journal) == state(after: 2))
        files.setFailure(nil)
        #expect(journal.commit(change(2)) == .durable)
        #expect(tables(of: try open(files.afterKill())) == state(after: 3))
        #expect(journal.figures.failures == 1)
    }

    @Test("a damaged record is told and does not hide those behind it") func damage() throws {
        let files = MemoryFiles()
        let journal = try Journal(directory: "j", files: files, reservedBytes: 4096)
        for number in 0..<6 { journal.commit([StateChange(table: "t", key: "\(number)", value: [1])]) }
        files.flipBit(of: "j/b.journal", at: 32 + 25 + 14)  // In the second record's payload.
        let again = try Journal(directory: "j", files: files.afterKill(), reservedBytes: 4096)
        #expect(again.recovery.damagedRecords == 1)
        #expect(again.entries(of: "t").count == 5)
    }

    @Test("more than one piece is copied from file to file, and read again") func large() throws {
        let files = MemoryFiles()
        let journal = try Journal(directory: "j", files: files, reservedBytes: 4096)
        var expected: [String: [UInt8]] = [:]
        for round in 0..<3 {
            let changes = (0..<1500).map { number in
                StateChange(
                    table: "t", key: "\(number)",
                    value: number % 7 == round ? nil : Array("\(round)".utf8) + [UInt8](repeating: 1, count: number))
            }
            for change in changes { expected[change.key] = change.value }
            #expect(journal.commit(changes) == .durable)
        }
        #expect(
            journal.commit([StateChange(table: "t", key: "x", value: [UInt8](repeating: 2, count: 900_000))])
                == .durable)
        expected["x"] = [UInt8](repeating: 2, count: 900_000)
        #expect(journal.entries(of: "t") == expected)
        #expect(journal.figures.turns > 1)
        for _ in 0..<2 {
            let again = try Journal(directory: "j", files: files.afterKill(), reservedBytes: 4096)
            #expect(again.entries(of: "t") == expected)
        }
    }

    @Test("a value that the file does not give back is left out and counted; the rest outlives it") func rot() throws {
        let files = MemoryFiles()
        let journal = try Journal(directory: "j", files: files, reservedBytes: 600)
        for number in 0..<3 {
            journal.commit([StateChange(table: "t", key: "\(number)", value: Array(repeating: 9, count: 20))])
        }
        // An empty snapshot, and the second record's value: after its head, two texts of a byte and three lengths.
        files.flipBit(of: "j/b.journal", at: 32 + (12 + 34) + 12 + 14 + 5)
        #expect(journal.entries(of: "t").keys.sorted() == ["0", "2"])
        #expect(journal.figures.lostEntries == 1)
        let turns = journal.figures.turns
        while journal.figures.turns == turns {
            #expect(journal.commit([StateChange(table: "t", key: "x", value: [1])]) == .durable)
        }
        #expect(journal.entries(of: "t").keys.sorted() == ["0", "2", "x"])
        #expect(journal.figures.lostEntries == 2)
        let again = try Journal(directory: "j", files: files.afterKill(), reservedBytes: 600)
        #expect(again.entries(of: "t") == journal.entries(of: "t"))
        #expect(again.recovery.damagedRecords == 0 && again.recovery.tornBytes == 0)
    }

    @Test("a turn that cannot read what it copies loses nothing: the file stays, and the answer says so")
    func unreadable() throws {
        let files = MemoryFiles()
        let journal = try open(files)
        journal.commit(change(0))
        files.setFailure { operation, _ in operation == "read" ? EIO : nil }
        var count = 1
        var answers: Set<Durability> = []
        while !journal.figures.isVolatile {
            answers = [journal.commit(change(count))]
            count += 1
        }
        answers.insert(journal.commit(change(count)))
        count += 1
        #expect(answers == [.volatile(reason: "read j/b.journal: Input/output error")])
        files.setFailure(nil)
        #expect(tables(of: journal) == state(after: count))
        // What was acknowledged is in the file that stayed.
        #expect(tables(of: try open(files.afterKill())) == state(after: count - 2))
        #expect(journal.commit(change(count)) == .durable)
        #expect(tables(of: try open(files.afterKill())) == state(after: count + 1))
        #expect(journal.figures.failures == 2 && journal.figures.lostEntries == 0)
    }
}
