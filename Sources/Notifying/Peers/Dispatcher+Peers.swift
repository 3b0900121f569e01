internal import Alerting
internal import Basics
internal import Model
internal import Synchronization

/// What we know of peers, and what they know of us.
struct PeerState: Sendable {
    var settings: PeerSettings
    var book: PeerBook
    /// Another for each run.
    let epoch: String
    /// Grows with every change that peers are told; and for each thing that changed the number of its last change.
    var sequence = 0
    var changes: [Item: Int] = [:]
    /// Silences as peers were last told of them.
    var silences: [String: Timestamp] = [:]
    var links: [String: Link] = [:]
    /// The place that the last figures and the log told of.
    var shownPosition: Int?

    /// Something that peers are told.
    enum Item: Hashable, Sendable {
        /// What a channel was told of a group, by key.
        case told(String)
        /// A silence, by id.
        case silence(String)
    }
    /// One peer.
    struct Link: Sendable {
        /// Up to which change it has ours, and we have its.
        var acknowledged = 0
        var known: (epoch: String, sequence: Int)?
        /// When it was last told everything, in milliseconds of the steady clock.
        var toldAllAt: Int64?
        /// Signalled when there is something new for it.
        let wake = Wake()
    }

    /// How often a peer is told everything: whatever went wrong is mended by then.
    static let whole: Int64 = 60_000

    /// Begins, or goes on where `before` was. Peers know nothing of what was restored, as far as we know.
    init(
        _ settings: PeerSettings, before: PeerState?, _ told: PeerLog?, _ silences: Silences, epoch: String, now: Int64
    ) {
        self.settings = settings
        book = PeerBook(settings, now: now, before: before?.settings.name == settings.name ? before?.book : nil)
        self.epoch = before?.epoch ?? epoch
        (sequence, changes) = (before?.sequence ?? 0, before?.changes ?? [:])
        self.silences = before?.silences ?? [:]
        for member in settings.members { links[member.name] = before?.links[member.name] ?? Link() }
        if before == nil { for key in (told?.entries.keys.sorted() ?? []) { change(.told(key)) } }
        note(silences)
    }

    /// Milliseconds of the steady clock.
    static func steady(_ clock: any TimeSource) -> Int64 { Int64(clock.uptimeNanoseconds() / 1_000_000) }

    mutating func change(_ item: Item) {
        sequence += 1
        changes[item] = sequence
    }

    /// Finds the silences that changed.
    mutating func note(_ all: Silences) {
        for silence in all.all.values.sorted(by: { $0.id < $1.id }) where silences[silence.id] != silence.updatedAt {
            silences[silence.id] = silence.updatedAt
            change(.silence(silence.id))
        }
    }
}

/// Peers: daemons that are given the same alerts, see `PeerSettings`. What was told and the silences are exchanged, and
/// whoever comes later by name waits, so that of several one tells. What a peer says is journalled before it counts.
extension Dispatcher {
    private var steady: Int64 { PeerState.steady(clock) }

    /// Puts other peers in force; nil: none.
    public func replace(peers settings: PeerSettings?) {
        guard settings != peers?.settings else { return }
        let now = look()
        groups.hasPeers = settings != nil
        if let settings {
            let before = peers
            if before == nil {
                var told = PeerLog(name: settings.name)
                figures.unreadable.add(told.restore(from: store))
                store.commit(outbox.begin(told, floor: now + settings.timeout, now: now))
            }
            outbox.told?.name = settings.name
            peers = PeerState(
                settings, before: before, outbox.told, groups.silences, epoch: hexadecimal(random.next()), now: steady)
            keepPlace(now: now)
        } else {
            (peers, outbox.told) = (nil, nil)
            acting.withLock { $0 = nil }
            store.commit(outbox.use(Outbox.Hold(), now: now))
        }
        showPeers()
        peersChanged.signal()
        wake.signal()
    }

    // MARK: Our place

