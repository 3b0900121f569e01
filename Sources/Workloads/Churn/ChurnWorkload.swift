public import Basics
public import Model
public import SQL
internal import Statistics
internal import Synchronization

/// Predicts which customers will leave: trains on its schedule, answers at once from memory, logs and counts every
/// answer.
///
/// Without its newest model it answers by the version before, without any by rules, and says so in each answer.
public final class ChurnWorkload: Workload {
    /// What answers are given by.
    private struct Serving {
        var model: ChurnModel?
        /// What `current.json` names.
        var newest: Int?
        var problems: [String] = []

        var source: String {
            guard let model else { return "rules" }
            return model.version == newest ? "model" : "previous_model"
        }
    }

    /// `churn`.
    public let name = "churn"
    private let settings: ChurnSettings
    private let shelf: ModelShelf
    private let clock: any TimeSource
    private let log: any LogSink
    let predictions: PredictionLog
    private let figures = ChurnFigures()
    private let serving = Mutex(Serving())

    /// How many customers one request may ask for.
    public static let requestLimit = 1000

    /// A workload whose models stand in `folder/churn`.
    ///
    /// - Parameter logDatabase: Where predictions are logged; a connection of its own, so that a long training is not
    ///   in the way.
    public init(
        _ settings: ChurnSettings, logDatabase: any SQLDatabase, folder: String, files: any FileSystem,
        clock: any TimeSource, log: any LogSink, random: SharedRandom
    ) {
        self.settings = settings
        shelf = ModelShelf(folder: "\(folder)/churn", files: files, kept: settings.versions)
        (self.clock, self.log) = (clock, log)
        predictions = PredictionLog(
            database: logDatabase, clock: clock, log: log, run: hexadecimal(random.next()), limit: settings.logLimit)
    }

    /// See `ChurnSettings.every`.
    public var schedule: WorkloadSchedule { .every(settings.every) }
    /// See `ChurnSettings.timeLimit`.
    public var timeLimit: Milliseconds { settings.timeLimit }
    /// A success in twice the schedule, in a tenth of the limit.
    public var objectives: WorkloadObjectives {
        WorkloadObjectives(age: settings.every * 2, duration: settings.timeLimit / 10)
    }
    /// Why it serves with less than its newest model.
    public var trouble: String? {
        serving.withLock { serving in
            switch serving.source {
            case "model": serving.problems.first
            case "rules": "there is no model; answers are by rules" + (serving.problems.first.map { ": \($0)" } ?? "")
            default: "answers are by the version before" + (serving.problems.first.map { ": \($0)" } ?? "")
            }
        }
    }

    /// Loads the newest usable version.
    @concurrent public func start() async {
        let found = shelf.find()
        for problem in found.problems { log.write(LogEvent(.error, "model-damaged", problem, [("workload", name)])) }
        if let model = found.model { shelf.restoreReference(of: model.version) }
        serving.withLock { $0 = Serving(model: found.model, newest: found.newest, problems: found.problems) }
    }

    /// Writes the log of predictions.
    @concurrent public func accompany() async { await predictions.run() }

    /// Trains a model, judges it, puts it on the disk and in use.
    @concurrent public func run(_ context: WorkloadContext) async throws -> WorkloadReport {
        var seed = settings.seed
        if let asked = context.request["seed"]?.integer { seed = UInt64(asked) }
        let (rows, profile, refused) = try await load(context.database)
        let version = shelf.nextVersion()
        let model = try ChurnModel.train(rows, seed: seed, version: version, refusedRows: refused, now: context.now)
        figures.state.withLock { $0.quality = Double(rows.count) / Double(max(1, rows.count + refused)) }
        let area = model.test.areaUnderCurve ?? 0
        guard model.test.accuracy >= settings.minimumAccuracy, area >= settings.minimumArea else {
            throw WorkloadRefusal(
                409,
                "the new model is refused by its gate: accuracy \(rounded(model.test.accuracy)) and AUC "
                    + "\(rounded(area)) where \(settings.minimumAccuracy) and \(settings.minimumArea) are asked; "
                    + "the old one stays",
                cure: "see the training rows, or lower workloads.churn.gate")
        }
        guard !Task.isCancelled else { throw CancellationError() }
        do throws(FileError) { try shelf.publish(model, reference: profile.reference) } catch {
            throw WorkloadRefusal(
                503, "the model cannot be written: \(error); the old one stays", cure: "see the disk")
        }
        serving.withLock { $0 = Serving(model: model, newest: version) }
        return WorkloadReport(rows: rows.count, details: model.document)
    }

