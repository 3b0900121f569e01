import Basics
import Testing

@testable import Storage

@Suite struct KnownSeriesTests {
    @Test("references near and far, of several generations and writers, mean what was entered last")
    func againstDictionary() {
        for seed in UInt64(0)..<20 {
            var random = SeededRandom(seed: seed)
            var known = KnownSeries(reach: 64)
            var expected: [UInt64: Int] = [:]
            func reference() -> UInt64 {
                let slots: UInt64 = [40, 300, 3000, 1 << 32].randomElement(using: &random)!
                let generations: UInt64 = [1, 3, 260, 1 << 32].randomElement(using: &random)!
                return UInt64.random(in: 0..<generations, using: &random) << 32
                    | UInt64.random(in: 0..<slots, using: &random)
            }
            for slot in 0..<3000 {
                let one = reference()
                known.enter(one, slot: slot)
                expected[one] = slot
                let other = Bool.random(using: &random) ? reference() : expected.keys.randomElement(using: &random)!
                #expect(known[other] == expected[other], "seed \(seed), reference \(other)")
            }
            var all: [UInt64: Int] = [:]
            known.forEach { reference, slot in all[reference] = slot }
            #expect(all == expected, "seed \(seed)")
        }
    }
}
