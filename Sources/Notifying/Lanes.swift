internal import Basics

/// Who may be sent next. Pages of one group go through one channel in order; each channel has its own lane with a bound
/// on tries at the same time; channels of one destination share its bucket of tokens and its pauses, and of what they
/// have ready the worst severity goes first.
struct Lanes: Sendable {
    /// One channel's pages.
    private struct Lane {
        let destination: String
        /// By group, in order; the first of each may be sent.
        var groups: [String: [String]] = [:]
        /// First pages that are due, by rank.
        var ready: [FIFO<Turn>] = Array(repeating: FIFO(), count: Severity.allCases.count)
        var inFlight = 0

        /// What goes next, by rank and then by age.
        var next: (rank: Int, sequence: Int)? {
            for (rank, queue) in ready.enumerated() { if let turn = queue.first { return (rank, turn.sequence) } }
            return nil
        }
    }
    private struct Turn {
        var id: String
        var sequence: Int
    }
    /// What channels share.
    private struct Destination {
        var rate: SendingRate?
        /// When the bucket would be full again: one interval later for each message taken.
        var fullAt = Timestamp.distantPast
        /// It asked to be left alone until then.
        var pausedUntil = Timestamp.distantPast
        /// Channels that have something ready and room for a try.
        var open: Set<String> = []

        /// When the next message may go.
        var nextAt: Timestamp {
            guard let rate, fullAt > .distantPast else { return pausedUntil }
            return max(pausedUntil, fullAt - Milliseconds(rate.burst - 1) * rate.interval)
        }
    }

    private var lanes: [String: Lane] = [:]
    private var destinations: [String: Destination] = [:]
    /// Destinations with an open channel.
    private var active: Set<String> = []

    /// Opens a channel's lane, or leaves it as it is.
    private mutating func open(_ channelID: String, _ path: Outbox.Path) {
        if lanes[channelID] == nil {
            lanes[channelID] = Lane(destination: path.destination)
            if destinations[path.destination] == nil { destinations[path.destination] = Destination() }
        }
    }

    /// Sets the rates; of channels that share a destination and differ the slowest counts. Lanes whose channel moved
    /// to another destination move with it.
    mutating func replace(_ paths: [String: Outbox.Path]) {
        for name in Array(destinations.keys) { destinations[name]?.rate = nil }
        for (channelID, path) in paths {
            if let rate = path.rate {
                var destination = destinations[path.destination] ?? Destination()
                let old = destination.rate ?? rate
                destination.rate = SendingRate(
                    burst: min(old.burst, rate.burst), interval: max(old.interval, rate.interval))
                destinations[path.destination] = destination
            }
            guard let lane = lanes[channelID], lane.destination != path.destination else { continue }
            destinations[lane.destination]?.open.remove(channelID)
            var moved = Lane(destination: path.destination)
            (moved.groups, moved.ready, moved.inFlight) = (lane.groups, lane.ready, lane.inFlight)
            lanes[channelID] = moved
            if destinations[path.destination] == nil { destinations[path.destination] = Destination() }
            // Looked at again at the next turn.
            destinations[path.destination]?.open.insert(channelID)
            active.insert(path.destination)
        }
    }

    /// Puts a page behind those of its group; whether it is the first.
    mutating func append(_ id: String, group: String, channelID: String, path: Outbox.Path) -> Bool {
        open(channelID, path)
        lanes[channelID]?.groups[group, default: []].append(id)
        return lanes[channelID]?.groups[group]?.count == 1
    }

    /// Takes a page out; the group's next one when it was the first.
    mutating func remove(_ id: String, group: String, channelID: String) -> String? {
        guard let place = lanes[channelID]?.groups[group]?.firstIndex(of: id) else { return nil }
        lanes[channelID]?.groups[group]?.remove(at: place)
        guard let next = lanes[channelID]?.groups[group]?.first else {
            lanes[channelID]?.groups[group] = nil
            return nil
        }
        return place == 0 ? next : nil
    }

    /// A group's pages through a channel, in order.
    func pages(of group: String, through channelID: String) -> [String] { lanes[channelID]?.groups[group] ?? [] }

