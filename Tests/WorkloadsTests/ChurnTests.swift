import Basics
import Model
import SQL
import Synchronization
import TestSupport
import Testing

@testable import Workloads

/// A churn workload in its host, on SQLite in a folder that goes with it.
struct ChurnWorld {
    let folder: Folder
    let database: any SQLDatabase
    let files = MemoryFiles()
    let clock = HeldClock("2026-11-20T10:00:00Z")
    let log = RecordingLog()
    let settings: ChurnSettings

    init(_ settings: ChurnSettings = ChurnSettings()) async throws {
        folder = try Folder()
        database = SQLiteDatabase(path: "\(folder.path)/test.db", clock: SystemClock())
        self.settings = settings
        try await database.migrate(BusinessTables.migrations, now: clock.now())
    }

    /// The host as a new process makes it, what earlier ones left loaded.
    func host() async -> WorkloadHost {
        let workload = ChurnWorkload(
            settings, logDatabase: database, folder: "data", files: files, clock: clock, log: log,
            random: SharedRandom(seed: 1))
        await workload.start()
        return WorkloadHost(
            [workload, workload.judging], database: database, folder: "data", files: files, clock: clock, log: log)
    }

    /// Customers whose leaving follows from how long they were quiet.
    func fill(_ count: Int, seed: UInt64 = 5, churned: ((Int) -> Bool)? = nil) async throws {
        var random = SeededRandom(seed: seed)
        let rows = (0..<count).map { number -> [SQLValue] in
            let quiet = Double.random(in: 0..<60, using: &random)
            let leaves = churned?(number) ?? (Double.random(in: 0..<60, using: &random) < quiet * quiet / 45)
            func some(_ upper: Double) -> SQLValue { .real(Double.random(in: 0..<upper, using: &random)) }
            return [
                "t", .text("u\(number)"), .int(number), some(900), some(30), some(1), .real(quiet), some(50), some(99),
                .text(PlanTier.allCases[number % 4].name), .bool(leaves),
            ]
        }
        try await database.insert(into: BusinessTables.snapshots.name, BusinessTables.snapshots.columnNames, rows)
    }
}

@Suite struct ChurnTests {
    static let train = "/api/v1/analytics/users/churn/train"
    static let reload = "/api/v1/analytics/users/churn/reload"
    static let predict = "/api/v1/ml/predict/churn"
    static let customer = """
        {"customer_id": "c1", "tenant_id": "t", "days_since_signup": 20, "login_count": 2, "feature_usage": 0.1,
         "plan_tier": "free", "last_login_days_ago": 45, "session_duration": 3, "api_calls": 0}
        """

