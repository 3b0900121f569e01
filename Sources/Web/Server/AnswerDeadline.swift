internal import NIOCore

/// Closes a connection whose client does not take its answer: of what waits to be sent, each `limit` of time must see
/// `pace` bytes go. Else a client that never reads would hold its answer's memory, and its connection, for ever.
final class AnswerDeadline: ChannelOutboundHandler, RemovableChannelHandler {
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    /// In bytes; whoever takes less is not slow but gone, or means harm.
    static let pace = 16 << 10

    private let limit: TimeAmount
    private var written = 0, goneBefore = 0
    private var look: Scheduled<Void>?

    init(limit: TimeAmount) { self.limit = limit }

    func handlerRemoved(context: ChannelHandlerContext) { look?.cancel() }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        written += unwrapOutboundIn(data).readableBytes
        context.write(data, promise: promise)
    }

    func flush(context: ChannelHandlerContext) {
        context.flush()
        guard look == nil, let waiting = waiting(context), waiting > 0 else { return }
        goneBefore = written - waiting
        schedule(context)
    }

    private func schedule(_ context: ChannelHandlerContext) {
        let context = NIOLoopBound(context, eventLoop: context.eventLoop)
        let own = NIOLoopBound(self, eventLoop: context.value.eventLoop)
        look = context.value.eventLoop.scheduleTask(in: limit) { own.value.judge(context.value) }
    }

    private func judge(_ context: ChannelHandlerContext) {
        look = nil
        guard let waiting = waiting(context), waiting > 0 else { return }
        let gone = written - waiting
        guard gone - goneBefore >= AnswerDeadline.pace else { return context.close(promise: nil) }
        goneBefore = gone
        schedule(context)
    }

    /// Bytes that the kernel has not taken; nil when that is not told.
    private func waiting(_ context: ChannelHandlerContext) -> Int? {
        // A channel that is closed has nothing that waits.
        try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)
    }
}
