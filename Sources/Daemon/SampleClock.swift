internal import Basics
internal import Model
internal import Synchronization

/// The time of samples and of the rules over them: the wall clock, but for going back. When that is set back, samples
/// would be refused until it has passed what is stored, and rules would be blind for as long; so this time goes on
/// ahead of it, by as much as it was set back, until it is set forwards, or until the daemon starts on no samples or
/// later than those that it stored.
final class SampleClock: TimeSource, MetricsSource {
    private struct State {
        var watch: ClockWatch
        var ahead: Milliseconds = 0
        var kept: Milliseconds = 0
    }
    private let state: Mutex<State>
    private let base: any TimeSource

    /// The wall clock's time, until that is set back.
    init(_ base: any TimeSource) {
        self.base = base
        state = Mutex(State(watch: ClockWatch(base)))
    }

    /// How far it is ahead of the wall clock.
    var ahead: Milliseconds { state.withLock { $0.ahead } }

    func now() -> Timestamp {
        state.withLock { state in
            if let gap = state.watch.look(base) { state.ahead = max(0, state.ahead - gap.jump) }
            return state.watch.wall + state.ahead
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
    /// So old may be what is kept after a crash.
    static let keptEvery: Milliseconds = 60_000

    /// Goes on behind the samples of an earlier run: as far ahead as it was, or further where the clock was set back
    /// while nobody looked.
    func goOn(from store: any StateStore) {
        guard let bytes = store.entries(of: SampleClock.table)[SampleClock.key],
            let kept = try? JSON(parsing: bytes), let last = kept["time"]?.number.flatMap({ Int64(exactly: $0) }),
            let ahead = kept["ahead"]?.number.flatMap({ Int64(exactly: $0) })
        else { return }
        let wall = base.now().milliseconds
        state.withLock { state in
            if wall > last + SampleClock.keptEvery {
                state.ahead = 0  // The clock is past all that was stored.
            } else if wall + ahead >= last {
                state.ahead = max(0, ahead)
            } else {
                state.ahead = last - wall + SampleClock.keptEvery
            }
            state.kept = state.ahead
        }
    }

    /// Keeps how far it is: once a minute, at the end, and as soon as the clock was set.
    func keep(in store: any StateStore) {
        let (now, ahead) = (now(), ahead)
        state.withLock { $0.kept = ahead }
        let kept: JSON = ["time": .number(Double(now.milliseconds)), "ahead": .number(Double(ahead))]
        store.commit([StateChange(table: SampleClock.table, key: SampleClock.key, value: kept.serialized())])
    }

    /// Whether the clock was set since the last time that was kept.
    var isToBeKept: Bool {
        _ = now()
        return state.withLock { $0.kept != $0.ahead }
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
