internal import Basics
internal import Notifying
internal import Rules
internal import Scraping
internal import Synchronization
internal import Systemd

extension Vedette {
    /// Tells the service manager how things are, and that they move: a sign goes out only when every rule group, every
    /// scrape loop and the dispatcher have given theirs. Nothing here feeds the watchdog by itself. While the daemon
    /// ends, it asks for the time that pages under way may take.
    func supervise() async {
        // Whatever a watchdog of a few milliseconds is for, it is no reason to do nothing else.
        let pause = max(10, min(5000, (world.manager.watchdog ?? 30_000) / 3))
        var wasStuck = false
        while true {
            hardships.look()
            if isStopping.withLock({ $0 }) { world.manager.tell(.extending(2 * Vedette.drainLimit)) }
            // Actors that hang do not come back from here.
            var stuck = await scheduler.stuckGroups(clock).map { "the rule group '\($0)'" }
            let pages = await dispatcher.pagesUnderWay
            stuck += mailboxes.enumerated().filter { $0.element.pulse.isLate(clock) }.map { "scrape loop \($0.offset)" }
            if stuck.isEmpty {
                world.manager.tell(.alive, .status(statusLine(pages: pages)))
            } else if !wasStuck {
                log.write(
                    LogEvent(
                        .error, "stuck", "\(stuck.joined(separator: ", ")) moves no more; the watchdog is fed no longer"
                    ))
                world.manager.tell(.status("stuck: \(stuck.joined(separator: ", "))"))
            }
            wasStuck = !stuck.isEmpty
            // Cancelled: the daemon ends.
            do { try await clock.sleep(for: pause) } catch { return }
        }
    }

    /// `12 rules, 1 firing; 10 targets, 1 down; 2 pages on their way`.
    private func statusLine(pages: Int) -> String {
        let rules = scheduler.summary
        let targets = manager.targets
        let down = targets.count { $0.status.health == .down }
        let evaluated = rules.lastEvaluation.map { ", evaluated \(max(0, ruleTime - $0) / 1000) s ago" } ?? ""
        return "\(rules.rules) rules, \(rules.firing) firing\(evaluated); \(targets.count) targets, \(down) down; "
            + "\(pages) pages on their way"
    }
}
