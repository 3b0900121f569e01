import Basics
import Foundation
import Statistics
import TestSupport
import Testing

/// Against the values of scipy and numpy over 25 pairs of samples.
@Suite struct DriftPeerTests {
    struct Pair {
        var id: String
        var reference: [JSON], current: [JSON]
        var expected: JSON

        /// The finite numbers, ascending.
        func numbers(_ values: [JSON]) -> [Double] { values.compactMap(\.number).filter(\.isFinite).sorted() }
        var sides: ([Double], [Double]) { (numbers(reference), numbers(current)) }
    }

    static let pairs: [Pair] = {
        guard let folder = Peers.folder("ml"),
            let pairs = try? JSON(parsing: Peers.bytes(folder.appendingPathComponent("drift/pairs.json"))),
            let expected = try? JSON(parsing: Peers.bytes(folder.appendingPathComponent("drift/expected.json")))
        else {
            print("drift: skipped (no folder shared/peers beside the repository, and no VEDETTE_PEERS)")
            return []
        }
        return (pairs.array ?? []).map { pair in
            let id = pair["id"]?.string ?? ""
            return Pair(
                id: id, reference: pair["reference"]?.array ?? [], current: pair["current"]?.array ?? [],
                expected: expected["cases"]?[id]?["scipy"] ?? .null)
        }
    }()

    private func expectClose(
        _ value: Double, _ expected: JSON?, _ what: String, relative: Double = 1e-9,
        location: Testing.SourceLocation = #_sourceLocation
    ) {
        guard let expected = expected?.number else {
            Issue.record("no value for \(what)", sourceLocation: location)
            return
        }
        #expect(
            abs(value - expected) <= max(relative * abs(expected), 1e-12), "\(what): \(value) is not \(expected)",
            sourceLocation: location)
    }

    @Test("Kolmogorov-Smirnov and Wasserstein") func distances() {
        var checked = 0
        for pair in DriftPeerTests.pairs where pair.expected["ks"]?["statistic"]?.number != nil {
            let (reference, current) = pair.sides
            let ks = pair.expected["ks"]
            let distance = KolmogorovSmirnov.distance(reference, current)
            expectClose(distance, ks?["statistic"], "\(pair.id) D")
            let probability = KolmogorovSmirnov.probability(distance, reference.count, current.count)
            #expect(probability.law == .exact, "\(pair.id)")
            if let exact = ks?["p_exact"], exact.number != nil {
                let bar = max(1e-6 * (exact.number ?? 0), 1e-300)
                #expect(abs(probability.value - (exact.number ?? 0)) <= bar, "\(pair.id): \(probability) \(exact)")
            }
            let root = (Double(reference.count) * Double(current.count) / Double(reference.count + current.count))
                .squareRoot()
            expectClose(
                KolmogorovSmirnov.limit(distance * root), ks?["p_kolmogorov_limit"], "\(pair.id) limit", relative: 1e-6)
            let moved = Wasserstein.distance(reference, current)
            expectClose(moved, pair.expected["wasserstein"]?["w1"], "\(pair.id) W1")
            if let scaled = pair.expected["wasserstein"]?["w1_over_std"], scaled.number != nil {
                expectClose(
                    Wasserstein.standardised(moved, deviation: moments(reference).deviation), scaled,
                    "\(pair.id) W1 / sd")
            }
            checked += 1
        }
        #expect(checked == 19 || DriftPeerTests.pairs.isEmpty, "\(checked)")
    }

    @Test("PSI and Jensen-Shannon over deciles of the reference") func deciles() {
        var checked = 0
        for pair in DriftPeerTests.pairs {
            guard let expected = pair.expected["binned"]?["ref_deciles"], let counts = expected["ref_counts"]?.array
            else { continue }
            let (reference, current) = pair.sides
            let bins = Bins(quantilesOf: reference)
            let cells = Cells(reference: bins.counts(reference), current: bins.counts(current))
            #expect(cells.reference == counts.compactMap(\.number), "\(pair.id)")
            #expect(cells.current == (expected["cur_counts"]?.array ?? []).compactMap(\.number), "\(pair.id)")
            #expect(bins.edges == (expected["interior_edges"]?.array ?? []).compactMap(\.number), "\(pair.id)")
            expectClose(cells.psi(), expected["psi_eps1e4"], "\(pair.id) PSI")
            expectClose(cells.psi(epsilon: 1e-6), expected["psi_eps1e6"], "\(pair.id) PSI 1e-6")
            expectClose(cells.jensenShannon, expected["js_distance_base2"], "\(pair.id) JS")
            checked += 1
        }
        #expect(checked >= 19 || DriftPeerTests.pairs.isEmpty, "\(checked)")
    }

    @Test("categories: the contingency test, Cramer's V, PSI and Jensen-Shannon") func categories() {
        var checked = 0
        for pair in DriftPeerTests.pairs {
            guard let expected = pair.expected["categorical"], let counts = expected["ref_counts"]?.array else {
                continue
            }
            let cells = Cells(
                reference: counts.compactMap(\.number),
                current: (expected["cur_counts"]?.array ?? []).compactMap(\.number))
            expectClose(cells.psi(), expected["psi_eps1e4"], "\(pair.id) PSI")
            expectClose(cells.jensenShannon, expected["js_distance_base2"], "\(pair.id) JS")
            guard let test = expected["chi2_contingency"], test["statistic"]?.number != nil else { continue }
            let ours = cells.chiSquare
            expectClose(ours.statistic, test["statistic"], "\(pair.id) chi-square")
            expectClose(ours.probability, test["p"], "\(pair.id) p", relative: 1e-6)
            expectClose(ours.minimumExpected, test["min_expected"], "\(pair.id) expected")
            #expect(ours.degreesOfFreedom == test["dof"]?.integer, "\(pair.id)")
            if let effect = expected["cramers_v"], effect.number != nil {
                expectClose(ours.cramersV, effect, "\(pair.id) V")
            }
            checked += 1
        }
        #expect(checked >= 6 || DriftPeerTests.pairs.isEmpty, "\(checked)")
    }
}
