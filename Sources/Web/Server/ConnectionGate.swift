internal import NIOCore
internal import Synchronization

/// Counts connections, in all and by address, and lets none in above the limits: one client cannot take them all.
final class ConnectionGate: Sendable {
    private struct State {
        var total = 0
        var byAddress: [String: Int] = [:]
        var refused = 0
    }
    private let state = Mutex(State())

    /// Whether a connection is let in; `leave` takes it off again.
    func enter(_ peer: Peer, _ limits: WebSettings.Limits) -> Bool {
        state.withLock { state in
            let own = state.byAddress[peer.text, default: 0]
            guard state.total < limits.connections, peer.isLocal || own < limits.connectionsPerAddress else {
                state.refused += 1
                return false
            }
            state.total += 1
            state.byAddress[peer.text] = own + 1
            return true
        }
    }

    func leave(_ peer: Peer) {
        state.withLock { state in
            state.total -= 1
            let left = state.byAddress[peer.text, default: 1] - 1
            state.byAddress[peer.text] = left > 0 ? left : nil
        }
    }

    /// Connections now, and those that were turned away.
    var figures: (open: Int, refused: Int) { state.withLock { ($0.total, $0.refused) } }
}