    private func rounded(_ value: Double) -> String { GoNumber.fixed((value * 1000).rounded() / 1000) }

    /// The training rows, their profile, and how many were refused.
    private func load(_ database: any SQLDatabase) async throws(SQLError) -> (LabelledRows, FeatureProfile, Int) {
        let limit = settings.rows
        let own = "SELECT * FROM (\(settings.query ?? "")) AS training LIMIT \(limit)"
        let sql =
            settings.query == nil
            ? "SELECT \(ChurnFeature.names.joined(separator: ", ")), churned FROM \(BusinessTables.snapshots.name) "
                + "WHERE churned IS NOT NULL ORDER BY observed_at DESC, tenant_id, user_id LIMIT \(limit)"
            : own
        return try await database.perform(timeout: settings.timeLimit / 2) { connection throws(SQLError) in
            var rows = LabelledRows(width: ChurnFeature.allCases.count)
            var (profile, refused, isChecked) = (FeatureProfile(), 0, false)
            try connection.each(sql, []) { row throws(SQLError) in
                if !isChecked {
                    isChecked = true
                    for name in ChurnFeature.names + ["churned"] where !row.has(name) {
                        throw SQLError(.refused, "the training query gives no column '\(name)'; add it")
                    }
                }
                let values = ChurnFeature.allCases.map { feature -> Double? in
                    let value = row[feature.rawValue]
                    guard feature == .planTier else { return value.number }
                    if let text = value.text { return PlanTier(text).map { Double($0.rawValue) } }
                    return value.number.flatMap { Int(exactly: $0) }.flatMap(PlanTier.init(rawValue:)).map {
                        Double($0.rawValue)
                    }
                }
                guard let label = row["churned"].number, label == 0 || label == 1,
                    let input = ChurnInput(customer: "", tenant: "", values: values)
                else {
                    refused += 1
                    return
                }
                rows.append(input.values, label == 1)
                profile.add(input.values)
            }
            return (rows, profile, refused)
        }
    }

    /// Compares logged predictions with what came; the accuracy series is from that.
    @concurrent func judge(_ context: WorkloadContext) async throws -> WorkloadReport {
        let names = (BusinessTables.predictions.name, BusinessTables.outcomes.name)
        let rows = try await context.database.query(
            "SELECT COUNT(*) AS n, SUM(CASE WHEN (p.probability >= 0.5 AND o.churned = 1) "
                + "OR (p.probability < 0.5 AND o.churned = 0) THEN 1 ELSE 0 END) AS hits "
                + "FROM \(names.0) p JOIN \(names.1) o ON o.tenant_id = p.tenant_id AND o.user_id = p.user_id "
                + "AND o.observed_at > p.predicted_at AND o.observed_at <= p.predicted_at + ? "
                // Of several outcomes the first is the one that was predicted.
                + "WHERE p.predicted_at > ? AND NOT EXISTS (SELECT 1 FROM \(names.1) e "
                + "WHERE e.tenant_id = p.tenant_id AND e.user_id = p.user_id AND e.observed_at > p.predicted_at "
                + "AND e.observed_at < o.observed_at)",
            [.integer(settings.horizon), .integer((context.now - 2 * settings.horizon).milliseconds)])
        let count = Int(rows.first?["n"].integer ?? 0)
        let hits = rows.first?["hits"].integer ?? 0
        guard !Task.isCancelled else { throw CancellationError() }
        figures.state.withLock { state in
            state.judged = count
            state.accuracy = count > 0 ? Double(hits) / Double(count) : nil
        }
        return WorkloadReport(rows: count)
    }

    /// A workload that compares predictions with outcomes.
    public var judging: any Workload { ChurnJudging(churn: self, every: settings.judgeEvery) }

    // MARK: - Answers

