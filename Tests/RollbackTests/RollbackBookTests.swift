import Basics
import Model
import Settings
import TestSupport
import Testing

@testable import Rollback

/// The book alone: what was seen and the moment go in, changes come out.
@Suite struct RollbackBookTests {
    private static let settings = """
        mode: act
        budget: {runs: 3, window: 1h}
        cooldown: 10m
        flag_stores: [{name: r, redis: {}}]
        actions:
          chat: {flags: [chat], services: [app], clears_within: 7m}
          vision: {flags: [vision], commands: [{name: restart, run: [restart, vision]}]}
          wide: {includes: [chat, vision], flags: [extra]}
          beside: {flags: [beside], services: [app], deployment: {releases: r, link: current}}
          alike: {flags: [alike], services: [app], deployment: {releases: r, link: current}}
          watched: {flags: [watched], mode: observe}
        """

    private var guards: RollbackBook.Guards

    init() throws {
        let settings = try RollbackSettings(
            from: SettingsDocument(RollbackBookTests.settings, file: "v.yaml").map())
        guards = RollbackBook.Guards(settings: settings, isStopped: false, now: at(1000))
    }

    private func reading(
        _ trigger: String, _ action: String, _ state: TriggerReading.State, at moment: Timestamp? = nil
    ) -> TriggerReading {
        TriggerReading(
            trigger: trigger, action: action, state: state, at: moment ?? guards.now,
            firedAt: state == .firing ? guards.now : nil, value: 5, condition: "m > 1 for 1m")
    }

    /// Takes what one trigger sees; the run that began or was told.
    @discardableResult
    private func fire(_ book: inout RollbackBook, _ trigger: String, _ action: String) throws -> RollbackRun {
        _ = book.take([reading(trigger, action, .firing)], guards)
        return try #require(book.runs[book.episodes[trigger]?.run ?? ""])
    }

    /// Carries out every step of a run that can be, with success, up to its outcome.
    private func finish(
        _ book: inout RollbackBook, _ id: String, leaving kinds: Set<String> = [], at moment: Timestamp? = nil
    ) -> RollbackOutcome? {
        var guards = guards
        guards.now = moment ?? guards.now
        for _ in 0..<100 {
            guard let move = book.next(id, isStopped: guards.isStopped) else { break }
            switch move {
            case .wait: return nil
            case .perform(let index), .announce(let index):
                let kind = book.runs[id]?.steps[index].kindName ?? ""
                if kinds.contains(kind) { return nil }
                _ = book.update(id) { run in
                    run.begin(index, now: guards.now)
                    run.end(index, .done("done", before: kind == "check" ? "v1" : nil), now: guards.now)
                }
            case .skip(let index, let reason): _ = book.update(id) { $0.skip(index, reason, now: guards.now) }
            case .finish(let outcome, let reason): _ = book.finish(id, outcome, reason, now: guards.now)
            }
        }
        return book.runs[id]?.outcome
    }

    @Test("a second trigger of an action that runs joins it") func join() throws {
        var book = RollbackBook()
        let run = try fire(&book, "one", "chat")
        let second = try fire(&book, "two", "chat")
        #expect(second.id == run.id && second.causes.compactMap(\.trigger) == ["one", "two"])
        #expect(book.runs.count == 1)
        // An episode acts once, however often it is seen.
        let again = book.take([reading("one", "chat", .firing)], guards)
        #expect(again.begun.isEmpty && book.runs[run.id]?.causes.count == 2)
        // Both must be clear.
        _ = book.take([reading("one", "chat", .clear, at: at(1001))], guards)
        #expect(book.clearance(of: try #require(book.runs[run.id]), since: at(1000)).isClear == false)
        _ = book.take([reading("two", "chat", .clear, at: at(1001))], guards)
        #expect(book.clearance(of: try #require(book.runs[run.id]), since: at(1000)).isClear)
        #expect(book.clearance(of: try #require(book.runs[run.id]), since: at(1001)).isClear == false, "not seen since")
    }

