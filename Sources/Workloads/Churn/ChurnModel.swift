public import Basics
public import Statistics

/// A trained model with what is known of it: one version.
public struct ChurnModel: Sendable, Hashable {
    /// 1, 2, …
    public var version: Int
    /// When it was trained.
    public var trainedAt: Timestamp
    /// The coefficients.
    public var regression: LogisticRegression
    /// The seed of the split, and how many rows were used and refused.
    public var seed: UInt64, rows: Int, refusedRows: Int
    /// Scores on the rows it was fitted to, and on those held back.
    public var train: ClassifierScores, test: ClassifierScores
    /// The means over five folds, each standardised by itself.
    public var foldAccuracy: Double, foldAreaUnderCurve: Double

    /// How much each feature counts: |coefficient| of the standardised feature, as a share of all.
    public var importance: [Double] {
        let sizes = regression.coefficients.map(abs)
        let total = sizes.reduce(0, +)
        return sizes.map { total > 0 ? $0 / total : 0 }
    }

    /// What training answers, and what `model-info` shows.
    public var document: JSON {
        func scores(_ scores: ClassifierScores) -> JSON {
            [
                "rows": .number(Double(scores.count)), "accuracy": .number(scores.accuracy),
                "roc_auc": scores.areaUnderCurve.map(JSON.number) ?? .null, "log_loss": .number(scores.logLoss),
                "brier": .number(scores.brier),
            ]
        }
        func byFeature(_ values: [Double]) -> JSON {
            .object(zip(ChurnFeature.names, values).map { .init($0, .number($1)) })
        }
        return [
            "version": .number(Double(version)), "trained_at": .string(trainedAt.description),
            "algorithm": "logistic_regression", "rows": .number(Double(rows)),
            "refused_rows": .number(Double(refusedRows)), "seed": .string(String(seed)),
            "train_accuracy": .number(train.accuracy), "test_accuracy": .number(test.accuracy),
            "roc_auc": test.areaUnderCurve.map(JSON.number) ?? .null, "train": scores(train), "test": scores(test),
            "cross_validation": [
                "folds": 5, "accuracy": .number(foldAccuracy), "roc_auc": .number(foldAreaUnderCurve),
            ],
            "importance": byFeature(importance), "coefficients": byFeature(regression.coefficients),
            "intercept": .number(regression.intercept), "means": byFeature(regression.means),
            "deviations": byFeature(regression.deviations),
        ]
    }

    /// Reads what `document` wrote; nil when anything is missing or is no number.
    init?(_ json: JSON) {
        func byFeature(_ name: String) -> [Double]? {
            guard let object = json[name], object.members?.map(\.name) == ChurnFeature.names else { return nil }
            let values = object.members?.compactMap { $0.value.number } ?? []
            return values.count == ChurnFeature.names.count ? values : nil
        }
        func scores(_ name: String) -> ClassifierScores? {
            guard let part = json[name], let count = part["rows"]?.integer, let accuracy = part["accuracy"]?.number,
                let loss = part["log_loss"]?.number, let brier = part["brier"]?.number
            else { return nil }
            var scores = ClassifierScores([], [])
            (scores.count, scores.accuracy, scores.logLoss, scores.brier) = (count, accuracy, loss, brier)
            scores.areaUnderCurve = part["roc_auc"]?.number
            return scores
        }
        guard json["algorithm"] == "logistic_regression", let version = json["version"]?.integer, version > 0,
            let moment = json["trained_at"]?.string.flatMap({ Timestamp(rfc3339: $0) }),
            let seed = json["seed"]?.string.flatMap({ UInt64($0) }), let rows = json["rows"]?.integer,
            let refused = json["refused_rows"]?.integer, let train = scores("train"), let test = scores("test"),
            let accuracy = json["cross_validation"]?["accuracy"]?.number,
            let area = json["cross_validation"]?["roc_auc"]?.number,
            let coefficients = byFeature("coefficients"), let means = byFeature("means"),
            let deviations = byFeature("deviations"), let intercept = json["intercept"]?.number,
            deviations.allSatisfy({ $0 > 0 })
        else { return nil }
        self.init(
            version: version, trainedAt: moment,
            regression: LogisticRegression(
                means: means, deviations: deviations, coefficients: coefficients, intercept: intercept),
            seed: seed, rows: rows, refusedRows: refused, train: train, test: test, foldAccuracy: accuracy,
            foldAreaUnderCurve: area)
    }

    init(
        version: Int, trainedAt: Timestamp, regression: LogisticRegression, seed: UInt64, rows: Int, refusedRows: Int,
        train: ClassifierScores, test: ClassifierScores, foldAccuracy: Double, foldAreaUnderCurve: Double
    ) {
        (self.version, self.trainedAt, self.regression) = (version, trainedAt, regression)
        (self.seed, self.rows, self.refusedRows) = (seed, rows, refusedRows)
        (self.train, self.test) = (train, test)
        (self.foldAccuracy, self.foldAreaUnderCurve) = (foldAccuracy, foldAreaUnderCurve)
    }

    /// Trains on rows: a fifth is held back, five folds judge the rest.
    public static func train(
        _ rows: LabelledRows, seed: UInt64, version: Int, refusedRows: Int, now: Timestamp
    ) throws(WorkloadRefusal) -> ChurnModel {
        let fewest = 50
        guard rows.count >= fewest else {
            throw WorkloadRefusal(
                409, "\(rows.count) usable rows, \(refusedRows) refused; \(fewest) are the fewest to train on",
                cure: "gather more outcomes; six months of them are advised")
        }
        let positive = rows.labels.count { $0 }
        guard min(positive, rows.count - positive) >= 10 else {
            throw WorkloadRefusal(
                409, "\(positive) of \(rows.count) customers left; a model needs at least 10 of each outcome",
                cure: "gather outcomes of both kinds")
        }
        var random = SeededRandom(seed: seed)
        let split = StratifiedSplit(
            rows.labels, places: Array(0..<rows.count), shares: [0.8, 0.2], random: &random)
        let (train, test) = (split.parts[0], split.parts[1])
        let folds = StratifiedSplit(
            rows.labels, places: train, shares: [Double](repeating: 0.2, count: 5), random: &random)
        func scores(_ model: LogisticRegression, _ places: [Int]) -> ClassifierScores {
            ClassifierScores(places.map { model.probability(rows.row($0)) }, places.map { rows.labels[$0] })
        }
        do throws(LogisticError) {
            let model = try LogisticRegression.fit(rows, at: train)
            var (accuracy, area) = (0.0, 0.0)
            for held in folds.parts.indices {
                let others = folds.parts.indices.filter { $0 != held }.flatMap { folds.parts[$0] }
                let judged = scores(try LogisticRegression.fit(rows, at: others), folds.parts[held])
                accuracy += judged.accuracy / 5
                area += (judged.areaUnderCurve ?? 0.5) / 5
            }
            return ChurnModel(
                version: version, trainedAt: now, regression: model, seed: seed, rows: rows.count,
                refusedRows: refusedRows, train: scores(model, train), test: scores(model, test),
                foldAccuracy: accuracy, foldAreaUnderCurve: area)
        } catch {
            throw WorkloadRefusal(409, "no model can be fitted: \(error)", cure: "see the training rows")
        }
    }
}