    /// One prediction, logged and counted. About 5 µs.
    public func predict(_ input: ChurnInput) -> JSON {
        let start = clock.uptimeNanoseconds()
        let serving = serving.withLock { $0 }
        var (probability, source, contributions) = (Double.nan, serving.source, [Double]())
        if let model = serving.model {
            probability = model.regression.probability(input.values)
            contributions = model.regression.contributions(input.values)
        }
        if !probability.isFinite {
            (probability, source) = (ChurnRules.probability(input.values), "rules")
            contributions = ChurnRules.contributions(input.values)
        }
        let version = source == "rules" ? 0 : serving.model?.version ?? 0
        let risk = ChurnRisk(probability: probability)
        figures.add(input.values, probability: probability, risk: risk, source: source)
        predictions.add(
            input, probability: probability, risk: risk, source: source, version: version, at: clock.now())
        let answer = document(input, probability, risk, source, version, contributions)
        let seconds = Double(clock.uptimeNanoseconds() - start) / 1e9
        figures.state.withLock { $0.duration.add(seconds) }
        return answer
    }

    private func document(
        _ input: ChurnInput, _ probability: Double, _ risk: ChurnRisk, _ source: String, _ version: Int,
        _ contributions: [Double]
    ) -> JSON {
        let order = contributions.indices.filter { contributions[$0] != 0 }
            .sorted { abs(contributions[$0]) > abs(contributions[$1]) }
        let reasons = order.prefix(3).map { index -> JSON in
            [
                "feature": .string(ChurnFeature.names[index]), "value": .number(input.values[index]),
                "contribution": .number(contributions[index]), "effect": contributions[index] > 0 ? "raises" : "lowers",
            ]
        }
        return [
            "customer_id": input.customer.isEmpty ? .null : .string(input.customer),
            "churn_probability": .number(probability), "risk_level": .string(risk.rawValue),
            "source": .string(source), "model_version": version > 0 ? .number(Double(version)) : .null,
            "reasons": .array(reasons),
            "contributions": .object(zip(ChurnFeature.names, contributions).map { .init($0, .number($1)) }),
        ]
    }

    private func predict(_ request: WorkloadRequest) throws(WorkloadRefusal) -> JSON {
        do throws(WorkloadRefusal) {
            try request.checkQuery([])
            let body = try request.json()
            guard let list = body["customers"] else { return predict(try ChurnInput(body)) }
            guard let customers = list.array, body.members?.count == 1 else {
                throw WorkloadRefusal(
                    422, "'customers' is \(list.kind), or stands beside other fields",
                    cure: "send {\"customers\": [{…}, …]} alone")
            }
            guard (1...ChurnWorkload.requestLimit).contains(customers.count) else {
                throw WorkloadRefusal(
                    422, "\(customers.count) customers",
                    cure: "send from 1 to \(ChurnWorkload.requestLimit) of them in a request")
            }
            // All are read before one is answered: half an answer is none.
            var inputs: [ChurnInput] = []
            for (index, customer) in customers.enumerated() {
                inputs.append(try ChurnInput(customer, at: "customers[\(index)]"))
            }
            return ["predictions": .array(inputs.map(predict))]
        } catch {
            figures.state.withLock { $0.refused += 1 }
            throw error
        }
    }

    /// Loads the newest version from the disk, strictly: a damaged one is refused and what serves goes on.
    private func reload() throws(WorkloadRefusal) -> JSON {
        let found = shelf.find()
        guard let newest = found.newest else {
            throw WorkloadRefusal(
                409, "there is no model yet", cure: "train one: POST /api/v1/analytics/users/churn/train")
        }
        guard let model = found.model, model.version == newest else {
            let reason = found.problems.first ?? "version \(newest) cannot be read"
            serving.withLock { serving in
                serving.newest = newest
                serving.problems = found.problems
                if serving.model == nil { serving.model = found.model }
            }
            log.write(LogEvent(.error, "model-damaged", reason, [("workload", name)]))
            let left = serving.withLock { $0.model }.map { "version \($0.version) goes on serving" } ?? "rules serve"
            throw WorkloadRefusal(409, "\(reason); \(left)", cure: "restore the file, or train again")
        }
        shelf.restoreReference(of: model.version)
        serving.withLock { $0 = Serving(model: model, newest: newest) }
        return ["status": "reloaded", "version": .number(Double(newest))]
    }

