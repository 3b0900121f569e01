import Alerting
import Basics
import class Foundation.ProcessInfo
import Model
import Notifying
import Settings
import Synchronization
import Testing
import Transport

/// The promise under random posts, silences, inhibition, muted times, failures, refusals, crashes, reloads, a broken
/// disk, replayed dead letters and clock jumps. Once receivers work: whatever fires and is held back by nothing is told
/// in time; nothing that is held back is told; whoever was told that it fires is told that it is over, also under a
/// silence, also by a fallback, also of a receiver that is configured no more; no page is sent twice without a mark, no
/// repeat comes before its time; a group's pages arrive in order and, but for repeats, tell something new.
///
/// `make model` plays 10,000 lives; `SEED=n` one of them.
@Suite struct DeliveryModelTests {
    @Test("whoever is told that it fires is told that it is over; nothing decided is lost", arguments: batches)
    func promise(seeds: Range<UInt64>) throws {
        var (crashes, decided, owed) = (0, 0, 0)
        for seed in seeds {
            let model = try DeliveryModel(seed: seed)
            model.play(for: 200_000)
            try model.settle()
            let findings = model.findings()
            #expect(findings == [], "seed \(seed)")
            crashes += model.crashes
            decided += model.decidedCount
            owed += model.owedCount
        }
        let count = seeds.count
        // Of few seeds none may crash.
        guard count >= 10 else { return }
        #expect(crashes > count / 2 && decided > 10 * count && owed > 3 * count, "\(crashes), \(decided), \(owed)")
    }
}

private let environment = ProcessInfo.processInfo.environment
/// How many seeds are played, by `VEDETTE_SEEDS`, and which is the first, by `VEDETTE_SEED`; some to a test case, so
/// that all cores have work.
private let batches: [Range<UInt64>] = {
    let count = environment["VEDETTE_SEEDS"].flatMap(UInt64.init) ?? 32
    let first = environment["VEDETTE_SEED"].flatMap(UInt64.init) ?? 0
    let size = max(1, min(100, count / 4))
    return stride(from: first, to: first + count, by: Int(size)).map { $0..<min($0 + size, first + count) }
}()

/// Rules, people, a daemon that is killed now and then, and receivers that fail.
private final class DeliveryModel {
    private let settings: [NotifyingSettings]
    private let kind: ModelKind
    private let receivers: ReceiversBox
    private let reference = ReferenceBox()
    private let clock: ModelClock
    private let store: FragileStore
    private var random: SeededRandom
    private var dispatcher: Dispatcher?
    /// What the journal gives back after a crash beside a broken disk.
    private var durable: DeliveryReference?
    private var variant = 0
    private(set) var crashes = 0

    var decidedCount: Int { store.decided.count }
    var owedCount: Int { reference.state.withLock { $0.owed.count } }

    init(seed: UInt64) throws {
        kind = ModelKind(seed)
        settings = try kind.settings.get()
        random = SeededRandom(seed: seed)
        let start = at(Double(1_000_000 + Int.random(in: 0..<600, using: &random)))
        clock = ModelClock(SimulatedExecutor(seed: seed, start: start))
        store = FragileStore(clock, reference)
        receivers = ReceiversBox(ModelReceivers(random: SeededRandom(seed: seed &+ 1000), isExact: kind.isExact))
        begin()
    }

    private var executor: SimulatedExecutor { clock.executor }

    /// A new process over what the journal holds.
    private func begin() {
        let executor = executor
        let transport = FakeTransport(executor) { [receivers, store, clock] request in
            receivers.state.withLock { $0.answer(request, store, clock) }
        }
        let dispatcher = Dispatcher(
            settings[variant], store: store, clock: executor, transport: transport,
            random: SharedRandom(seed: random.next()), externalURL: "", files: noFiles)
        self.dispatcher = dispatcher
        executor.start { await dispatcher.run() }
        reference.state.withLock { $0.restart(steady: clock.steady) }
    }

    /// Lets time go by, in steps that the reference can follow.
    private func advance(_ length: Milliseconds) {
        var rest = length
        repeat {
            let step = min(rest, 6000)
            let (steady, wall, before) = (clock.steady, executor.now(), store.open)
            executor.run(for: step)
            rest -= step
            let after = store.open
            reference.state.withLock {
                $0.pass(steady: (steady, clock.steady), wall: (wall, executor.now()), before: before, after: after)
            }
        } while rest > 0
    }

    private func call(_ body: @escaping @Sendable (Dispatcher) async -> Void, for length: Milliseconds = 1) {
        guard let dispatcher else { return }
        executor.start { await body(dispatcher) }
        advance(length)
    }

