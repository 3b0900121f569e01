import Basics
import Foundation
import Statistics
import TestSupport
import Testing

/// The laws themselves: known values, and what simulation finds by seed.
@Suite struct DriftLawTests {
    @Test(
        "special functions at known points",
        arguments: [
            (SpecialFunctions.lnGamma(0.5), 0.572_364_942_924_700_1),
            (SpecialFunctions.lnGamma(100), 359.134_205_369_575_4),
            (SpecialFunctions.lnGamma(1e-10), 23.025_850_929_882_735),
            (SpecialFunctions.upperGamma(1, 3), 0.049_787_068_367_863_944),
            (SpecialFunctions.upperGamma(0.5, 2), 0.045_500_263_896_358_41),
            (SpecialFunctions.chiSquareSurvival(16.918_977_604_620_448, degreesOfFreedom: 9), 0.05),
            (SpecialFunctions.chiSquareSurvival(1000, degreesOfFreedom: 9), 1.724_068_118_922_440_5e-209),
            (SpecialFunctions.normalSurvival(6), 9.865_876_450_376_98e-10),
            (KolmogorovSmirnov.limit(1.358_098_639_322_999_4), 0.05),
            (KolmogorovSmirnov.limit(0.5), 0.963_945_243_664_875_1),
        ])
    func known(value: Double, expected: Double) {
        #expect(abs(value - expected) <= 1e-11 * abs(expected), "\(value) is not \(expected)")
    }

    @Test("at its edges a function says so and does not fail") func edges() {
        #expect(SpecialFunctions.lnGamma(0).isNaN && SpecialFunctions.upperGamma(-1, 1).isNaN)
        #expect(SpecialFunctions.upperGamma(3, 0) == 1 && SpecialFunctions.upperGamma(3, .infinity) == 0)
        #expect(SpecialFunctions.chiSquareSurvival(5, degreesOfFreedom: 0) == 1)
        #expect(KolmogorovSmirnov.distance([], [1]).isNaN && Wasserstein.distance([1], []).isNaN)
        #expect(KolmogorovSmirnov.probability(.nan, 10, 10).value.isNaN)
        let empty = Cells(reference: [0, 0], current: [3, 4])
        #expect(empty.psi().isNaN && empty.jensenShannon.isNaN && empty.chiSquare.statistic.isNaN)
        #expect(Bins(quantilesOf: []).edges.isEmpty && quantile(0.5, of: []).isNaN)
        let one = Cells(reference: [300], current: [200])
        #expect(one.psi() == 0 && one.psiProbability(0) == 1 && one.chiSquare.cramersV == 0)
    }

    @Test("exact and limit law of Kolmogorov-Smirnov come together with the size, and the switch is by cost")
    func laws() {
        let (n, m) = (4000, 3001)
        let exact = KolmogorovSmirnov.probability(0.04, n, m, steps: .max)
        let limit = KolmogorovSmirnov.probability(0.04, n, m, steps: 0)
        #expect(exact.law == .exact && limit.law == .limit)
        #expect(abs(exact.value - limit.value) < 0.05 * exact.value, "\(exact) \(limit)")
        #expect(KolmogorovSmirnov.probability(0.01, 9_000_000, 7_000_001).law == .limit)
        #expect(KolmogorovSmirnov.probability(0.01, 9_000_000_000_000, 7_000_000_000_001).value < 1e-9)
    }