    private func info() throws(WorkloadRefusal) -> JSON {
        let serving = serving.withLock { $0 }
        guard let model = serving.model else {
            throw WorkloadRefusal(
                409, "there is no model; answers are by rules",
                cure: "train one: POST /api/v1/analytics/users/churn/train")
        }
        return [
            "source": .string(serving.source), "newest_version": serving.newest.map { .number(Double($0)) } ?? .null,
            "versions": .array(shelf.versions().map { .number(Double($0)) }),
            "problems": .array(serving.problems.map(JSON.string)),
            "features": .array(ChurnFeature.names.map(JSON.string)),
            "risk_levels": ["medium": 0.4, "high": 0.7], "model": model.document,
        ]
    }

    private func train(_ request: WorkloadRequest, _ runner: any WorkloadRunner) async throws(WorkloadRefusal) -> JSON {
        try request.checkQuery([])
        let body = try request.json()
        guard body == .null || body.members != nil else {
            throw WorkloadRefusal(422, "the body is \(body.kind)", cure: "send nothing, or {\"seed\": 42}")
        }
        for member in body.members ?? [] {
            guard member.name == "seed" else {
                throw WorkloadRefusal(422, "unknown field '\(member.name)'", cure: "known is seed")
            }
            guard let seed = member.value.integer, seed >= 0 else {
                throw WorkloadRefusal(422, "seed is \(member.value.kind)", cure: "give a whole number of 0 or more")
            }
        }
        return try await runner.runNow(name, request: body).details
    }

    /// The newest predictions that were logged, a page at a time, by risk.
    private func overview(_ request: WorkloadRequest) throws(WorkloadRefusal) -> JSON {
        try request.checkQuery([])
        let state = figures.state.withLock { $0 }
        let serving = serving.withLock { $0 }
        return [
            "source": .string(serving.source),
            "model_version": serving.model.map { .number(Double($0.version)) } ?? .null,
            "predictions": .number(Double(state.risks.reduce(0, +))),
            "risk_counts": .object(
                ChurnRisk.allCases.enumerated().map { .init($1.rawValue, .number(Double(state.risks[$0]))) }),
            "accuracy": state.accuracy.map(JSON.number) ?? .null, "judged": .number(Double(state.judged)),
            "logged": .number(Double(predictions.written)), "waiting": .number(Double(predictions.waiting)),
            "dropped": .number(Double(predictions.dropped)),
        ]
    }

    /// See `Workload`.
    public var endpoints: [WorkloadEndpoint] {
        let users = "/api/v1/analytics/users/churn"
        return [
            WorkloadEndpoint("POST", "/api/v1/ml/predict/churn") { [self] request, _ throws(WorkloadRefusal) in
                try predict(request)
            },
            WorkloadEndpoint("POST", "/api/v1/ml/reload") { [self] _, _ throws(WorkloadRefusal) in try reload() },
            WorkloadEndpoint("POST", "\(users)/reload") { [self] _, _ throws(WorkloadRefusal) in try reload() },
            WorkloadEndpoint("POST", "\(users)/train") { [self] request, runner throws(WorkloadRefusal) in
                try await train(request, runner)
            },
            WorkloadEndpoint("GET", "\(users)/model-info") { [self] _, _ throws(WorkloadRefusal) in try info() },
            WorkloadEndpoint("GET", "\(users)/prediction") { [self] request, _ throws(WorkloadRefusal) in
                try overview(request)
            },
        ]
    }

    /// See `Workload`.
    public func metrics() -> [MetricFamily] { figures.metrics() + predictions.metrics() }
}

/// Compares predictions with outcomes, so that the accuracy series comes by itself.
private struct ChurnJudging: Workload {
    let churn: ChurnWorkload
    let every: Milliseconds

    var name: String { "churn_accuracy" }
    var schedule: WorkloadSchedule { .every(every) }
    var objectives: WorkloadObjectives { WorkloadObjectives(age: every * 3) }
    @concurrent func run(_ context: WorkloadContext) async throws -> WorkloadReport { try await churn.judge(context) }
}