    /// Posts by the rules for a while, with all that people, disks and networks do meanwhile.
    func play(for length: Milliseconds) {
        let end = clock.steady + length
        while clock.steady < end {
            advance(Milliseconds.random(in: 1...6000, using: &random))
            post(Int.random(in: 0...3, using: &random))
            switch Int.random(in: 0..<45, using: &random) {
            case 0, 1: crash()
            case 2, 3:
                let jump = Milliseconds.random(in: (kind.jumpsBack ? -120_000 : 0)...120_000, using: &random)
                clock.trace("the clock jumps by \(jump)")
                executor.jumpWallClock(by: jump)
            case 4, 5: reload(Int.random(in: 0..<settings.count, using: &random))
            case 6: breakDisk(!store.isBroken)
            case 7: replay()
            case 8, 9, 10: silence()
            case 11: expire()
            default: break
            }
        }
    }

    private func breakDisk(_ isBroken: Bool) {
        clock.trace("the disk is \(isBroken ? "broken" : "well")")
        store.isBroken = isBroken
        receivers.state.withLock {
            $0.isDiskBroken = isBroken
            if !isBroken { $0.forget(false) }
        }
        durable = isBroken ? durable ?? reference.state.withLock { $0 } : nil
    }

    private func reload(_ variant: Int) {
        clock.trace("variant \(variant)")
        self.variant = variant
        // What is due already is decided under the settings before.
        advance(0)
        reference.state.withLock { $0.replace(variant, steady: clock.steady) }
        call { [settings] in await $0.replace(settings[variant]) }
    }

    private func replay() {
        clock.trace("replay")
        call { await $0.replayAll() }
    }

    /// Somebody wants quiet: a new silence or another one in the place of an old one, some that hold everything.
    private func silence(
        _ labels: [String: String]? = nil, for length: Milliseconds? = nil
    ) {
        let now = executor.now()
        var chosen: [String: String] = [:]
        for (name, values) in ModelKind.values.sorted(by: { $0.key < $1.key }) where Bool.random(using: &random) {
            chosen[name] = values.randomElement(using: &random)
        }
        var hush = DeliveryReference.Hush(labels: labels ?? chosen, from: now, to: now)
        if Int.random(in: 0..<6, using: &random) == 0 {
            hush.from = now + Milliseconds.random(in: 1...20_000, using: &random)
        }
        hush.to = hush.from + (length ?? Milliseconds.random(in: 1...90_000, using: &random))
        hush.endsWithAlerts = length == nil && Int.random(in: 0..<4, using: &random) == 0
        let old = reference.state.withLock { $0.silences.sorted { $0.key < $1.key } }.randomElement(using: &random)
        let replaced = Int.random(in: 0..<3, using: &random) == 0 && length == nil ? old : nil
        if let replaced, Bool.random(using: &random) { hush.labels = replaced.value.labels }
        let matchers =
            hush.labels.isEmpty
            ? (try? Matcher("alertname", .matches, ".+")).map { [$0] } ?? []
            : hush.labels.sorted { $0.key < $1.key }.map { Matcher($0.key, equals: $0.value) }
        guard
            let silence = try? Silence(
                id: replaced?.key ?? "", matchers: matchers, startsAt: hush.from, endsAt: hush.to, createdBy: "model",
                comment: "quiet", annotations: hush.endsWithAlerts ? [Silence.endsWithAlertsKey: "true"] : [:],
                zones: { _ in nil })
        else { return }
        let answer = Mutex<String?>(nil)
        // A refusal is found out by the silence that is missing then.
        call { dispatcher in
            let id = try? await dispatcher.setSilence(silence)
            answer.withLock { $0 = id }
        }
        guard let id = answer.withLock(\.self) else {
            receivers.state.withLock { $0.findings.append("a silence was refused: \(silence)") }
            return
        }
        clock.trace("silence \(id) \(hush)")
        reference.state.withLock { state in
            if let replaced, replaced.key != id { state.silences[replaced.key]?.end(at: now) }
            state.silences[id] = hush
        }
    }

    private func expire() {
        let all = reference.state.withLock { $0.silences.keys.sorted() }
        guard let id = all.randomElement(using: &random) else { return }
        let now = executor.now()
        reference.state.withLock { $0.silences[id]?.end(at: now) }
        clock.trace("expire \(id)")
        call { try? await $0.expireSilence(id) }
    }

