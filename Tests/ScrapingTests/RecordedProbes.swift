import Synchronization

@testable import Scraping

/// The looks that a loop began, and who waits for each; answered at once where `answer` is given.
final class RecordedProbes: Sendable {
    private struct State {
        var all: [(probe: HealthProbe, finish: @Sendable (HealthAnswer) -> Void)] = []
        var answer: (@Sendable (HealthProbe) -> HealthAnswer)?
    }
    private let state = Mutex(State())

    var all: [(probe: HealthProbe, finish: @Sendable (HealthAnswer) -> Void)] { state.withLock { $0.all } }
    var answer: (@Sendable (HealthProbe) -> HealthAnswer)? {
        get { state.withLock { $0.answer } }
        set { state.withLock { $0.answer = newValue } }
    }

    func add(_ probe: HealthProbe, _ finish: @escaping @Sendable (HealthAnswer) -> Void) {
        let answer = state.withLock { state in
            state.all.append((probe, finish))
            return state.answer
        }
        if let answer, probe.begin() { finish(answer(probe)) }
    }
}
