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
    var settings: NotifyingSettings
    var channels: [String: (receiver: String, channel: any Channel)] = [:]
    var groups: AlertGroups
    var outbox: Outbox
    var deliveries: [Delivery] = []
    var isStopping = false
    /// The two clocks at the last look, to notice when the wall clock is set.
    private var lastLook: (wall: Timestamp, uptime: UInt64)

    let store: any StateStore
    let clock: any TimeSource
    let transport: any HTTPTransport
    let random: SharedRandom
    let files: Secret.FileReader
    let externalURL: String
    let wake = Wake()
    let figures = DispatcherFigures()

    /// How many tries are remembered for the pages.
    static let rememberedDeliveries = 200

    /// Takes up the state that `store` holds. `files` reads secrets' files; `random` chooses the jitter. No group
    /// is told of before `opening`.
    public init(
        _ settings: NotifyingSettings, store: any StateStore, clock: any TimeSource, transport: any HTTPTransport,
        random: SharedRandom, externalURL: String, files: @escaping Secret.FileReader,
        rules: Outbox.Rules = Outbox.Rules(), opening: Timestamp = .distantPast
    ) {
        (self.settings, self.store, self.clock, self.transport) = (settings, store, clock, transport)
        (self.random, self.externalURL, self.files) = (random, externalURL, files)
        let now = clock.now()
        lastLook = (now, clock.uptimeNanoseconds())
        channels = Dispatcher.channels(settings)
        groups = AlertGroups(settings.alerting, opening: opening)
        outbox = Outbox(rules: rules)
        figures.begin(settings)
        let restored = groups.restore(
            from: store, receivers: Set(settings.receivers.keys), zones: settings.zones, now: now)
        let pages = outbox.restore(from: store, channels: Set(channels.keys), now: now)
        figures.unreadable.add(restored.unreadable + pages.unreadable)
        if pages.unknown > 0 { figures.unknown.add(["channel": "restart"], pages.unknown) }
        let changes = restored.changes + pages.changes
        if !changes.isEmpty { store.commit(changes) }
        figures.show(groups, &outbox)
    }

    private static func channels(
        _ settings: NotifyingSettings
    ) -> [String: (receiver: String, channel: any Channel)] {
        var channels: [String: (receiver: String, channel: any Channel)] = [:]
        for receiver in settings.receivers.values {
            for (id, channel) in receiver.channels { channels[id] = (receiver.name, channel) }
        }
        return channels
    }

    /// See `AlertSink.accept`.
    public func accept(_ alerts: [Alert], committing changes: [StateChange]) {
        let now = look()
        let all = changes + groups.take(alerts, now: now)
        if !all.isEmpty { store.commit(all) }
        figures.show(groups, &outbox)
        wake.signal()
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
                let targets = settings.receivers[receiver]?.channels ?? []
                for (_, channel) in targets { figures.pages.add(["channel": channel.kind, "receiver": receiver]) }
                all += outbox.add(notification, through: targets.map(\.id), now: now)
            }
        }
        let durability = all.isEmpty ? .durable : store.commit(all)
        figures.show(groups, &outbox)
        wake.signal()
        return durability
    }

    /// Puts other settings in force; pages of channels that are gone become dead letters.
    public func replace(_ settings: NotifyingSettings) {
        let now = look()
        self.settings = settings
        figures.begin(settings)
        channels = Dispatcher.channels(settings)
        let letters = outbox.deadLetters.count
        let changes =
            groups.replace(settings.alerting, receivers: Set(settings.receivers.keys), now: now)
            + outbox.keep(Set(channels.keys), now: now)
        for letter in outbox.deadLetters.dropFirst(letters) { countRefusal(letter.entry.channelID) }
        if !changes.isEmpty { store.commit(changes) }
        figures.show(groups, &outbox)
        wake.signal()
    }

    /// Tells what is due and delivers it, until cancelled or, after `stop`, until the last try has an outcome.
    public func run() async {
        await withDiscardingTaskGroup { tries in
            while !Task.isCancelled {
                let (pages, pause) = step()
                for (page, entry) in pages { tries.addTask { await self.deliver(page, entry) } }
                if isStopping { return }  // The group waits for the tries under way.
                await clock.wait(for: wake, atMost: pause)
            }
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
            groups.shiftTimers(by: jump)
            outbox.shiftTimers(by: jump)
        }
        lastLook = (now, uptime)
        return now
    }

    /// Decides, commits, and returns what is to be sent now and how long to rest then.
    private func step() -> (pages: [(Page, OutboxEntry)], pause: Milliseconds?) {
        let now = look()
        let decision = groups.flush(now: now)
        var changes = decision.changes
        for (reason, count) in decision.suppressed { figures.suppressed.add(["reason": reason.rawValue], count) }
        for notification in decision.notifications {
            let targets = (settings.receivers[notification.receiver]?.channels ?? []).filter {
                $0.channel.sendsResolved || !notification.tellsOnlyEnds
            }
            for (_, channel) in targets {
                figures.pages.add(["channel": channel.kind, "receiver": notification.receiver])
            }
            changes += outbox.add(notification, through: targets.map(\.id), now: now)
        }
        let due: (entries: [OutboxEntry], changes: [StateChange]) = isStopping ? ([], []) : outbox.takeDue(now: now)
        changes += due.changes
        var isUnjournalled = false
        if !changes.isEmpty, case .volatile = store.commit(changes) {
            // A page is never held back by a disk; it says so itself.
            isUnjournalled = true
            figures.unjournalled.add(due.entries.count)
        }
        figures.show(groups, &outbox)
        let pages = due.entries.map { entry in
            var page = Page(entry.notification, key: entry.id)
            (page.attempt, page.isPossiblyRepeated) = (entry.attempts, entry.unknownOutcomes > 0)
            (page.isUnjournalled, page.externalURL) = (isUnjournalled, externalURL)
            return (page, entry)
        }
        let next = [groups.nextFlush, isStopping ? nil : outbox.nextDue].compactMap(\.self).min()
        return (pages, next.map { $0 - now })
    }

    /// Everything, for pages and the API.
    public func snapshot() -> DispatcherSnapshot {
        DispatcherSnapshot(
            groups: groups.groups.values.sorted { ($0.key, $0.receiver) < ($1.key, $1.receiver) },
            outbox: outbox.entries.values.sorted { $0.createdAt < $1.createdAt }, deliveries: deliveries.reversed(),
            deadLetters: outbox.deadLetters.reversed())
    }

    /// Its figures.
    public nonisolated func metrics() -> [MetricFamily] { figures.families(now: clock.now()) }
}

extension DispatcherFigures {
    func show(_ groups: AlertGroups, _ outbox: inout Outbox) {
        let shown = Gauges(
            outboxLength: outbox.entries.count, oldest: outbox.oldest(), groups: groups.groups.count)
        gauges.withLock { $0 = shown }
    }
}