    /// Lets pages wait as long as our place among the peers says; when somebody comes or goes, that changes.
    func keepPlace(now: Timestamp) {
        guard let state = peers else { return }
        let position = state.book.position(now: steady)
        let rest = state.book.settlesIn(now: steady)
        var hold = Outbox.Hold(length: Milliseconds(position) * state.settings.timeout)
        if rest > 0 {
            hold.floor = outbox.hold.floor > now ? outbox.hold.floor : now + rest
        }
        store.commit(outbox.use(hold, now: now))
        acting.withLock { $0 = state.book.first(now: steady) }
        guard position != state.shownPosition else { return }
        peers?.shownPosition = position
        log?.write(
            LogEvent(
                .info, "peers",
                position == 0
                    ? "first of the peers that are up: pages go out at once"
                    : "\(position) of the peers that are up come first: pages wait "
                        + DurationText.format(Milliseconds(position) * state.settings.timeout)))
    }

    /// When that may change by itself, from now.
    var placeChangesIn: Milliseconds? { peers?.book.changesIn(now: steady) }

    // MARK: What we know

    /// Tells peers of what changed with a commit.
    func publish(_ changes: [StateChange]) {
        guard peers != nil else { return }
        let keys = outbox.told?.takeDirty() ?? []
        for key in keys.sorted() { peers?.change(.told(key)) }
        if changes.contains(where: { $0.table == Silences.table }) { peers?.note(groups.silences) }
        wakeLinks()
    }

    private func wakeLinks() {
        guard let state = peers else { return }
        for link in state.links.values where link.acknowledged < state.sequence { link.wake.signal() }
    }

    // MARK: Exchanging

    /// The members, each with what wakes whoever talks to it.
    func peerLinks() -> [(member: PeerMember, wake: Wake)] {
        guard let state = peers else { return [] }
        return state.settings.members.compactMap { member in
            state.links[member.name].map { (member, $0.wake) }
        }
    }

    /// What to tell a peer now; nil when it is none any more.
    func message(to member: String) -> PeerMessage? {
        guard let state = peers, var link = state.links[member] else { return nil }
        if link.toldAllAt.map({ steady - $0 >= PeerState.whole }) ?? true {
            (link.acknowledged, link.toldAllAt) = (0, steady)
            peers?.links[member] = link
        }
        var message = PeerMessage(
            name: state.settings.name, epoch: state.epoch, sequence: state.sequence, now: clock.now())
        message.known = link.known
        guard link.acknowledged < state.sequence else { return message }
        var bytes = 0
        for (item, number) in state.changes.filter({ $0.value > link.acknowledged }).sorted(by: { $0.value < $1.value })
        {
            guard bytes < PeerMessage.bytes else {
                (message.sequence, message.hasMore) = (number - 1, true)
                break
            }
            switch item {
            case .told(let key):
                guard let entry = outbox.told?.entries[key] else {
                    peers?.changes[item] = nil
                    continue
                }
                message.entries.append(entry)
                bytes += 300 + 45 * entry.marks.count
            case .silence(let id):
                guard let silence = groups.silences.all[id] else {
                    peers?.changes[item] = nil
                    peers?.silences[id] = nil
                    continue
                }
                message.silences.append((id, silence.shared))
                bytes += 1000
            }
        }
        return message
    }

    /// A peer took what we told it, and answered.
    ///
    /// - Returns: Whether there is more to be told on either side.
    func take(_ answer: PeerMessage, to sent: PeerMessage, from member: String) throws(PeerRefusal) -> Bool {
        guard answer.name == member else {
            throw PeerRefusal(
                status: 502,
                description: "it names itself '\(answer.name)' and is '\(member)' here; give both the same name")
        }
        try take(answer)
        if let link = peers?.links[member] {
            // It may have forgotten all since, and then its own word counts.
            let isSame = answer.known?.epoch == peers?.epoch
            peers?.links[member]?.acknowledged = isSame ? max(link.acknowledged, sent.sequence) : 0
        }
        peers?.book.update(member) { $0.exchanges += 1 }
        showPeers()
        return sent.hasMore || answer.hasMore
    }

