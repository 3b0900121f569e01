import Basics
import Synchronization
import Testing

@Suite struct WorkPoolTests {
    @Test("each part is run once, and all have ended when the call returns", arguments: [0, 1, 3])
    func parts(helpers: Int) {
        let pool = WorkPool(helpers: helpers, name: "test")
        for count in [0, 1, 2, 7, 1000] {
            let runs = Mutex(Array(repeating: 0, count: count))
            pool.run(count) { part in runs.withLock { $0[part] += 1 } }
            #expect(runs.withLock { $0 } == Array(repeating: 1, count: count))
        }
    }

    @Test("parts that ask for help themselves are done, though all helpers are busy") func nested() {
        let pool = WorkPool(helpers: 2, name: "test")
        let total = Atomic<Int>(0)
        pool.run(8) { _ in
            pool.run(8) { part in total.add(part, ordering: .relaxed) }
        }
        #expect(total.load(ordering: .relaxed) == 8 * 28)
    }
}
