import Basics
import Foundation
import Model
import TestSupport
import Testing

@testable import Storage

/// Logs, chunks and indexes broken at random: whatever is in them, opening and reading ends, in bounded memory, with
/// what is whole, and with a sentence about what is not.
@Suite("Broken storage") struct BlockFuzzTests {
    /// A disk with blocks, stored chunks, a log, late samples and deletions.
    private func disk() throws -> (files: MemoryFiles, expected: [Labels: [Int64: Double]]) {
        let files = MemoryFiles()
        var expected: [Labels: [Int64: Double]] = [:]
        let store = try BlockTests.open(files, BlockTests.clock(at: BlockTests.start)) { $0.lateWindow = 7_200_000 }
        BlockTests.fill(store, series: 4, from: BlockTests.start, hours: 7, step: 120_000, into: &expected)
        try store.delete(
            [Matcher("number", .equal, "3")], from: Timestamp(milliseconds: BlockTests.start),
            through: Timestamp(milliseconds: BlockTests.start + 600_000))
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        batch.append(
            try #require(store.reference(of: BlockTests.labels(0))), 1, at: BlockTests.start + 6 * 3_600_000 + 1)
        _ = store.append(batch)
        store.maintain()
        return (files, expected)
    }

    private func paths(_ files: MemoryFiles, below folder: String) throws -> [String] {
        try files.list(folder).flatMap { name -> [String] in
            let path = "\(folder)/\(name)"
            let found = try files.attributes(of: path)
            if found?.isDirectory ?? false { return try paths(files, below: path) }
            return (found?.size ?? 0) > 0 ? [path] : []
        }
    }

    private func readAll(_ store: SeriesStore) throws {
        let wide = (Timestamp(milliseconds: 0), Timestamp(milliseconds: .max / 2))
        _ = try? store.select(
            [Matcher("__name__", .matches, ".+")], after: wide.0, through: wide.1, reading: .all, limits: ReadLimits())
        _ = try? store.select(
            [Matcher("job", .notEqual, "odd")], after: wide.0, through: wide.1, reading: .newest, limits: ReadLimits())
        _ = try? store.series([], from: wide.0, through: wide.1)
        _ = try? store.labelNames([], from: wide.0, through: wide.1)
        _ = try? store.labelValues("number", [], from: wide.0, through: wide.1)
        store.maintain()
        _ = try? store.cleanTombstones()
    }

    @Test("bits flipped, bytes cut and bytes put in") func breaking() throws {
        let environment = ProcessInfo.processInfo.environment
        let rounds = environment["VEDETTE_FUZZ"].flatMap(Int.init).map { $0 * 20 } ?? 150
        let seed = environment["VEDETTE_FUZZ_SEED"].flatMap(UInt64.init) ?? 1
        let (whole, _) = try disk()
        let paths = try paths(whole, below: "d").filter { $0 != "d/lock" }
        #expect(paths.contains { $0.hasSuffix("index") } && paths.contains { $0.contains("chunks_head/") })
        for round in 0..<UInt64(rounds) {
            var random = SeededRandom(seed: seed &+ round)
            let files = whole.afterKill()
            for _ in 0..<1 + random.next() % 3 {
                let path = paths[Int(random.next() % UInt64(paths.count))]
                let file = try files.open(path, .readWrite)
                let size = try file.size()
                guard size > 0 else { continue }
                let offset = Int(random.next() % UInt64(size))
                switch random.next() % 4 {
                case 0: try file.truncate(to: offset)
                case 1:
                    let noise = (0..<1 + random.next() % 32).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                    try unsafe file.write(noise.span.bytes, at: offset)
                default: files.flipBit(of: path, at: offset)
                }
            }
            let clock = BlockTests.clock(at: BlockTests.start)
            // What is refused is told; what is opened answers.
            guard let store = try? BlockTests.open(files, clock) else { continue }
            try readAll(store)
            _ = try BlockTests.all(store)
            #expect(store.setAside.allSatisfy { $0.reason.contains($0.name) }, "seed \(seed &+ round)")
        }
    }

    @Test("one flipped bit in a block sets that block aside, or nothing; the others are whole")
    func oneBlock() throws {
        let (whole, expected) = try disk()
        let store = try BlockTests.open(whole.afterKill(), BlockTests.clock(at: BlockTests.start))
        let block = try #require(store.shelf.blocks.first)
        let span = block.meta.minTime..<block.meta.maxTime
        let sound = try BlockTests.all(store)
        #expect(sound.count == expected.count)
        for path in try paths(whole, below: block.directory) {
            let size = try whole.attributes(of: path)?.size ?? 0
            for offset in stride(from: 0, to: size, by: max(1, size / 60)) {
                let files = whole.afterKill()
                files.flipBit(of: path, at: offset)
                let broken = try BlockTests.open(files, BlockTests.clock(at: BlockTests.start))
                let found = try BlockTests.all(broken)
                for (labels, samples) in sound {
                    let outside = samples.filter { !span.contains($0.key) }
                    let here = (found[labels] ?? [:]).filter { !span.contains($0.key) }
                    #expect(here == outside, "\(path) at byte \(offset)")
                    // A sample that is shown is one that was stored.
                    for (time, value) in found[labels] ?? [:] where !path.hasSuffix("meta.json") {
                        #expect(samples[time] == value || path.hasSuffix("tombstones"), "\(path) at byte \(offset)")
                    }
                }
                if found != sound, !path.hasSuffix("meta.json") {
                    #expect(broken.setAside.map(\.name) == [block.meta.ulid.text], "\(path) at byte \(offset)")
                }
            }
        }
    }

    @Test("a block of a newer version is set aside with its name and the reason") func newer() throws {
        let (whole, _) = try disk()
        let store = try BlockTests.open(whole.afterKill(), BlockTests.clock(at: BlockTests.start))
        let block = try #require(store.shelf.blocks.first)
        let files = whole.afterKill()
        let path = "\(block.directory)/meta.json"
        let text = String(decoding: try files.contents(of: path), as: UTF8.self)
        files.put(path, text.replacing(#""version":1"#, with: #""version":2"#))
        let again = try BlockTests.open(files, BlockTests.clock(at: BlockTests.start))
        #expect(
            again.setAside == [
                SetAsideBlock(
                    name: block.meta.ulid.text,
                    reason: "\(path): version 2 is not known; a newer version of its writer reads it")
            ])
        #expect(again.shelf.blocks.count == store.shelf.blocks.count - 1)
    }
}