    /// A peer could not be told.
    func missed(_ member: String, _ problem: String) {
        let isNews = peers?.book.members[member]?.problem == nil
        peers?.book.miss(member, problem)
        if isNews { log?.write(LogEvent(.warning, "peers", "peer '\(member)': \(problem)", [("peer", member)])) }
        keepPlace(now: look())
        showPeers()
        wake.signal()
    }

    /// Takes what a peer says over HTTP, and answers what it does not know.
    func answer(_ message: PeerMessage) throws(PeerRefusal) -> PeerMessage {
        guard let state = peers else {
            throw PeerRefusal(
                status: 404, description: "no peers are configured here; describe them under alerting.peers")
        }
        guard message.name != state.settings.name else {
            throw PeerRefusal(
                status: 409,
                description: "'\(message.name)' is the name of this daemon too; give one of them another")
        }
        guard state.links[message.name] != nil else {
            throw PeerRefusal(
                status: 403,
                description: "'\(message.name)' is none of alerting.peers.members here; add it, or mend its name")
        }
        try take(message)
        showPeers()
        guard var answer = self.message(to: message.name) else {
            throw PeerRefusal(status: 404, description: "no peers are configured here any more")
        }
        answer.known = (message.epoch, message.sequence)
        return answer
    }

    /// Counts what could not be read of a peer's message.
    func refuse(_ count: Int, from member: String) {
        if count > 0 { peers?.book.update(member) { $0.refused += count } }
    }

    private func take(_ message: PeerMessage) throws(PeerRefusal) {
        guard let state = peers, let link = state.links[message.name] else {
            throw PeerRefusal(status: 403, description: "'\(message.name)' is no peer of ours any more")
        }
        let now = look()
        // The way takes time as well: of a message that was long under way the offset is unknown, and harmless.
        peers?.book.hear(message.name, offset: message.now - now, now: steady)
        if message.known?.epoch == state.epoch, let sequence = message.known?.sequence {
            peers?.links[message.name]?.acknowledged = max(link.acknowledged, min(sequence, state.sequence))
        } else {
            peers?.links[message.name]?.acknowledged = 0
        }
        let sequenceBefore = peers?.sequence ?? 0
        let wasLevel = peers?.links[message.name]?.acknowledged == sequenceBefore
        var refused = 0
        var changes = merge(message.entries, now: now, refused: &refused)
        changes += merge(message.silences, now: now, refused: &refused)
        refuse(refused, from: message.name)
        // Journalled before it counts.
        if !changes.isEmpty { store.commit(changes) }
        publish(changes)
        peers?.links[message.name]?.known = (message.epoch, message.sequence)
        // What came from there need not go back.
        if wasLevel, let sequence = peers?.sequence { peers?.links[message.name]?.acknowledged = sequence }
        keepPlace(now: now)
        if !changes.isEmpty { figures.show(groups, &outbox) }
        wake.signal()
    }

