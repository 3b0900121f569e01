import Alerting
import Basics
import Notifying
import Testing
import Transport

/// Whose channel it is, over changes of the file.
@Suite struct ChannelIdentityTests {
    private func text(_ urls: [String]) -> String {
        let channels = urls.map { "{url: \"http://\($0)/\"}" }.joined(separator: ", ")
        return """
            route: {receiver: a, group_by: [alertname], group_wait: 0s, group_interval: 10s}
            receivers: [{name: a, webhook_configs: [\(channels)]}]
            """
    }

    private func told(_ world: World) -> [String] {
        world.transport.requests.map { "\($0.url) \($0.json?["status"]?.string ?? "")" }.sorted()
    }

    @Test(
        "the end goes to whoever was told of the beginning, though the channel stands elsewhere now or is gone",
        arguments: [["b"], ["b", "a"], ["c", "b"], ["c", "d", "a"]], [false, true])
    func moved(urls: [String], isRestarted: Bool) throws {
        let store = MemoryStore()
        let world = try World(text(["a", "b"]), store: store) { _ in ok }
        world.fire("X")
        world.executor.run(for: 5000)
        #expect(told(world) == ["http://a/ firing", "http://b/ firing"])
        var last = world
        let fresh = try settings(text(urls))
        _ = world.ask { await $0.replace(fresh) }
        world.executor.run(for: 2000)
        if isRestarted {
            world.executor.abandon()
            last = try World(text(urls), store: store, start: world.executor.now().seconds) { _ in ok }
        }
        let start = 1_000_000.0
        last.post(alert("X", from: start, to: last.executor.now().seconds))
        last.executor.run(for: 30_000)
        let ends = told(last).filter { $0.hasSuffix("resolved") }
        // After a restart a channel that is gone cannot be reached: its end is a dead letter, never another's.
        let letters = last.ask { await $0.snapshot().deadLetters.map(\.entry.channelID) } ?? []
        for url in ["a", "b"] {
            let isTold = ends.filter { $0 == "http://\(url)/ resolved" }.count == 1
            let isHere = urls.contains(url)
            #expect(isTold || (isRestarted && !isHere && letters.count >= 1), "\(url): \(ends) \(letters)")
        }
    }
}