    @Test("a trigger that joins a run begun by hand is waited for") func joinByHand() throws {
        var book = RollbackBook()
        let (id, _) = book.request("chat", RollbackCause(text: "me"), isByHand: true, guards)
        #expect(book.runs[id]?.steps.contains { $0.key == "clear" } == false)
        try fire(&book, "one", "chat")
        #expect(book.runs[id]?.steps.last?.kind == .clear(420_000))
        try fire(&book, "two", "chat")
        #expect(book.runs[id]?.steps.filter { $0.key == "clear" }.count == 1)
    }

    @Test("of two triggers in one evaluation the wider action begins, and the narrower joins it") func widestFirst()
        throws
    {
        var book = RollbackBook()
        let decision = book.take([reading("a", "chat", .firing), reading("b", "wide", .firing)], guards)
        #expect(decision.begun.count == 1 && book.runs.count == 1)
        #expect(book.runs.values.first?.action == "wide" && book.runs.values.first?.causes.count == 2)
    }

    @Test("a wider run takes a narrower one over, with what it did and with its triggers") func absorb() throws {
        var book = RollbackBook()
        let narrow = try fire(&book, "one", "chat")
        #expect(finish(&book, narrow.id, leaving: ["stabilise"]) == nil)
        let wide = try fire(&book, "two", "wide")
        #expect(wide.waitsFor == [narrow.id] && wide.thread == narrow.thread)
        #expect(book.next(wide.id, isStopped: false) == .wait)
        // One more trigger, before the narrower run has let go.
        try fire(&book, "three", "chat")
        #expect(finish(&book, narrow.id) == .absorbed)
        let taken = try #require(book.runs[wide.id])
        #expect(taken.steps.first { $0.key == "flag:r/chat" }?.status == .done)
        #expect(taken.steps.first { $0.key == "flag:r/chat" }?.detail.hasPrefix("done by \(narrow.id)") == true)
        #expect(taken.steps.first { $0.key == "flag:r/vision" }?.status == .pending)
        #expect(Set(book.episodes.values.map(\.run)) == [wide.id])
        #expect(Set(taken.causes.compactMap(\.trigger)) == ["one", "two", "three"], "all of them must be clear")
        #expect(book.runs[narrow.id]?.isClosed == false, "its incident goes on as the wider run's")
        #expect(finish(&book, wide.id) == .succeeded)
        #expect(book.runs[wide.id]?.isClosed == true)
    }

    @Test("of two runs taken over, the incident that does not go on is closed") func absorbTwo() throws {
        var book = RollbackBook()
        let one = try fire(&book, "one", "chat")
        let two = try fire(&book, "two", "vision")
        let wide = try fire(&book, "three", "wide")
        #expect(finish(&book, one.id) == .absorbed)
        #expect(finish(&book, two.id) == .absorbed)
        let closed = [one, two].filter { book.runs[$0.id]?.isClosed == true }.map(\.thread)
        #expect(closed.count == 1 && !closed.contains(wide.thread))
    }

    @Test("runs that share a service, neither within the other, wait") func partialOverlap() throws {
        var book = RollbackBook()
        let one = try fire(&book, "one", "beside")
        let two = try fire(&book, "two", "chat")
        let apart = try fire(&book, "three", "vision")
        #expect(two.waitsFor == [one.id] && apart.waitsFor.isEmpty)
        #expect(book.runs[one.id]?.absorbedBy == nil)
        #expect(book.next(two.id, isStopped: false) == .wait)
        #expect(finish(&book, one.id) == .succeeded)
        #expect(book.next(two.id, isStopped: false) != .wait)
        #expect(finish(&book, two.id) == .succeeded)
    }

    @Test("who waited for a run that set a link back does not set it back once more") func oneReleaseBack() throws {
        var book = RollbackBook()
        var text = RollbackBookTests.settings
        text += "\n  twin: {flags: [twin], deployment: {releases: r, link: current}}"
        var guards = guards
        guards.settings = try RollbackSettings(from: SettingsDocument(text, file: "v.yaml").map())
        _ = book.take([reading("one", "beside", .firing)], guards)
        _ = book.take([reading("two", "twin", .firing)], guards)
        let (one, two) = (book.sorted[0], book.sorted[1])
        #expect(two.waitsFor == [one.id])
        #expect(finish(&book, one.id) == .succeeded)
        let waiting = try #require(book.runs[two.id])
        #expect(waiting.steps.first { $0.key == "link:current" }?.status == .done)
        #expect(waiting.steps.first { $0.key == "flag:r/twin" }?.status == .pending)
        #expect(finish(&book, two.id) == .succeeded)
    }