    private func merge(_ entries: [PeerLog.Entry], now: Timestamp, refused: inout Int) -> [StateChange] {
        guard !entries.isEmpty else { return [] }
        let channels = Dictionary(
            outbox.paths.filter { !$0.value.isLeaving }.map {
                (ByteText("\($0.value.receiver)\n\($0.value.integration)"), $0.key)
            }, uniquingKeysWith: { $1 })
        var changes: [StateChange] = [], keys: Set<String> = []
        var told: [ByteText: AlertGroups.Told] = [:]
        let latest = now + PeerMessage.tolerance
        for entry in entries {
            // Another configuration may have receivers that we have not.
            guard channels[ByteText("\(entry.receiver)\n\(entry.integration)")] != nil else { continue }
            if entry.told > latest { refused += 1 }
            guard let merged = outbox.told?.merge(entry, latest: latest) else { continue }
            changes.append(merged.change)
            keys.insert(entry.key)
            let name = ByteText("\(entry.receiver)\n\(entry.groupKey)")
            var news =
                told[name]
                ?? AlertGroups.Told(groupKey: entry.groupKey, receiver: entry.receiver, at: merged.entry.told)
            news.at = max(news.at, merged.entry.told)
            for fingerprint in merged.fresh {
                guard let mark = merged.entry.marks[fingerprint] else { continue }
                switch mark.knowledge {
                case .leftOut: break
                case .resolved: news.resolved[fingerprint] = mark.at
                case .firing:
                    news.firing[fingerprint] = (mark.at, isKnownEverywhere(fingerprint, entry.groupKey, entry.receiver))
                }
            }
            told[name] = news
        }
        guard !changes.isEmpty else { return [] }
        changes += groups.learn(Array(told.values), now: now)
        changes += outbox.dropTold(keys, group: groupState(now), now: now)
        changes += tellOfPaths(now: now)
        return changes
    }

    /// Whether all channels of a receiver were told that an alert fires.
    private func isKnownEverywhere(_ fingerprint: UInt64, _ groupKey: String, _ receiver: String) -> Bool {
        (settings.receivers[receiver]?.channels ?? []).allSatisfy { id, _ in
            outbox.told?.entry(groupKey, receiver, outbox.path(id).integration)?.marks[fingerprint]?.knowledge
                == .firing
        }
    }

    private func merge(
        _ silences: [(id: String, json: JSON)], now: Timestamp, refused: inout Int
    ) -> [StateChange] {
        var changes: [StateChange] = []
        for (id, json) in silences {
            // Most are known: nothing of them is compiled.
            if let updated = json["updatedAt"]?.timestamp, let own = groups.silences.all[id], own.updatedAt > updated {
                continue
            }
            guard let silence = Silence(id: id, shared: json, zones: settings.zones),
                silence.updatedAt <= now + PeerMessage.tolerance,
                groups.silences.all[id] != nil || groups.silences.all.count < Dispatcher.mostSilences
            else {
                refused += 1
                continue
            }
            changes += groups.merge(silence, now: now)
        }
        return changes
    }
    private static let mostSilences = 20_000

    /// What a group knows of its alerts.
    func groupState(_ now: Timestamp) -> (_ id: String) -> Outbox.GroupState? {
        { [groups] id in
            groups.groups[id].map { group in
                Outbox.GroupState(repeatInterval: group.repeatInterval) { labels in
                    group.members[labels].map { ($0.isResolved(at: now), $0.updatedAt) }
                }
            }
        }
    }

    /// What alerts from outside mean where peers told of them.
    func acceptAsPeer(_ alerts: [Alert], now: Timestamp) -> [StateChange] {
        guard let log = outbox.told, !log.entries.isEmpty else { return [] }
        return groups.adopt(alerts, now: now) { group, groupKey, receiver, alert in
            (settings.receivers[receiver]?.channels ?? []).contains { id, _ in
                let integration = outbox.path(id).integration
                guard let mark = log.entry(groupKey, receiver, integration)?.marks[alert.labels.fingerprint],
                    outbox.lanes.pages(of: group, through: id).isEmpty
                else { return false }
                return mark.knowledge == .firing && mark.at + AlertGroups.peerPhase >= alert.startsAt
            }
        }
    }

    // MARK: Showing

    /// The peers, our place among them, and how they are; nil: there are none.
    public func peersStatus() -> PeersStatus? {
        guard let state = peers else { return nil }
        let now = steady
        return PeersStatus(
            name: state.settings.name, address: state.settings.address, position: state.book.position(now: now),
            isSettled: state.book.isSettled(now: now),
            peers: state.settings.members.map { member in
                PeerStatus(
                    name: member.name, address: member.address, isUp: state.book.isUp(member.name, now: now),
                    problem: state.book.members[member.name]?.problem)
            })
    }

    func showPeers() { figures.peers.withLock { $0 = peers?.book } }
}
