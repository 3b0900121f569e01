import Basics
import Glibc
import TestSupport
import Testing

@testable import Statistics

/// Agreement with scikit-learn, on the data and figures beside the repository.
@Suite struct LogisticPeerTests {
    static let features = [
        "days_since_signup", "login_count", "feature_usage", "plan_tier", "last_login_days_ago", "session_duration",
        "api_calls",
    ]

    struct Data {
        var rows = LabelledRows(width: 7)
        var train: [Int] = []
        var test: [Int] = []
        var folds: [Int] = []
    }

    func load() throws -> (Data, JSON)? {
        guard let csv = Peers.file("ml/classifier/churn.csv"),
            let expected = Peers.file("ml/classifier/expected_logistic.json")
        else { return nil }
        let lines = try Peers.text(csv).split(separator: "\n").map { $0.split(separator: ",").map(String.init) }
        let place = Dictionary(uniqueKeysWithValues: lines[0].enumerated().map { ($1, $0) })
        let tiers = ["free": 0.0, "basic": 1, "pro": 2, "enterprise": 3]
        var data = Data()
        for (index, line) in lines.dropFirst().enumerated() {
            let row = Self.features.map { name in tiers[line[place[name]!]] ?? Double(line[place[name]!])! }
            data.rows.append(row, line[place["churned"]!] == "1")
            if line[place["split"]!] == "train" { data.train.append(index) } else { data.test.append(index) }
            data.folds.append(Int(line[place["fold"]!])!)
        }
        return (data, try JSON(parsing: try Peers.bytes(expected)))
    }

    @Test("coefficients to 1e-6, scores and folds", arguments: [("C_1.0", 1), ("C_0.01", 0.01), ("C_None", .infinity)])
    func agrees(name: String, strength: Double) throws {
        guard let (data, all) = try load() else { return }
        let expected = try #require(all["raw_ordinal"]?[name])
        let model = try LogisticRegression.fit(data.rows, at: data.train, strength: strength)
        let design = try #require(all["raw_ordinal"])
        for (index, mean) in try #require(design["mean"]?.array).enumerated() {
            #expect(abs(model.means[index] - mean.number!) < 1e-9)
            #expect(abs(model.deviations[index] - design["std"]![index]!.number!) < 1e-9)
            #expect(abs(model.coefficients[index] - expected["coef"]![index]!.number!) < 1e-6)
        }
        #expect(abs(model.intercept - expected["intercept"]!.number!) < 1e-6)
        let scores = ClassifierScores(
            data.test.map { model.probability(data.rows.row($0)) }, data.test.map { data.rows.labels[$0] })
        let test = try #require(expected["test"])
        #expect(scores.accuracy == test["accuracy"]!.number)
        #expect(abs(try #require(scores.areaUnderCurve) - test["roc_auc"]!.number!) < 1e-9)
        #expect(abs(scores.logLoss - test["log_loss"]!.number!) < 1e-7)
        #expect(abs(scores.brier - test["brier"]!.number!) < 1e-7)
        for (index, one) in (expected["first_25_test"]?.array ?? []).enumerated() {
            #expect(abs(model.probability(data.rows.row(data.test[index])) - one["p"]!.number!) < 1e-7)
        }
        for fold in expected["cv5"]?.array ?? [] {
            let number = fold["fold"]!.integer!
            let model = try LogisticRegression.fit(
                data.rows, at: data.train.filter { data.folds[$0] != number }, strength: strength)
            let held = data.train.filter { data.folds[$0] == number }
            let scores = ClassifierScores(
                held.map { model.probability(data.rows.row($0)) }, held.map { data.rows.labels[$0] })
            #expect(scores.count == fold["n"]!.integer)
            #expect(scores.accuracy == fold["accuracy"]!.number)
            #expect(abs(try #require(scores.areaUnderCurve) - fold["roc_auc"]!.number!) < 1e-6)
            #expect(abs(scores.logLoss - fold["log_loss"]!.number!) < 1e-6)
        }
    }
}

@Suite struct LogisticTests {
    func rows(_ values: [([Double], Bool)]) -> LabelledRows {
        var rows = LabelledRows(width: values.first?.0.count ?? 1)
        for (row, label) in values { rows.append(row, label) }
        return rows
    }

    @Test("contributions and intercept add up to the log-odds") func contributions() throws {
        let model = LogisticRegression(means: [1, 2], deviations: [2, 1], coefficients: [0.5, -1], intercept: 0.25)
        #expect(model.contributions([3, 1]) == [0.5, 1])
        #expect(abs(model.probability([3, 1]) - 1 / (1 + exp(-1.75))) < 1e-15)
        #expect(model.probability([.nan, 1]).isNaN)
        #expect(model.probability([1e300, 1]) == 1)
        #expect(model.probability([-1e300, 1]) == 0)
    }

    @Test("what cannot be fitted is told") func refused() {
        #expect(throws: LogisticError.oneClass(true)) {
            try LogisticRegression.fit(rows([([1], true), ([2], true), ([3], true)]))
        }
        #expect(throws: LogisticError.tooFewRows(1, needed: 2)) {
            try LogisticRegression.fit(rows([([1], true)]))
        }
        let twice = rows((0..<20).map { ([Double($0), Double($0)], $0 % 3 == 0) })
        #expect(throws: LogisticError.singular) { try LogisticRegression.fit(twice, strength: .infinity) }
    }

    @Test("a penalty chooses where the data do not; a constant feature counts nothing") func penalised() throws {
        let twice = rows((0..<20).map { ([Double($0), Double($0), 7], $0 > 9) })
        let model = try LogisticRegression.fit(twice)
        #expect(abs(model.coefficients[0] - model.coefficients[1]) < 1e-9)
        #expect(model.coefficients[0] > 0.5)
        #expect(model.coefficients[2] == 0)
        #expect(model.deviations[2] == 1)
    }

    @Test("scores") func scores() {
        let scores = ClassifierScores([0.1, 0.4, 0.35, 0.8], [false, false, true, true])
        #expect(scores.areaUnderCurve == 0.75)
        #expect(scores.accuracy == 0.75)
        #expect(ClassifierScores([0.5, 0.5], [true, false]).areaUnderCurve == 0.5)
        #expect(ClassifierScores([0.5], [true]).areaUnderCurve == nil)
        #expect(ClassifierScores([], []).count == 0)
    }

    @Test("parts keep the classes' shares, and the seed decides") func split() {
        let labels = (0..<1000).map { $0 % 4 == 0 }
        var random = SeededRandom(seed: 7)
        let split = StratifiedSplit(labels, places: Array(0..<1000), shares: [0.8, 0.2], random: &random)
        #expect(split.parts.map(\.count) == [800, 200])
        #expect(split.parts.map { $0.count { labels[$0] } } == [200, 50])
        #expect(Set(split.parts.joined()).count == 1000)
        var again = SeededRandom(seed: 7)
        #expect(split == StratifiedSplit(labels, places: Array(0..<1000), shares: [0.8, 0.2], random: &again))
    }

    @Test("a positive definite system is solved, another is refused") func cholesky() throws {
        var matrix = Matrix(rows: 3, columns: 3)
        matrix.elements = [4, 1, 2, 1, 3, 0, 2, 0, 5]
        let found = matrix.solvingPositiveDefinite([12, 7, 17])
        let solution = try #require(found)
        for (value, expected) in zip(solution, [1.0, 2, 3]) { #expect(abs(value - expected) < 1e-14) }
        matrix.elements = [1, 1, 0, 1, 1, 0, 0, 0, 1]
        #expect(matrix.solvingPositiveDefinite([1, 1, 1]) == nil)
    }
}