    @Test("Benjamini and Hochberg as statsmodels has them; NaN is not counted") func falseDiscovery() throws {
        #expect(FalseDiscovery.adjusted([0.03, .nan, 0.01])[2] == 0.02)
        guard let url = Peers.file("ml/experiments/multiple_testing.json") else { return }
        let json = try JSON(parsing: Peers.bytes(url))
        let p = (json["p"]?.array ?? []).compactMap(\.number)
        let expected = (json["fdr_bh"]?.array ?? []).compactMap(\.number)
        #expect(p.count == 10 && expected.count == 10)
        for (ours, theirs) in zip(FalseDiscovery.adjusted(p), expected) { #expect(abs(ours - theirs) < 1e-12) }
        #expect(FalseDiscovery.adjusted(p.reversed()).reversed().elementsEqual(FalseDiscovery.adjusted(p)))
    }

    @Test("without drift PSI has its law's mean and tail, as the peers' simulation has", arguments: [200, 500])
    func nullLaw(size: Int) throws {
        let seed: UInt64 = 20_261_120
        var random = SeededRandom(seed: seed)
        let runs = 600
        var (sum, over, contingency, tail) = (0.0, 0, 0, 0)
        for _ in 0..<runs {
            func sample() -> [Double] { (0..<size).map { _ in Double.random(in: 0..<1, using: &random) }.sorted() }
            let (reference, current) = (sample(), sample())
            let bins = Bins(quantilesOf: reference)
            let cells = Cells(reference: bins.counts(reference), current: bins.counts(current))
            let psi = cells.psi()
            sum += psi
            if psi > 0.1 { over += 1 }
            if cells.psiProbability(psi) <= 0.05 { tail += 1 }
            if cells.chiSquare.probability <= 0.05 { contingency += 1 }
        }
        let mean = sum / Double(runs)
        #expect(abs(mean - 9 * 2 / Double(size)) < 0.06 * mean, "seed \(seed): mean \(mean)")
        // 0.05 within three standard errors and a little, since the law is an approximation.
        #expect(Double(tail) / Double(runs) < 0.085 && tail > 12, "seed \(seed): \(tail) of \(runs)")
        #expect(Double(contingency) / Double(runs) < 0.085 && contingency > 12, "seed \(seed): \(contingency)")
        guard let url = Peers.file("ml/drift/null_behaviour.json") else { return }
        let peers = try JSON(parsing: Peers.bytes(url))["psi_deciles_null_n\(size)_m\(size)"]
        let share = peers?["share_over_0_1"]?.number ?? 1
        #expect(abs(Double(over) / Double(runs) - share) < 0.06, "seed \(seed): \(over) of \(runs), \(share)")
    }

    @Test(
        "distances are 0 for equal sides, grow with a shift, and are symmetric where they should be", arguments: 1...20)
    func properties(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        func sample(_ count: Int, _ shift: Double) -> [Double] {
            (0..<count).map { _ in Double.random(in: 0..<1, using: &random) + shift }.sorted()
        }
        let (a, b) = (sample(300, 0), sample(200, 0.3))
        #expect(KolmogorovSmirnov.distance(a, a) == 0 && Wasserstein.distance(a, a) == 0)
        #expect(KolmogorovSmirnov.distance(a, b) == KolmogorovSmirnov.distance(b, a))
        #expect(abs(Wasserstein.distance(a, b) - Wasserstein.distance(b, a)) < 1e-12)
        let shifted = a.map { $0 + 2 }
        #expect(abs(Wasserstein.distance(a, shifted) - 2) < 1e-9 && KolmogorovSmirnov.distance(a, shifted) == 1)
        let counts = (0..<12).map { _ in (Double(Int.random(in: 0..<40, using: &random))) }
        let others = (0..<12).map { _ in (Double(Int.random(in: 0..<40, using: &random))) }
        let cells = Cells(reference: counts, current: others)
        let swapped = Cells(reference: others, current: counts)
        #expect(abs(cells.psi() - swapped.psi()) < 1e-12 && cells.psi() >= 0)
        #expect(abs(cells.jensenShannon - swapped.jensenShannon) < 1e-12 && cells.jensenShannon <= 1)
        #expect(Cells(reference: counts, current: counts).psi() == 0)
        for inOrder in [true, false] {
            let pooled = cells.pooled(inOrder: inOrder)
            #expect(abs(pooled.referenceTotal - cells.referenceTotal) < 1e-9)
            #expect(pooled.chiSquare.minimumExpected >= 5 - 1e-9 && pooled.occupied <= cells.occupied)
        }
        // What lies between bucket edges can only hide distance, never add it.
        let edges = [0.2, 0.4, 0.6, 0.8, 1.0]
        func counted(_ values: [Double]) -> [Double] {
            var counts = [Double](repeating: 0, count: edges.count + 1)
            for value in values { counts[edges.firstIndex { value <= $0 } ?? edges.count] += 1 }
            return counts
        }
        let binned = Cells(reference: counted(a), current: counted(b))
        #expect(binned.cumulativeDistance <= KolmogorovSmirnov.distance(a, b) + 1e-12)
    }

    @Test("a histogram's Wasserstein distance is that of its picture") func picture() {
        // All mass in [0, 1] against all in [1, 2]: moved by one; the deviation of a uniform law.
        let (moved, deviation) = Wasserstein.distance(
            Cells(reference: [10, 0, 0], current: [0, 10, 0]), edges: [1, 2])
        #expect(abs(moved - 1) < 1e-12 && abs(deviation - (1.0 / 12).squareRoot()) < 1e-12)
        // Half of the mass from [0, 1] to beyond the last bound, taken to lie on it: 0.5 x (2 - 0.5).
        let (far, _) = Wasserstein.distance(Cells(reference: [10, 0, 0], current: [5, 0, 5]), edges: [1, 2])
        #expect(abs(far - 0.75) < 1e-12)
    }
}
