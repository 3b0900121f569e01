public import Alerting
public import Basics
public import Model

/// What comes from outside: alerts of other Prometheis, silences of people; and what is shown of them.
extension Dispatcher {
    /// After what time an alert that is not told again is over, and what else a reader of alerts must know.
    public func posting() -> (resolveTimeout: Milliseconds, settings: AlertingSettings) {
        (settings.resolveTimeout, settings.alerting)
    }

    /// What a reader of silences must know.
    public func silencing() -> (settings: AlertingSettings, zones: ZoneFinder) { (settings.alerting, settings.zones) }

    /// Takes alerts from outside; `invalid` were refused beside them.
    public func receive(_ alerts: [Alert], invalid: Int) {
        let now = clock.now()
        let over = alerts.count { $0.isResolved(at: now) }
        for (status, count) in [("firing", alerts.count - over), ("resolved", over)] where count > 0 {
            figures.received.add(["status": status], count)
        }
        figures.invalid.add(invalid)
        // What is written of them stands in memory among them: of fewer at a time, its holes are filled again.
        for first in stride(from: 0, to: alerts.count, by: Dispatcher.receivedAtOnce) {
            accept(Array(alerts[first..<min(first + Dispatcher.receivedAtOnce, alerts.count)]), committing: [])
        }
    }
    private static let receivedAtOnce = 2000

    /// Everything that decides, as it stands.
    public func alerting() -> AlertGroups { groups }

    /// Receivers by their names, with their labels.
    public func receivers() -> [(name: String, labels: [String: String])] {
        settings.receivers.values.sorted { $0.name < $1.name }.map { ($0.name, $0.labels) }
    }

    /// The configuration in force, in Alertmanager's grammar, secrets masked.
    public func effectiveConfiguration() -> JSON {
        let receivers = settings.receivers.values.sorted { $0.name < $1.name }
        let inhibiting = settings.alerting.effectiveInhibitRules
        let members: [JSON.Member] =
            [
                JSON.Member("global", settings.effectiveGlobal), JSON.Member("route", settings.alerting.effectiveRoute),
            ] + (inhibiting == [] ? [] : [JSON.Member("inhibit_rules", inhibiting)]) + [
                JSON.Member("receivers", .array(receivers.map(\.effective))),
                JSON.Member("templates", .array(settings.templatePatterns.map { .string($0) })),
            ] + settings.alerting.effectiveIntervals
        return .object(members)
    }

    /// Why an alert is told to whom, or is not: routes, groups, stages, channels, pages on their way and the last
    /// lines of the ledger. Nil when no alert of that fingerprint, or of those labels, is known here.
    public func explain(fingerprint: String, labels: Labels? = nil) -> JSON? {
        guard let labels = groups.labels(fingerprint: fingerprint) ?? labels else { return nil }
        let now = look()
        var members = groups.explain(labels, now: now).members ?? []
        let theirs = groups.groups.values.filter { $0.members[labels] != nil }
        let receivers = Set(theirs.map(\.receiver)).union(settings.tree.matches(labels).map(\.receiver)).sorted()
        members.append(
            JSON.Member(
                "channels",
                .object(
                    receivers.map { name in
                        JSON.Member(name, .array((settings.receivers[name]?.channels ?? []).map { .string($0.id) }))
                    })))
        let (ids, keys) = (Set(theirs.map(\.id)), Set(theirs.map(\.key)))
        let waiting = outbox.entries.values.filter { ids.contains($0.notification.groupID) }
        members.append(
            JSON.Member(
                "pages",
                .array(
                    waiting.sorted { $0.createdAt < $1.createdAt }.map { entry in
                        [
                            "id": .string(entry.id), "channel": .string(entry.channelID),
                            "attempts": .number(Double(entry.attempts)), "lastError": .string(entry.lastError),
                        ]
                    })))
        let lines = snapshot().ledger.filter { keys.contains($0.groupKey) && receivers.contains($0.receiver) }.prefix(
            10)
        members.append(JSON.Member("ledger", .array(lines.map(\.json))))
        return .object(members)
    }

    /// Makes or changes a silence; answers its id, which may be a new one.
    public func setSilence(_ silence: Silence) throws(SilenceError) -> String {
        let now = look()
        let (id, changes) = try groups.set(silence, newID: newUUID(), now: now)
        store.commit(changes)
        publish(changes)
        wake.signal()
        return id
    }

    /// Ends a silence now.
    public func expireSilence(_ id: String) throws(SilenceError) {
        let changes = try groups.expireSilence(id, now: look())
        store.commit(changes)
        publish(changes)
        wake.signal()
    }

    /// - SeeAlso: RFC 9562, version 4.
    private func newUUID() -> String {
        let high = random.next() & ~0xF000 | 0x4000
        let low = random.next() & ~(3 << 62) | 1 << 63
        let text = Array(hexadecimal(high) + hexadecimal(low))
        return [text[0..<8], text[8..<12], text[12..<16], text[16..<20], text[20..<32]].map { String($0) }.joined(
            separator: "-")
    }
}
