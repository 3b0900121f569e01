internal import Basics
internal import Daemon
internal import Settings
internal import SQL
internal import Workloads

/// `vedette demo --data`: a business that never was, in the configured database.
struct DemoData {
    let seed: UInt64
    let days: Int
    let customers: Int

    func fill(config: String, _ dataDirectory: String, isQuiet: Bool = false) async throws {
        let (files, clock) = (SystemFiles(), SystemClock())
        do {
            guard days >= 30, customers >= 10 else {
                throw Refusal("--days and --customers: at least 30 days and 10 customers make a business")
            }
            let settings = try DaemonSettings(path: config, files: files, variables: environmentVariable)
            try files.createDirectory(dataDirectory)
            let database = try settings.database.open(
                directory: dataDirectory, files: { try files.contents(of: $0) }, clock: clock)
            let now = clock.now()
            let today = CivilDate(daysSinceEpoch: now.milliseconds.flooringDivision(by: 86_400_000))
            let business = SyntheticBusiness(
                seed: seed, until: today.adding(days: -1), days: days, customers: customers)
            let rows = try await business.fill(database, now: now)
            if isQuiet { return }
            Output.rows(["table", "rows"], rows.map { [$0.table, "\($0.rows)"] }, .table)
            Output.line("seed \(seed), \(days) days up to \(today.adding(days: -1).text), in \(database.address)")
        } catch let refusal as Refusal {
            throw refusal
        } catch {
            throw Refusal("\(error)")
        }
    }
}