    @Test("rules, the model, a restart, the version before, and rules again, each marked in the answer")
    func sources() async throws {
        let world = try await ChurnWorld()
        try await world.fill(600)
        var host = await world.host()
        var answer = await host.post(Self.predict, Self.customer)
        #expect(answer.status == 200)
        #expect(answer.body["source"] == "rules")
        #expect(answer.body["model_version"] == .null)
        // 0.15 + 0.05 + 0.2 + 0.15 + 0.1 + 0.35, held at 0.98.
        #expect(answer.body["churn_probability"]?.number == 0.98)
        #expect(await host.get("/health").body["services"]?["churn"]?["status"] == "degraded")

        let trained = await host.post(Self.train, #"{"seed": 7}"#)
        #expect(trained.status == 200, "\(trained.body.text)")
        #expect(trained.body["version"]?.integer == 1)
        #expect(trained.body["seed"] == "7")
        answer = await host.post(Self.predict, Self.customer)
        #expect(answer.body["source"] == "model")
        #expect(answer.body["model_version"]?.integer == 1)
        #expect(answer.body["risk_level"] == "high")
        #expect(answer.body["reasons"]?[0]?["feature"] == "last_login_days_ago")
        let first = answer.body["churn_probability"]

        // Trained anew on the same rows with the same seed it is the same model, under the next number.
        #expect(await host.post(Self.train, #"{"seed": 7}"#).body["coefficients"] == trained.body["coefficients"])
        host = await world.host()
        answer = await host.post(Self.predict, Self.customer)
        #expect(answer.body["source"] == "model")
        #expect(answer.body["model_version"]?.integer == 2)
        #expect(answer.body["churn_probability"] == first)
        #expect(await host.post(Self.reload).body["status"] == "reloaded")

        let path = "data/churn/v000002/model.json"
        let whole = try world.files.contents(of: path, limit: 1 << 20)
        for (damage, reason) in [
            (String(decoding: whole.prefix(200), as: UTF8.self), "model.json:"), ("", "model.json:"),
            (String(decoding: whole, as: UTF8.self).replacing("\"seed\":\"7\"", with: "\"seed\":\"8\""), "damaged"),
            ("{}", "damaged"),
        ] {
            world.files.put(path, damage)
            let refused = await host.post(Self.reload)
            #expect(refused.status == 409)
            #expect(refused.body["error"]?.string?.contains(reason) == true, "\(refused.body.text)")
            #expect(refused.body["error"]?.string?.contains("version 2 goes on serving") == true)
            #expect(refused.body["cure"]?.string?.isEmpty == false)
            #expect(await host.post(Self.predict, Self.customer).body["model_version"]?.integer == 2)
        }
        host = await world.host()
        answer = await host.post(Self.predict, Self.customer)
        #expect(answer.body["source"] == "previous_model")
        #expect(answer.body["model_version"]?.integer == 1)
        #expect(answer.body["churn_probability"] == first)
        #expect(await host.get("/health").body["services"]?["churn"]?["status"] == "degraded")
        #expect(world.log.events.contains { $0.kind == "model-damaged" })

        world.files.put("data/churn/v000001/model.json", "garbled")
        host = await world.host()
        #expect(await host.post(Self.predict, Self.customer).body["source"] == "rules")
        #expect(value(host.metrics(), "churn_prediction_sources_total", ["source": "rules"]) == 1)
        // Training makes it whole; the number is above all that were there.
        #expect(await host.post(Self.train).body["version"]?.integer == 3)
        #expect(await host.post(Self.predict, Self.customer).body["source"] == "model")
        #expect(await host.get("/health").body["services"]?["churn"]?["status"] == "healthy")
    }

    @Test("a training that cannot be is refused with its cure, and the old model goes on")
    func untrainable() async throws {
        let world = try await ChurnWorld()
        try await world.fill(400)
        let host = await world.host()
        #expect(await host.post(Self.train).status == 200)
        let cases: [(Int, (@Sendable (Int) -> Bool)?, String)] = [
            (49, nil, "are the fewest"), (200, { _ in true }, "at least 10 of each"),
            (200, { _ in false }, "0 of 200 customers left"), (300, { $0 % 2 == 0 }, "refused by its gate"),
        ]
        for (count, churned, reason) in cases {
            try await world.database.execute("DELETE FROM churn_snapshots")
            try await world.fill(count, churned: churned)
            let refused = await host.post(Self.train)
            #expect(refused.status == 409)
            #expect(refused.body["error"]?.string?.contains(reason) == true, "\(refused.body.text)")
            #expect(refused.body["cure"]?.string?.isEmpty == false)
            let answer = await host.post(Self.predict, Self.customer)
            #expect(answer.body["source"] == "model")
            #expect(answer.body["model_version"]?.integer == 1)
        }
        #expect(value(host.metrics(), "vedette_workload_runs_total", ["workload": "churn", "outcome": "failure"]) == 4)
        #expect(await host.get("/health").body["services"]?["churn"]?["status"] == "degraded")
    }

    @Test("rows with a missing or wrong value are refused and counted") func refusedRows() async throws {
        let world = try await ChurnWorld()
        try await world.fill(400)
        try await world.database.execute("UPDATE churn_snapshots SET login_count = NULL WHERE observed_at < 10")
        try await world.database.execute(
            "UPDATE churn_snapshots SET plan_tier = 'golden' WHERE observed_at >= 10 AND observed_at < 15")
        try await world.database.execute(
            "UPDATE churn_snapshots SET api_calls = -1 WHERE observed_at >= 15 AND observed_at < 20")
        try await world.database.execute("UPDATE churn_snapshots SET churned = 2 WHERE observed_at = 20")
        let host = await world.host()
        let trained = await host.post(Self.train)
        #expect(trained.body["refused_rows"]?.integer == 21)
        #expect(trained.body["rows"]?.integer == 379)
        #expect(value(host.metrics(), "data_quality_score_current", ["model": "churn"]) == 379.0 / 400)
    }

    @Test("a query of one's own, and what it lacks") func query() async throws {
        var settings = ChurnSettings()
        settings.query =
            "SELECT days_since_signup, login_count, feature_usage, 2.5 AS plan_tier, last_login_days_ago, "
            + "session_duration, api_calls, churned FROM churn_snapshots"
        var world = try await ChurnWorld(settings)
        try await world.fill(100)
        // A plan between two plans is none.
        let halves = await world.host().post(Self.train)
        #expect(halves.body["error"]?.string?.hasPrefix("0 usable rows, 100 refused") == true, "\(halves.body.text)")
        settings.query = "SELECT login_count, churned FROM churn_snapshots"
        world = try await ChurnWorld(settings)
        try await world.fill(100)
        let refused = await world.host().post(Self.train)
        #expect(refused.status == 503)
        #expect(refused.body["error"]?.string?.contains("no column 'days_since_signup'") == true)
    }

    @Test(
        "requests that are wrong are told what and how",
        arguments: [
            ("{", 400, "the body is no JSON"), ("", 422, "null where an object is expected"),
            ("[]", 422, "array where an object"), (#"{"customers": {}}"#, 422, "'customers' is"),
            (#"{"customers": []}"#, 422, "0 customers"), (#"{"login_count": 1}"#, 422, "days_since_signup is missing"),
            (customer.replacing("login_count", with: "login_cuont"), 422, "unknown field 'login_cuont'"),
            (customer.replacing("\"free\"", with: "\"gold\""), 422, "plan_tier is 'gold'"),
            (customer.replacing("\"free\"", with: "1.5"), 422, "plan_tier is 1.5"),
            (customer.replacing("0.1", with: "\"0.1\""), 422, "feature_usage is a string"),
            (customer.replacing("45", with: "-1"), 422, "last_login_days_ago is -1"),
            (customer.replacing("45", with: "null"), 422, "last_login_days_ago is missing"),
            (customer.replacing("\"c1\"", with: "17"), 422, "customer_id is a number"),
            ("{\"customers\": [\(customer), {}]}", 422, "customers[1]: days_since_signup is missing"),
        ])
    func wrong(body: String, status: Int, reason: String) async throws {
        let host = try await ChurnWorld().host()
        let answer = await host.post(Self.predict, body)
        #expect(answer.status == status)
        #expect(answer.body["error"]?.string?.contains(reason) == true, "\(answer.body.text)")
        #expect(answer.body["cure"]?.string?.isEmpty == false)
        #expect(value(host.metrics(), "churn_requests_refused_total") == 1)
        #expect(value(host.metrics(), "churn_feature_value_count", ["feature": "login_count"]) == 0)
    }

    @Test("a list is answered in its order; the features are counted and logged") func lists() async throws {
        let world = try await ChurnWorld()
        let workload = ChurnWorkload(
            ChurnSettings(), logDatabase: world.database, folder: "data", files: world.files, clock: world.clock,
            log: world.log, random: SharedRandom(seed: 1))
        let host = WorkloadHost(
            [workload], database: world.database, folder: "data", files: world.files, clock: world.clock,
            log: world.log)
        let other = Self.customer.replacing("c1", with: "c2").replacing("\"free\"", with: "\"enterprise\"")
        let answer = await host.post(Self.predict, "{\"customers\": [\(Self.customer), \(other)]}")
        #expect(answer.body["predictions"]?.array?.map { $0["customer_id"] } == ["c1", "c2"])
        let families = host.metrics()
        #expect(value(families, "churn_feature_value_bucket", ["feature": "login_count", "le": "2"]) == 2)
        #expect(value(families, "churn_feature_value_bucket", ["feature": "login_count", "le": "0"]) == 0)
        #expect(value(families, "churn_plan_tier_total", ["category": "enterprise"]) == 1)
        #expect(value(families, "churn_prediction_log_waiting") == 2)
        #expect(await workload.predictions.flush())
        let rows = try await world.database.query(
            "SELECT user_id, source, risk, features FROM churn_predictions ORDER BY user_id")
        #expect(rows.map { $0[0] } == ["c1", "c2"])
        #expect(try JSON(parsing: Array(rows[0].text("features").utf8))["last_login_days_ago"]?.number == 45)
        #expect(value(host.metrics(), "churn_prediction_log_rows_total", ["outcome": "written"]) == 2)
    }

    @Test("accuracy is what outcomes bore out, each prediction once and within the horizon") func judged() async throws
    {
        let world = try await ChurnWorld()
        let day: Int64 = 86_400_000
        let now = world.clock.now().milliseconds
        // Right, wrong, too late, before the prediction, and one with two outcomes, of which the first counts.
        let cases: [(String, Double, [(Int64, Int64)])] = [
            ("right", 0.9, [(30, 1)]), ("wrong", 0.9, [(30, 0)]), ("late", 0.9, [(91, 1)]), ("before", 0.9, [(-1, 1)]),
            ("twice", 0.2, [(10, 0), (60, 1)]),
        ]
        for (user, probability, outcomes) in cases {
            let at = now - 100 * day
            try await world.database.insert(
                into: "churn_predictions", BusinessTables.predictions.columnNames,
                [[.text(user), "t", .text(user), .integer(at), 1, "model", .real(probability), "low", "{}"]])
            try await world.database.insert(
                into: "churn_outcomes", BusinessTables.outcomes.columnNames,
                outcomes.map { ["t", .text(user), .integer(at + $0.0 * day), .integer($0.1)] })
        }
        let host = await world.host()
        #expect(try await host.runNow("churn_accuracy", request: .null).rows == 3)
        #expect(value(host.metrics(), "model_accuracy_current", ["model": "churn"]) == 2.0 / 3)
        #expect(value(host.metrics(), "model_accuracy_rows", ["model": "churn"]) == 3)
    }

    @Test("trained on the peers' customers it is as good as scikit-learn's") func peers() async throws {
        guard let csv = Peers.file("ml/classifier/churn.csv"),
            let expected = Peers.file("ml/classifier/expected_logistic.json")
        else { return }
        let lines = try Peers.text(csv).split(separator: "\n").map { $0.split(separator: ",").map(String.init) }
        let place = Dictionary(uniqueKeysWithValues: lines[0].enumerated().map { ($1, $0) })
        let world = try await ChurnWorld()
        let names = BusinessTables.snapshots.columnNames
        try await world.database.insert(
            into: "churn_snapshots", names,
            lines.dropFirst().enumerated().map { number, line in
                ["t", .text("u\(number)"), .int(number)]
                    + names.dropFirst(3).map { name -> SQLValue in
                        let text = line[place[name]!]
                        if name == "churned" { return .int(Int(text)!) }
                        return Double(text).map(SQLValue.real) ?? .text(text)
                    }
            })
        let host = await world.host()
        let answer = await host.post(Self.train)
        let peer = try #require(
            try JSON(parsing: try Peers.bytes(expected))["raw_ordinal"]?["C_1.0"]?["test"])
        #expect(answer.body["rows"]?.integer == 5000)
        // Another split of the same rows: more than three standard errors of a share from 1,000.
        let accuracy = try #require(answer.body["test_accuracy"]?.number)
        #expect(abs(accuracy - peer["accuracy"]!.number!) < 0.04, "\(accuracy)")
        #expect(abs(try #require(answer.body["roc_auc"]?.number) - peer["roc_auc"]!.number!) < 0.04)
        #expect(abs(try #require(answer.body["cross_validation"]?["accuracy"]?.number) - accuracy) < 0.04)
    }
}

/// What a database does to predictions: nothing.
@Suite struct PredictionLogTests {
    static let input = ChurnInput(customer: "c", tenant: "t", values: [20, 2, 0.1, 0, 45, 3, 0])!

    @Test("a dead database: predictions go on, drops are counted, what waits is written later") func dead() throws {
        let executor = SimulatedExecutor(seed: 1, start: at(1_790_000_000))
        let database = StubDatabase(executor)
        database.state.withLock { $0.failure = SQLError(.unreachable, "nobody there") }
        var settings = ChurnSettings()
        settings.logLimit = 1200
        let log = RecordingLog()
        let churn = ChurnWorkload(
            settings, logDatabase: database, folder: "data", files: MemoryFiles(), clock: executor, log: log,
            random: SharedRandom(seed: 1))
        executor.start { await churn.accompany() }
        for _ in 0..<1500 { #expect(churn.predict(Self.input)["source"] == "rules") }
        executor.run(for: 600_000)
        #expect(value(churn.metrics(), "churn_prediction_log_waiting") == 1200)
        #expect(value(churn.metrics(), "churn_prediction_log_rows_total", ["outcome": "dropped"]) == 300)
        // Tries at 1, 3, 7, 15, 31, 63 s and from then on each minute.
        #expect(database.state.withLock { $0.calls } == 14)
        #expect(log.events.count == 1)
        database.state.withLock { $0.failure = nil }
        executor.run(for: 60_000)
        #expect(database.state.withLock { $0.inserted } == 1200)
        #expect(value(churn.metrics(), "churn_prediction_log_waiting") == 0)
        #expect(value(churn.metrics(), "churn_predictions_total", ["risk": "high"]) == 1500)
        executor.abandon()
    }

    @Test("a slow database: predictions do not wait for it") func slow() throws {
        let executor = SimulatedExecutor(seed: 1, start: at(1_790_000_000))
        let database = StubDatabase(executor)
        database.state.withLock { $0.delay = 3_600_000 }
        let churn = ChurnWorkload(
            ChurnSettings(), logDatabase: database, folder: "data", files: MemoryFiles(), clock: executor,
            log: RecordingLog(), random: SharedRandom(seed: 1))
        executor.start { await churn.accompany() }
        _ = churn.predict(Self.input)
        executor.run(for: 10_000)
        #expect(database.state.withLock { $0.calls } == 1)
        for _ in 0..<100 { _ = churn.predict(Self.input) }
        #expect(executor.now() == at(1_790_000_010))
        #expect(value(churn.metrics(), "churn_prediction_log_waiting") == 101)
        executor.run(for: 2 * 3_600_000 + 10_000)
        #expect(value(churn.metrics(), "churn_prediction_log_rows_total", ["outcome": "written"]) == 101)
        executor.abandon()
    }
}