    /// The rules' state is in the journal too, in the same commits; a kill may come before the dispatcher took it.
    private func post(_ count: Int, over: Bool = false) {
        let now = executor.now()
        var alerts: [Alert] = []
        var changes: [StateChange] = []
        let table = store.entries(of: "rules")
        let names = over ? table.keys.sorted() : []
        for index in 0..<(over ? names.count : count) {
            var labels: [String: String] = [:]
            for (name, values) in ModelKind.values.sorted(by: { $0.key < $1.key }) {
                labels[name] = values.randomElement(using: &random)
            }
            let one = alert(labels["alertname"] ?? "X", labels, from: now.seconds)
            let key = over ? names[index] : "\(one.labels)"
            guard !changes.contains(where: { $0.key == key }) else { continue }
            guard let bytes = table[key], let json = try? JSON(parsing: bytes), var old = Alert(json: json) else {
                alerts.append(one)
                changes.append(StateChange(table: "rules", key: key, value: one.serialized))
                continue
            }
            if over || Int.random(in: 0..<3, using: &random) == 0 {
                // Set back, the clock lets it end before it began.
                old.endsAt = kind.jumpsBack ? now : max(now, old.startsAt + 1)
                changes.append(StateChange(table: "rules", key: key, value: nil))
            }
            alerts.append(old)
        }
        let isKilled = Int.random(in: 0..<10, using: &random) == 0
        call({ [alerts, changes] in await $0.accept(alerts, committing: changes) }, for: isKilled ? 0 : 1)
    }

    private func crash() {
        crashes += 1
        clock.trace("crash")
        executor.abandon()
        if store.isBroken, var lost = durable {
            lost.doubt(variant, steady: clock.steady)
            reference.state.withLock { $0 = lost }
        }
        let isLossy = store.isBroken
        store.crash()
        receivers.state.withLock { $0.forget(isLossy) }
        breakDisk(false)
        let down = Milliseconds.random(in: 0...60_000, using: &random)
        clock.restart(seed: random.next(), after: down)
        begin()
    }

    /// All receivers work: what fires is told in time. Then all alerts end, in half of the lives under a silence, and
    /// there must be nothing left to tell.
    func settle() throws {
        receivers.state.withLock { $0.faults = false }
        breakDisk(false)
        reload(0)
        // What is under way may still fail.
        advance(11_000)
        replay()
        // The group's wait and interval, the longest wait of ours and of a receiver's wish, twice a try.
        advance(5_000 + 30_000 + 90_000 + 30_000 + 2 * 10_000)
        check()
        if Bool.random(using: &random) { silence([:], for: 7_200_000) }
        post(0, over: true)
        // The longest pause, and what was said above.
        advance(180_000 + 155_000)
        replay()
        advance(40_000)
        check()
        checkEnds()
        // A refusal without a later page is told for an hour.
        executor.run(for: 3_700_000)
    }

    /// Finds what must have been told and was not, neither to the receiver nor to those who stand in.
    private func check() {
        let owed = reference.state.withLock(\.owed)
        let lost = Set(store.lost.filter { !$0.isOver }.map(\.text))
        receivers.state.withLock { receivers in
            for debt in owed where !kind.flaps {
                let episode = receivers.episode(debt.labels, debt.start)
                guard !lost.contains("\(debt.labels) \(debt.start)") else { continue }
                for urls in ModelKind.targets[debt.receiver] ?? []
                where !urls.contains(where: { receivers.told.contains("\($0) \(episode)") }) {
                    receivers.findings.append("never told, \(urls): \(episode)")
                }
            }
        }
    }

    /// Finds what was told to fire and never to be over.
    private func checkEnds() {
        let lost = store.lost
        receivers.state.withLock { receivers in
            for (line, isOver) in receivers.last.sorted(by: { $0.key < $1.key }) where !isOver {
                guard !line.hasPrefix("http://c/ "), !line.contains("alertname=\"Vedette"),
                    !receivers.closed.contains(where: { $0.hasPrefix(line) }),
                    !lost.contains(where: { line.hasSuffix("\($0.labels)") }), !receivers.excused.contains(line)
                else { continue }
                receivers.findings.append("told last that it fires: \(line)")
            }
        }
    }

    func findings() -> [String] {
        var findings = receivers.state.withLock { $0.findings } + store.findings
        let (told, closed, excused) = receivers.state.withLock { ($0.told, $0.closed, $0.excused) }
        let lost = store.lost
        if kind.isExact {
            for line in told.sorted() where !line.hasSuffix(" over") && !line.hasPrefix("http://c/ ") {
                if told.contains("\(line) over") || closed.contains(line) || excused.contains(line) { continue }
                if lost.contains(where: { line.hasSuffix($0.text) }) { continue }
                findings.append("told that it fires and never that it is over: \(line)")
            }
            let known = Set(store.everDecided.map(\.text))
            for line in told.sorted() where !line.contains("alertname=\"Vedette") {
                let episode = line.split(separator: " ", maxSplits: 1).last.map(String.init) ?? ""
                if !known.contains(episode) { findings.append("told, never decided: \(line)") }
            }
        }
        for table in [
            "rules", "notifying.outbox", "notifying.pages", "notifying.dead", "notifying.threads", "notifying.diverted",
            AlertGroup.groupsTable, AlertGroup.alertsTable,
        ] {
            let left = store.entries(of: table).keys.sorted()
            if !left.isEmpty { findings.append("\(left.count) entries are left in \(table): \(left)") }
        }
        return findings
    }
}
