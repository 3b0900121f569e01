internal import Basics
internal import Model

/// Who of the peers is there, by the steady clock, and our place among them. Pure.
struct PeerBook: Sendable {
    /// What is known of a member.
    struct Known: Sendable {
        /// When we last heard of it, in milliseconds of the steady clock; nil: not yet.
        var heardAt: Int64?
        /// Whether it was tried at all, well or not.
        var isTried = false
        /// Why the last try failed.
        var problem: String?
        /// How far its clock is ahead of ours, as far as a message's way lets us know.
        var offset: Milliseconds = 0
        var exchanges = 0, failures = 0, refused = 0
    }

    let name: String, timeout: Milliseconds
    private(set) var members: [String: Known]
    private let startedAt: Int64

    init(_ settings: PeerSettings, now: Int64, before: PeerBook? = nil) {
        (name, timeout) = (settings.name, settings.timeout)
        startedAt = before?.startedAt ?? now
        members = Dictionary(
            settings.members.map { ($0.name, before?.members[$0.name] ?? Known()) }, uniquingKeysWith: { $1 })
    }

    mutating func update(_ member: String, _ body: (inout Known) -> Void) {
        if members[member] != nil { body(&members[member]!) }
    }

    mutating func hear(_ member: String, offset: Milliseconds, now: Int64) {
        update(member) { known in
            (known.heardAt, known.isTried, known.problem, known.offset) = (now, true, nil, offset)
        }
    }

    mutating func miss(_ member: String, _ problem: String) {
        update(member) { known in
            (known.isTried, known.problem) = (true, problem)
            known.failures += 1
        }
    }

    func isUp(_ member: String, now: Int64) -> Bool {
        members[member]?.heardAt.map { now - $0 < timeout } ?? false
    }

    /// Whether all others were asked, or had the time for it: before, nobody knows what was told.
    func isSettled(now: Int64) -> Bool { now - startedAt >= timeout || members.values.allSatisfy(\.isTried) }

    /// How long it may take until that is so.
    func settlesIn(now: Int64) -> Milliseconds { isSettled(now: now) ? 0 : timeout - (now - startedAt) }

    /// Our place among those that are up, by the order of names; before that is known, among all.
    func position(now: Int64) -> Int { before(now: now).count }

    /// The first of those that are up; nil: that is us.
    func first(now: Int64) -> String? { before(now: now).first }

    private func before(now: Int64) -> [String] {
        let isSettled = isSettled(now: now)
        return members.keys.filter { $0.isBefore(name) && (isUp($0, now: now) || !isSettled) }.sorted {
            $0.isBefore($1)
        }
    }

    /// When somebody may next be gone, or all are settled, from now; nil: nothing changes by itself.
    func changesIn(now: Int64) -> Milliseconds? {
        var next = members.values.compactMap { known in known.heardAt.map { $0 + timeout - now } }.filter { $0 > 0 }
        if !isSettled(now: now) { next.append(settlesIn(now: now)) }
        return next.min()
    }
}

extension PeerBook {
    /// What is told of the peers, under Alertmanager's names too where it has one.
    func families(toldByPeers: Int, now: Int64) -> [MetricFamily] {
        let sorted = members.sorted { $0.key.isBefore($1.key) }
        let up = sorted.filter { isUp($0.key, now: now) }.count
        func each(_ value: (Known) -> Double) -> [(Labels, Double)] {
            sorted.map { (["peer": $0.key], value($0.value)) }
        }
        return [
            MetricFamily(.gauge, "alertmanager_cluster_enabled", "Whether there are peers.", 1),
            MetricFamily(.gauge, "alertmanager_cluster_members", "Peers that are up, this daemon among them.", up + 1),
            MetricFamily(
                .gauge, "alertmanager_cluster_failed_peers", "Peers that are configured and not up.", sorted.count - up),
            MetricFamily(
                .gauge, "alertmanager_peer_position",
                "How many peers that are up come first, each of whom is waited for.",
                position(now: now)),
            MetricFamily(
                .gauge, "vedette_peer_up", "Whether a peer was heard of within the time that counts.",
                sorted.map { (["peer": $0.key], isUp($0.key, now: now) ? 1 : 0) }),
            MetricFamily(
                .counter, "vedette_peer_exchanges_total", "Messages to a peer that it took and answered.",
                each { Double($0.exchanges) }),
            MetricFamily(
                .counter, "vedette_peer_exchange_failures_total", "Messages to a peer that failed.",
                each { Double($0.failures) }),
            MetricFamily(
                .counter, "vedette_peer_refused_total",
                "What a peer said and was not taken: of a time to come, or in no known form.",
                each { Double($0.refused) }),
            MetricFamily(
                .gauge, "vedette_peer_clock_offset_seconds",
                "How far a peer's clock is ahead of ours, the way of its last message included.",
                each { Double($0.offset) / 1000 }),
            MetricFamily(
                .counter, "vedette_notifications_told_by_peers_total", "Pages that a peer told in our place.",
                toldByPeers),
        ]
    }
}