    @Test("a release that is named is set, whatever another run set the link to") func namedRelease() throws {
        var book = RollbackBook()
        let text = """
            mode: act
            actions:
              one: {deployment: {releases: r, link: current}}
              wide: {includes: [one], deployment: {releases: r, link: current, to: v1}}
              two: {deployment: {releases: r, link: current, to: v1}}
            """
        var guards = guards
        guards.settings = try RollbackSettings(from: SettingsDocument(text, file: "v.yaml").map())
        for action in ["two", "wide"] {
            book = RollbackBook()
            _ = book.take([reading("t", "one", .firing)], guards)
            let one = book.sorted[0]
            #expect(finish(&book, one.id, leaving: ["stabilise"]) == nil)
            _ = book.take([reading("u", action, .firing)], guards)
            _ = finish(&book, one.id)
            let links = book.runs[book.episodes["u"]?.run ?? ""]?.steps.filter { $0.key == "link:current" }
            #expect(
                links?.filter { $0.kind == .deployment(Deployment(releases: "r", link: "current", release: "v1")) }
                    .map(\.status) == [.pending], "\(action)")
        }
    }

    @Test("the budget ends what begins by itself, and its window gives it back") func budget() throws {
        var book = RollbackBook()
        var (guards, outcomes): (RollbackBook.Guards, [RollbackOutcome?]) = (guards, [])
        for (trigger, action) in [("a", "chat"), ("b", "vision"), ("c", "beside"), ("d", "wide")] {
            _ = book.take([reading(trigger, action, .firing)], guards)
            let id = try #require(book.episodes[trigger]?.run)
            _ = finish(&book, id)
            outcomes.append(book.runs[id]?.outcome)
        }
        #expect(outcomes == [.succeeded, .succeeded, .succeeded, .refused])
        #expect(book.budgetLeft(guards.settings, guards.now) == 0)
        #expect(book.runs[book.episodes["d"]?.run ?? ""]?.reason.contains("the budget is spent: 3 in 1h") == true)
        guards.now = at(1000 + 3600)
        #expect(book.budgetLeft(guards.settings, guards.now) == 3)
    }

    @Test("an action rests after a run; a wider one may begin") func cooldown() throws {
        var book = RollbackBook()
        let run = try fire(&book, "a", "chat")
        #expect(finish(&book, run.id) == .succeeded)
        _ = book.take([reading("a", "chat", .clear)], guards)
        var guards = guards
        guards.now = at(1000 + 599)
        _ = book.take([reading("a", "chat", .firing)], guards)
        let refused = try #require(book.runs[book.episodes["a"]?.run ?? ""])
        #expect(refused.outcome == .refused && refused.reason.contains("rests for another 1s after \(run.id)"))
        _ = book.take([reading("w", "wide", .firing)], guards)
        #expect(book.active.map(\.action) == ["wide"])
        #expect(finish(&book, book.active[0].id, at: guards.now) == .succeeded)
        // The wider run was one of the narrower action too.
        guards.now = at(1000 + 600)
        _ = book.take([reading("b", "chat", .firing)], guards)
        #expect(book.runs[book.episodes["b"]?.run ?? ""]?.outcome == .refused)
        guards.now = at(1000 + 1200)
        _ = book.take([reading("c", "chat", .firing)], guards)
        #expect(book.active.map(\.action) == ["chat"])
    }

    @Test("within the rest of its own action, a run knows which release another set its link to") func linkLately()
        throws
    {
        var book = RollbackBook()
        let deployment = Deployment(releases: "r", link: "current")
        let first = try fire(&book, "a", "beside")
        #expect(book.releaseSetLately(for: deployment, by: first.id, guards) == nil)
        #expect(finish(&book, first.id) == .succeeded)
        var guards = guards
        guards.now = at(1000 + 599)
        _ = book.take([reading("b", "alike", .firing, at: guards.now)], guards)
        let second = try #require(book.episodes["b"]?.run)
        let lately = try #require(book.releaseSetLately(for: deployment, by: second, guards))
        #expect(lately == ("v1", first.id))
        #expect(book.releaseSetLately(for: Deployment(releases: "r", link: "other"), by: second, guards) == nil)
        let named = Deployment(releases: "r", link: "current", release: "v7")
        #expect(book.releaseSetLately(for: named, by: second, guards) == nil, "a release that is named is meant")
        guards.now = at(1000 + 600)
        #expect(book.releaseSetLately(for: deployment, by: second, guards) == nil, "its rest is over")
        let byHand = book.request("alike", RollbackCause(text: "me"), isByHand: true, self.guards).id
        #expect(byHand == second, "it is under way")
        #expect(finish(&book, second) == .succeeded)
        let third = book.request("alike", RollbackCause(text: "me"), isByHand: true, self.guards).id
        #expect(book.releaseSetLately(for: deployment, by: third, self.guards) == nil, "a person means it")
    }

    @Test("the kill switch refuses, and leaves out what is left") func killSwitch() throws {
        var book = RollbackBook()
        let running = try fire(&book, "a", "vision")
        #expect(finish(&book, running.id, leaving: ["command"]) == nil)
        var guards = guards
        guards.isStopped = true
        _ = book.take([reading("b", "chat", .firing)], guards)
        let refused = try #require(book.runs[book.episodes["b"]?.run ?? ""])
        #expect(refused.outcome == .refused && refused.reason.contains("the kill switch is on"))
        guard case .skip(let index, "the kill switch is on")? = book.next(running.id, isStopped: true) else {
            Issue.record("\(String(describing: book.next(running.id, isStopped: true)))")
            return
        }
        #expect(book.runs[running.id]?.steps[index].key == "command:restart vision")
        #expect(finish(&book, running.id, leaving: []) == .succeeded, "off again")
    }

    @Test(
        "observe and hold only tell; their incident closes with the trigger",
        arguments: ["watched", RollbackSettings.hold])
    func onlyTold(action: String) throws {
        var book = RollbackBook()
        let decision = book.take([reading("a", action, .firing)], guards)
        let run = try #require(book.runs.values.first)
        #expect(decision.begun.isEmpty && decision.told == [run.id])
        #expect(run.outcome == (action == "watched" ? .observed : .held) && !run.isClosed && !run.isActing)
        #expect(book.budgetLeft(guards.settings, guards.now) == 3)
        // No data is no end.
        #expect(book.take([reading("a", action, .noData)], guards).told.isEmpty)
        #expect(book.episodes["a"] != nil)
        #expect(book.take([reading("a", action, .firing)], guards).told.isEmpty, "told once")
        #expect(book.take([reading("a", action, .clear)], guards).told == [run.id])
        #expect(book.runs[run.id]?.closedAt == guards.now && book.episodes.isEmpty)
    }

    @Test("what was left half-way stays open when the trigger is clear") func halfWay() throws {
        var book = RollbackBook()
        let run = try fire(&book, "a", "chat")
        _ = book.finish(run.id, .stopped, "manual intervention required", now: guards.now)
        let decision = book.take([reading("a", "chat", .clear)], guards)
        #expect(decision.told.isEmpty && book.runs[run.id]?.isClosed == false && book.episodes.isEmpty)
    }

    @Test("a trigger without data is no end of a run, either") func blindRun() throws {
        var book = RollbackBook()
        let run = try fire(&book, "a", "chat")
        _ = book.take([reading("a", "chat", .noData, at: at(2000))], guards)
        let (isClear, detail) = book.clearance(of: run, since: at(1000))
        #expect(!isClear && detail == "a has no data")
    }

    @Test("a trigger that is configured no more lets go of its run") func forgottenTrigger() throws {
        var book = RollbackBook()
        _ = book.take([reading("a", "watched", .firing)], guards)
        let run = try #require(book.runs.values.first)
        #expect(book.keep(["a"], now: guards.now).told.isEmpty)
        #expect(book.keep([], now: guards.now).told == [run.id])
        #expect(book.runs[run.id]?.isClosed == true && book.readings.isEmpty)
    }

    @Test("a person goes over mode, cooldown and budget, not over the kill switch") func byHand() throws {
        var book = RollbackBook()
        var guards = guards
        func ask(_ action: String) -> RollbackRun? {
            let (id, decision) = book.request(action, RollbackCause(text: "me"), isByHand: true, guards)
            return decision.begun == [id] ? book.runs[id] : nil
        }
        for _ in 0..<5 {
            for action in ["watched", "chat"] {
                let run = try #require(ask(action))
                #expect(finish(&book, run.id) == .succeeded)
            }
        }
        (guards.isStopped, guards.now) = (true, at(1001))
        #expect(ask("chat") == nil)
        #expect(book.sorted.last?.outcome == .refused && book.sorted.last?.isClosed == true)
    }

    @Test("old runs go, but no refusals push out what cooldown and budget rest on") func retention() throws {
        var book = RollbackBook()
        var guards = guards
        let first = try fire(&book, "a", "chat")
        #expect(finish(&book, first.id) == .succeeded)
        var removed = 0
        for index in 1...(RollbackBook.keptRuns + 50) {
            guards.now = at(1000 + Double(index))
            _ = book.take([reading("a", "chat", .clear)], guards)
            let decision = book.take([reading("a", "chat", .firing)], guards)
            #expect(decision.begun.isEmpty, "a trigger that flaps does not outlast the cooldown")
            removed += decision.changes.count { $0.table == RollbackRun.table && $0.value == nil }
        }
        #expect(book.runs[first.id] != nil)
        #expect(removed >= 48 && book.runs.count <= RollbackBook.keptRuns + 2, "\(removed), \(book.runs.count)")
    }

    @Test("what a peer decides on is noted and not told, its end neither; what a person asks for is done") func peers()
        throws
    {
        var book = RollbackBook()
        var second = guards
        second.peerBeforeUs = "a"
        let decision = book.take(
            [reading("t", "chat", .firing), reading("u", "alert_and_investigate", .firing)], second)
        #expect(decision.begun.isEmpty && decision.told.isEmpty && book.sorted.count == 2)
        #expect(book.sorted.allSatisfy { $0.outcome == .refused && $0.reason.contains("peer 'a'") })
        // It is not taken over.
        #expect(book.take([reading("t", "chat", .firing)], guards).begun.isEmpty)
        #expect(
            book.take([reading("t", "chat", .clear), reading("u", "alert_and_investigate", .clear)], guards).told
                .isEmpty)
        let (_, asked) = book.request("chat", RollbackCause(text: "me"), isByHand: true, second)
        #expect(asked.begun.count == 1)
        #expect(try fire(&book, "v", "vision").outcome == nil)
    }

    @Test("the book survives the journal, under way and ended") func restored() throws {
        let store = AlertRecorder()
        var book = RollbackBook()
        let decision = book.take([reading("a", "chat", .firing), reading("b", "watched", .firing)], guards)
        store.commit(decision.changes)
        let again = RollbackBook(restoring: store)
        #expect(again.runs == book.runs && again.episodes == book.episodes)
        #expect(again.active.map(\.action) == ["chat"] && again.unreadable.isEmpty)
        store.commit([StateChange(table: RollbackRun.table, key: "rb-1", value: Array("{}".utf8))])
        #expect(RollbackBook(restoring: store).unreadable == ["rb-1"])
        // An outcome that this version does not know is no run under way.
        let run = try #require(again.active.first)
        let text = run.json.serialized()
        #expect(RollbackRun(text) == run)
        #expect(RollbackRun(text.dropLast() + Array(#","outcome":"paused"}"#.utf8)) == nil)
    }
}

private func at(_ seconds: Double) -> Timestamp { Timestamp(seconds: seconds) }
