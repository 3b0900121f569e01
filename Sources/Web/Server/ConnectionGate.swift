internal import NIOCore
internal import Synchronization

/// Counts connections and what they hold of bodies, in all and by address, and lets none in above the limits: one
/// client can take neither all connections nor all memory.
final class ConnectionGate: Sendable {
    private struct State {
        var total = 0
        var byAddress: [String: Int] = [:]
        var refused = 0
        var bytes = 0
        var bytesByAddress: [String: Int] = [:]
    }
    private let state = Mutex(State())
    private static let localReserve = 16

    /// Whether a connection is let in; `leave` takes it off again.
    func enter(_ peer: Peer, _ limits: WebSettings.Limits) -> Bool {
        state.withLock { state in
            let own = state.byAddress[peer.counted, default: 0]
            // The operator on the machine itself is let in when all others are not.
            let isFree =
                peer.isLocal
                ? state.total < limits.connections + ConnectionGate.localReserve
                : state.total < limits.connections && own < limits.connectionsPerAddress
            guard isFree else {
                state.refused += 1
                return false
            }
            state.total += 1
            state.byAddress[peer.counted] = own + 1
            return true
        }
    }

    func leave(_ peer: Peer) {
        state.withLock { state in
            state.total -= 1
            let left = state.byAddress[peer.counted, default: 1] - 1
            state.byAddress[peer.counted] = left > 0 ? left : nil
        }
    }

    /// Whether so many bytes more of a body may be held; `release` gives them back. All together may hold four bodies
    /// of the longest kind, one address two.
    func hold(_ count: Int, _ peer: Peer, longest: Int) -> Bool {
        state.withLock { state in
            let own = state.bytesByAddress[peer.counted, default: 0] + count
            guard state.bytes + count <= 4 * longest, peer.isLocal || own <= 2 * longest else { return false }
            state.bytes += count
            state.bytesByAddress[peer.counted] = own
            return true
        }
    }

    func release(_ count: Int, _ peer: Peer) {
        guard count > 0 else { return }
        state.withLock { state in
            state.bytes -= count
            let left = state.bytesByAddress[peer.counted, default: count] - count
            state.bytesByAddress[peer.counted] = left > 0 ? left : nil
        }
    }

    /// Bytes of bodies that are held now.
    var heldBytes: Int { state.withLock { $0.bytes } }

    /// Connections now, and those that were turned away.
    var figures: (open: Int, refused: Int) { state.withLock { ($0.total, $0.refused) } }
}

/// Takes no connections for a moment when one cannot be taken, mostly since the process has no file descriptor left:
/// the kernel tells at once again that one waits, and the loop would do nothing else.
final class AcceptPause: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private static let pause = TimeAmount.milliseconds(200)

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is IOError else { return context.fireErrorCaught(error) }
        let listener = context.channel
        _ = listener.setOption(.autoRead, value: false)
        context.eventLoop.scheduleTask(in: AcceptPause.pause) { _ = listener.setOption(.autoRead, value: true) }
    }
}
