internal import Alerting
public import Basics
public import Model
public import Settings
internal import Synchronization
public import Transport

/// Takes alerts, decides whom to tell and when, and delivers the pages. What it decides is pure (`AlertGroups`,
/// `Outbox`); this actor gives it time, the journal and the network.
///
/// Nothing is awaited between a decision and its commit, so that decisions and journal agree in order. The commit
/// blocks: run the actor where that is allowed, by an executor preference of the tasks that call it.
public actor Dispatcher: AlertSink, AnnouncementSink, MetricsSource {
    /// A channel with its receiver's name.
    typealias Target = (receiver: String, channel: any Channel)

    var settings: NotifyingSettings
    var channels: [String: Target] = [:]
    /// Channels that are configured no more, until whoever was told there that something fires is told that it is
    /// over. They are known from the settings before; after a restart what they owe becomes dead letters.
    var leaving: [String: Target] = [:]
    var groups: AlertGroups
    var outbox: Outbox
    var pathAlerts = PathAlerts()
    /// Outcomes that are not committed yet: the loop takes all of them in one commit.
    var finished: [Finished] = []
    /// Whether the loop takes outcomes no more.
    var isLoopOver = false
    private var knownChannels: [String: String] = [:]
    var isStopping = false
    /// How many alerts were decided on since freed memory was last given back.
    private var decidedAlerts = 0
    /// The two clocks at the last look, to notice when the wall clock is set.
    private var lastLook: (wall: Timestamp, uptime: UInt64)

    let store: any StateStore
    let clock: any TimeSource
    let transport: any HTTPTransport
    let random: SharedRandom
    let files: Secret.FileReader
    let log: (any LogSink)?
    let externalURL: String
    /// The peers; nil: there are none, and nothing here knows of them.
    var peers: PeerState?
    /// Signalled when there are other ones.
    nonisolated let peersChanged = Wake()
    /// The peer that acts in our place, see `peerBeforeUs`.
    nonisolated let acting = Mutex<String?>(nil)
    let wake = Wake()
    let figures = DispatcherFigures()

    /// Takes up the state that `store` holds. `files` reads secrets' files; `random` chooses the jitter. No group
    /// is told of before `opening`.
    public init(
        _ settings: NotifyingSettings, store: any StateStore, clock: any TimeSource, transport: any HTTPTransport,
        random: SharedRandom, externalURL: String, files: @escaping Secret.FileReader,
        rules: Outbox.Rules = Outbox.Rules(), opening: Timestamp = .distantPast, peers: PeerSettings? = nil,
        log: (any LogSink)? = nil
    ) {
        let known = store.entries(of: Dispatcher.channelsTable).mapValues { String(decoding: $0, as: UTF8.self) }
        let settings = settings.keepingIDs(known)
        (self.settings, self.store, self.clock, self.transport) = (settings, store, clock, transport)
        (self.random, self.externalURL, self.files) = (random, externalURL, files)
        self.log = log
        let now = clock.now()
        lastLook = (now, clock.uptimeNanoseconds())
        channels = Dispatcher.channels(settings)
        groups = AlertGroups(settings.alerting, opening: opening)
        groups.hasPeers = peers != nil
        outbox = Outbox(rules: rules)
        figures.begin(settings)
        let receivers = Outbox.divertedReceivers(in: store).union(settings.receivers.keys)
        let restored = groups.restore(
            from: store, receivers: receivers, zones: settings.zones, grace: settings.resolveTimeout, now: now)
        let pages = outbox.restore(from: store, paths: Dispatcher.paths(settings, channels, [:]), now: now)
        figures.unreadable.add(restored.unreadable + pages.unreadable)
        if pages.unknown > 0 { figures.unknown.add(["channel": "restart"], pages.unknown) }
        pathAlerts.restore(groups, now: now)
        var changes = restored.changes + pages.changes
        changes += outbox.forgetStandings(except: { [groups] in groups.groups[$0] != nil }, now: now)
        for event in outbox.takeEvents() {
            guard case .refused(let entry, let reason, let message) = event else { continue }
            figures.refuse(entry.channelID)
            let receiver = String(entry.channelID.prefix { $0 != "/" })
            let alert = pathAlerts.refuse(entry, reason, message, receiver: receiver, now: now)
            changes += groups.take(alert.map { [$0] } ?? [], now: now)
        }
        changes += Dispatcher.identities(channels, [:], before: known)
        knownChannels = Dispatcher.identities(channels, [:])
        if !changes.isEmpty { store.commit(changes) }
        if let peers {
            var told = PeerLog(name: peers.name)
            figures.unreadable.add(told.restore(from: store))
            let state = PeerState(
                peers, before: nil, told, groups.silences, epoch: hexadecimal(random.next()),
                now: PeerState.steady(clock))
            self.peers = state
            figures.peers.withLock { $0 = state.book }
            acting.withLock { $0 = peers.members.first { $0.name.isBefore(peers.name) }?.name }
            store.commit(outbox.begin(told, floor: now + peers.timeout, now: now))
        }
        figures.show(groups, &outbox)
    }

    /// Channels by their ids, each with whom it tells: an id stays with that over reloads and restarts.
    static let channelsTable = "notifying.channels"

    private static func identities(_ channels: [String: Target], _ leaving: [String: Target]) -> [String: String] {
        channels.merging(leaving) { $1 }.mapValues(\.channel.addressee)
    }

    private static func identities(
        _ channels: [String: Target], _ leaving: [String: Target], before: [String: String]
    ) -> [StateChange] {
        let now = identities(channels, leaving)
        let changed = Set(now.keys).union(before.keys).filter { now[$0] != before[$0] }
        return changed.sorted().map {
            StateChange(table: channelsTable, key: $0, value: now[$0].map { Array($0.utf8) })
        }
    }

    static func channels(_ settings: NotifyingSettings) -> [String: Target] {
        var channels: [String: Target] = [:]
        for receiver in settings.receivers.values {
            for (id, channel) in receiver.channels { channels[id] = (receiver.name, channel) }
        }
        return channels
    }

    static func paths(
        _ settings: NotifyingSettings, _ channels: [String: Target], _ leaving: [String: Target]
    ) -> [String: Outbox.Path] {
        channels.merging(leaving) { own, _ in own }.reduce(into: [:]) { paths, entry in
            let (receiver, channel) = entry.value
            var path = Outbox.Path(receiver: receiver, destination: channel.destination)
            (path.rate, path.sendsResolved) = (channel.rate, channel.sendsResolved)
            path.isLeaving = channels[entry.key] == nil
            path.integration = path.isLeaving ? entry.key : settings.integration(entry.key, of: receiver)
            path.fallback = path.isLeaving ? nil : settings.receivers[receiver]?.fallback
            paths[entry.key] = path
        }
    }

    /// See `AlertSink.accept`.
    public func accept(_ alerts: [Alert], committing changes: [StateChange]) {
        let now = look()
        guard peers != nil else { return _ = commit(changes + groups.take(alerts, now: now)) }
        let adopted = acceptAsPeer(alerts, now: now)
        let taken = groups.take(alerts, now: now)
        commit(changes + adopted + taken + groups.settleDisputes(alerts, now: now))
    }

    /// The peer that comes before us and is up; nil: we are the first, or alone. Of what only one may do, the first
    /// does it.
    public nonisolated var peerBeforeUs: String? { acting.withLock(\.self) }

    /// How many pages are on their way.
    public var pagesUnderWay: Int { outbox.entries.count }

    /// Commits, shows and wakes the loop.
    @discardableResult
    func commit(_ changes: [StateChange]) -> Durability {
        let durability = changes.isEmpty ? .durable : store.commit(changes)
        publish(changes)
        for turn in groups.takeTurns() { log?.write(LogEvent(turn)) }
        figures.show(groups, &outbox)
        wake.signal()
        return durability
    }

    /// See `AnnouncementSink.announce`.
    @discardableResult
    public func announce(_ announcements: [Announcement], committing changes: [StateChange]) -> Durability {
        let now = look()
        var all = changes
        for announcement in announcements {
            let labels = announcement.alert.labels
            for receiver in Set(settings.tree.matches(labels).map(\.receiver)).sorted() {
                let isOver = announcement.alert.isResolved(at: now)
                let notification = Notification(
                    id: "\(announcement.id)-\(receiver)", groupID: "\(announcement.thread)|\(receiver)",
                    groupKey: announcement.thread, receiver: receiver, reason: isOver ? .allResolved : .newAlerts,
                    groupLabels: labels.keeping(["alertname", "action"]),
                    items: [Notification.Item(announcement.alert, isResolved: isOver)], decidedAt: now)
                all += queue(notification, withEnds: true, now: now)
            }
        }
        return commit(all)
    }

    /// Queues a notification for its receiver's channels, those that leave included.
    ///
    /// - Parameter withEnds: Whether channels that want no ends are told all the same.
    private func queue(_ notification: Notification, withEnds: Bool = false, now: Timestamp) -> [StateChange] {
        let name = notification.receiver
        var targets = settings.receivers[name]?.channels ?? []
        targets += leaving.filter { $0.value.receiver == name }.map { ($0.key, $0.value.channel) }.sorted {
            $0.0 < $1.0
        }
        let isEnd = notification.tellsOnlyEnds && !withEnds
        let told = targets.filter { !isEnd || $0.channel.sendsResolved }
        for (_, channel) in told { figures.pages.add(["channel": channel.kind, "receiver": name]) }
        if isEnd, peers != nil {
            for (id, _) in targets where !told.contains(where: { $0.id == id }) {
                outbox.noteEnds(notification, untoldThrough: id, now: now)
            }
        }
        if notification.endsGroup {
            for (id, _) in targets where !told.contains(where: { $0.id == id }) {
                outbox.forget(Standing.key(notification.groupID, id))
            }
        }
        return outbox.add(notification, through: told.map(\.id), now: now)
    }

    /// Puts other settings in force. Channels that are gone stay as long as they owe somebody an end or a page; what
    /// is on its way through them still goes out.
    public func replace(_ given: NotifyingSettings) {
        let now = look()
        let settings = given.keepingIDs(knownChannels)
        let fresh = Dispatcher.channels(settings)
        leaving.merge(channels) { $1 }
        leaving = leaving.filter { fresh[$0.key] == nil }
        (self.settings, channels) = (settings, fresh)
        figures.begin(settings)
        var changes = settle(now: now)
        let names = Set(settings.receivers.keys).union(leaving.values.map(\.receiver))
            .union(outbox.diversions.values.map(\.receiver))
        let before = groups.groups.keys.sorted()
        changes += groups.replace(settings.alerting, receivers: names, now: now)
        changes += outbox.replace(Dispatcher.paths(settings, channels, leaving), now: now)
        for id in before where groups.groups[id] == nil { outbox.endSilently(id, now: now) }
        changes += outbox.forgetStandings(except: { [groups] in groups.groups[$0] != nil }, now: now)
        changes += release(now: now) + tellOfPaths(now: now)
        changes += Dispatcher.identities(channels, leaving, before: knownChannels)
        knownChannels = Dispatcher.identities(channels, leaving)
        commit(changes)
    }

    /// Lets go of leaving channels that owe nothing any more.
    private func release(now: Timestamp) -> [StateChange] {
        let done = leaving.keys.filter { outbox.isDone($0) }
        guard !done.isEmpty else { return [] }
        for id in done { leaving[id] = nil }
        let changes = Dispatcher.identities(channels, leaving, before: knownChannels)
        knownChannels = Dispatcher.identities(channels, leaving)
        return changes + outbox.replace(Dispatcher.paths(settings, channels, leaving), now: now)
    }

    /// Tells what is due and delivers it, until cancelled or, after `stop`, until the last try has an outcome.
    public func run() async {
        await withDiscardingTaskGroup { tries in
            while !Task.isCancelled {
                let (pages, pause) = step()
                for attempt in pages { tries.addTask { await self.deliver(attempt) } }
                if isStopping { break }  // The group waits for the tries under way.
                await clock.wait(for: wake, atMost: pause)
            }
            isLoopOver = true
        }
    }

    /// Begins no more tries; `run` returns when those under way have an outcome.
    public func stop() {
        isStopping = true
        wake.signal()
    }

    /// The moment; when the wall clock was set since the last look, the timers move with it.
    func look() -> Timestamp {
        let (now, uptime) = (clock.now(), clock.uptimeNanoseconds())
        let passed = Milliseconds((uptime - min(lastLook.uptime, uptime)) / 1_000_000)
        let jump = (now - lastLook.wall) - passed
        if abs(jump) > 1000 {
            let changes = groups.shiftTimers(by: jump) + outbox.shiftTimers(by: jump)
            if !changes.isEmpty { store.commit(changes) }
        }
        lastLook = (now, uptime)
        return now
    }

    /// Decides, commits, and returns what is to be sent now and how long to rest then.
    private func step() -> (pages: [Attempt], pause: Milliseconds?) {
        let now = look()
        keepPlace(now: now)
        var changes = settle(now: now)
        let decision = groups.flush(now: now)
        changes += decision.changes
        for (reason, count) in decision.suppressed { figures.suppressed.add(["reason": reason.rawValue], count) }
        for notification in decision.notifications { changes += queue(notification, now: now) }
        for id in decision.ended { outbox.endSilently(id, now: now) }
        if peers != nil {
            changes += outbox.dropTold(nil, group: groupState(now), now: now) + (outbox.told?.forget(now: now) ?? [])
        }
        let due: (entries: [OutboxEntry], changes: [StateChange]) = isStopping ? ([], []) : outbox.takeDue(now: now)
        changes += due.changes
        changes += tellOfPaths(now: now)
        if !leaving.isEmpty, !changes.isEmpty { changes += release(now: now) }
        var isUnjournalled = false
        if !changes.isEmpty, case .volatile = store.commit(changes) {
            // A page is never held back by a disk; it says so itself.
            isUnjournalled = true
            figures.unjournalled.add(due.entries.count)
        }
        publish(changes)
        figures.show(groups, &outbox)
        decidedAlerts += decision.notifications.reduce(0) { $0 + $1.items.count }
        if decidedAlerts >= 1000, outbox.entries.isEmpty {
            // What a thousand alerts were told with is garbage now.
            decidedAlerts = 0
            releaseAfterBurst()
        }
        let pages = due.entries.map { entry in
            var page = Page(entry.notification, key: entry.id)
            (page.attempt, page.isPossiblyRepeated) = (entry.attempts, entry.unknownOutcomes > 0)
            (page.isUnjournalled, page.externalURL) = (isUnjournalled, externalURL)
            (page.progress, page.standsInFor, page.isOld) = (entry.progress, entry.standsInFor, entry.isOld)
            let key = Standing.key(entry.notification.groupID, entry.channelID)
            page.thread = outbox.standings[key]?.thread ?? [:]
            return Attempt(
                page: page, entry: entry, channel: (channels[entry.channelID] ?? leaving[entry.channelID])?.channel)
        }
        let next = [groups.nextFlush, isStopping ? nil : outbox.nextDue].compactMap(\.self).min()
        return (pages, [next.map { $0 - now }, placeChangesIn].compactMap(\.self).min())
    }

    /// Everything, for pages and the API.
    public func snapshot() -> DispatcherSnapshot {
        DispatcherSnapshot(
            groups: groups.groups.values.sorted { ($0.key, $0.receiver) < ($1.key, $1.receiver) },
            outbox: outbox.entries.values.sorted { ($0.createdAt, $0.sequence) < ($1.createdAt, $1.sequence) },
            ledger: outbox.ledger.all.reversed(), deadLetters: outbox.deadLetters.reversed(),
            held: outbox.lanes.held(now: clock.now()).map {
                HeldDestination(
                    destination: $0.destination, until: $0.until, isPaused: $0.isPaused, waiting: $0.waiting)
            }, leaving: leaving.keys.sorted())
    }

    /// Its figures.
    public nonisolated func metrics() -> [MetricFamily] {
        figures.families(now: clock.now(), uptime: PeerState.steady(clock))
    }
}

extension DispatcherFigures {
    func show(_ groups: AlertGroups, _ outbox: inout Outbox) {
        let shown = Gauges(
            outboxLength: outbox.entries.count, oldest: outbox.oldest(), groups: groups.groups.count,
            deadLetters: outbox.deadLetters.count)
        gauges.withLock { $0 = shown }
    }
}