    /// Lets the first of a group wait for its turn.
    mutating func ready(_ id: String, rank: Int, sequence: Int, channelID: String) {
        lanes[channelID]?.ready[rank].append(Turn(id: id, sequence: sequence))
        reopen(channelID)
    }

    /// Takes back a turn. O(*n*).
    mutating func unready(_ id: String, rank: Int, channelID: String) {
        lanes[channelID]?.ready[rank].removeAll { $0.id == id }
    }

    /// A try ended.
    mutating func end(_ channelID: String) {
        lanes[channelID]?.inFlight -= 1
        reopen(channelID)
    }

    private mutating func reopen(_ channelID: String) {
        guard let destination = lanes[channelID]?.destination else { return }
        destinations[destination]?.open.insert(channelID)
        active.insert(destination)
    }

    /// Nothing goes to the destination of a channel until then.
    mutating func pause(_ channelID: String, until moment: Timestamp) {
        guard let name = lanes[channelID]?.destination, let destination = destinations[name] else { return }
        destinations[name]?.pausedUntil = max(destination.pausedUntil, moment)
    }

    /// Whose turn it is now, in the order of the severity and of age.
    mutating func take(now: Timestamp, inFlight: Int) -> [String] {
        var taken: [(rank: Int, sequence: Int, id: String)] = []
        for name in active {
            while let destination = destinations[name], destination.nextAt <= now,
                let (channelID, rank) = next(of: name, inFlight: inFlight),
                let turn = lanes[channelID]?.ready[rank].removeFirst()
            {
                lanes[channelID]?.inFlight += 1
                if let rate = destination.rate {
                    destinations[name]?.fullAt = max(destination.fullAt, now) + rate.interval
                }
                taken.append((rank, turn.sequence, turn.id))
            }
            if destinations[name]?.open.isEmpty != false { active.remove(name) }
        }
        return taken.sorted { ($0.rank, $0.sequence) < ($1.rank, $1.sequence) }.map(\.id)
    }

    /// The channel of a destination whose page is the worst, then the oldest; closes those that have none or no room.
    private mutating func next(of name: String, inFlight: Int) -> (channelID: String, rank: Int)? {
        var best: (channelID: String, rank: Int, sequence: Int)?
        for channelID in destinations[name]?.open ?? [] {
            guard let lane = lanes[channelID], lane.destination == name, lane.inFlight < inFlight, let next = lane.next
            else {
                destinations[name]?.open.remove(channelID)
                continue
            }
            guard let found = best, (found.rank, found.sequence) <= (next.rank, next.sequence) else {
                best = (channelID, next.rank, next.sequence)
                continue
            }
        }
        return best.map { ($0.channelID, $0.rank) }
    }

    /// When the next page may go that is held only by its destination; nil when none is.
    var nextDue: Timestamp? { active.compactMap { destinations[$0]?.nextAt }.filter { $0 > .distantPast }.min() }

    /// Moves all timers, after the wall clock was set.
    mutating func shiftTimers(by jump: Milliseconds) {
        for name in Array(destinations.keys) {
            for path in [\Destination.fullAt, \.pausedUntil] {
                guard let moment = destinations[name]?[keyPath: path], moment > .distantPast else { continue }
                destinations[name]?[keyPath: path] = moment + jump
            }
        }
    }

    /// Destinations that hold pages back at `now`: until when, and how many pages stand before them.
    func held(now: Timestamp) -> [(destination: String, until: Timestamp, isPaused: Bool, waiting: Int)] {
        var waiting: [String: Int] = [:]
        for lane in lanes.values { waiting[lane.destination, default: 0] += lane.ready.reduce(0) { $0 + $1.count } }
        return destinations.filter { $0.value.nextAt > now }.map { name, destination in
            (name, destination.nextAt, destination.pausedUntil > now, waiting[name] ?? 0)
        }.sorted { $0.destination < $1.destination }
    }

    /// Lets go of lanes without pages whose channel is gone.
    mutating func keep(_ channels: Set<String>) {
        for (channelID, lane) in lanes where !channels.contains(channelID) && lane.groups.isEmpty && lane.inFlight == 0
        {
            lanes[channelID] = nil
            destinations[lane.destination]?.open.remove(channelID)
        }
    }
}
