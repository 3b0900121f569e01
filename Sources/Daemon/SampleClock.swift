internal import Basics
internal import Model
internal import Synchronization

/// The time of samples and of the rules over them: the wall clock, but for going back. When that is set back, samples
/// would be refused until it has passed what is stored, and rules would be blind for as long; so this time goes on
/// ahead of it, by as much as it was set back, until it is set forwards or the daemon starts anew later than what it
/// stored.
final class SampleClock: TimeSource, MetricsSource {
    private struct State {
        var ahead: Milliseconds
        var wall: Timestamp
        var uptime: UInt64
        var suspended: UInt64
    }
    private let state: Mutex<State>
    private let base: any TimeSource

    /// The wall clock's time, until that is set back.
    init(_ base: any TimeSource) {
        self.base = base
        state = Mutex(
            State(
                ahead: 0, wall: base.now(), uptime: base.uptimeNanoseconds(), suspended: base.suspendedNanoseconds()))
    }

    /// How far it is ahead of the wall clock.
    var ahead: Milliseconds { state.withLock { $0.ahead } }

    func now() -> Timestamp {
        state.withLock { state in
            let (wall, uptime, suspended) = (base.now(), base.uptimeNanoseconds(), base.suspendedNanoseconds())
            let passed = (uptime - min(uptime, state.uptime)) + (suspended - min(suspended, state.suspended))
            let jump = (wall - state.wall) - Milliseconds(passed / 1_000_000)
            // What time servers slew is less than that, and passes.
            if abs(jump) > ClockWatch.tolerance { state.ahead = max(0, state.ahead - jump) }
            (state.wall, state.uptime, state.suspended) = (wall, uptime, suspended)
            return wall + state.ahead
        }
    }

    func uptimeNanoseconds() -> UInt64 { base.uptimeNanoseconds() }
    func suspendedNanoseconds() -> UInt64 { base.suspendedNanoseconds() }
    func sleep(for duration: Milliseconds) async throws(CancellationError) { try await base.sleep(for: duration) }

    func metrics() -> [MetricFamily] {
        [
            MetricFamily(
                .gauge, "vedette_sample_clock_ahead_seconds",
                "How far the time of samples is ahead of the clock, since that was set back.",
                [(Labels(), Double(ahead) / 1000)])
        ]
    }

    // MARK: Over a restart

    private static let table = "clock", key = "samples"

    /// Begins no earlier than the last samples of an earlier run, within a minute.
    func goOn(from store: any StateStore) {
        guard let bytes = store.entries(of: SampleClock.table)[SampleClock.key],
            let last = Int64(String(decoding: bytes, as: UTF8.self))
        else { return }
        let now = now()
        state.withLock { $0.ahead += max(0, last - now.milliseconds) }
    }

    /// Keeps how far it is; once a minute.
    func keep(in store: any StateStore) {
        let value = Array("\(now().milliseconds)".utf8)
        store.commit([StateChange(table: SampleClock.table, key: SampleClock.key, value: value)])
    }
}

/// Alerts and announcements of the rules' and rollbacks' time, as the wall clock shows it.
struct WallTimes: AlertSink, AnnouncementSink {
    let clock: SampleClock
    let alerts: any AlertSink
    let announcements: any AnnouncementSink

    func accept(_ given: [Alert], committing changes: [StateChange]) async {
        await alerts.accept(given.map(shifted), committing: changes)
    }

    func announce(_ given: [Announcement], committing changes: [StateChange]) async -> Durability {
        let moved = given.map { announcement in
            var moved = announcement
            moved.alert = shifted(announcement.alert)
            return moved
        }
        return await announcements.announce(moved, committing: changes)
    }

    private func shifted(_ alert: Alert) -> Alert {
        let ahead = clock.ahead
        guard ahead > 0 else { return alert }
        var moved = alert
        moved.startsAt = alert.startsAt - ahead
        moved.endsAt = alert.endsAt.map { $0 - ahead }
        return moved
    }
}
