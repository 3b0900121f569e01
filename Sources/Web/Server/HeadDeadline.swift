internal import HTTPTypes
internal import NIOCore
internal import NIOExtras
internal import NIOHTTPTypes

/// Closes a connection whose next request's head is not whole in time, counted from the connection's start, or from
/// the first byte behind the last answer. It sees bytes; `HeadWatch`, behind the decoder, tells it of heads.
final class HeadDeadline: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let limit: TimeAmount
    private var deadline: Scheduled<Void>?
    private var isInHead = true

    init(limit: TimeAmount) { self.limit = limit }

    func handlerAdded(context: ChannelHandlerContext) { if context.channel.isActive { start(context) } }

    func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if deadline == nil, isInHead { start(context) }
        context.fireChannelRead(data)
    }

    /// Who connected just before the server ends, and has not said yet what for, is still answered.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is ChannelShouldQuiesceEvent, deadline != nil else {
            return context.fireUserInboundEventTriggered(event)
        }
        let context = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.value.eventLoop.scheduleTask(in: HeadDeadline.lastHead) {
            context.value.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
    }

    private static let lastHead = TimeAmount.milliseconds(500)

    private func start(_ context: ChannelHandlerContext) {
        guard deadline == nil else { return }
        let context = NIOLoopBound(context, eventLoop: context.eventLoop)
        deadline = context.value.eventLoop.scheduleTask(in: limit) { context.value.close(promise: nil) }
    }

    fileprivate func headCame() {
        isInHead = false
        deadline?.cancel()
        deadline = nil
    }

    fileprivate func answerWent() { isInHead = true }
}

/// Tells the deadline what the decoder and the answers say, and ends the connection behind an answer that says so:
/// what follows such a request, the rest of a body perhaps, is taken for no further one.
final class HeadWatch: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart

    private var deadline: HeadDeadline?
    private var isLast = false

    /// How long the client has to read the last answer before the connection is gone: a close while its bytes still
    /// come would take the answer back.
    private static let farewell = TimeAmount.seconds(1)

    func handlerAdded(context: ChannelHandlerContext) {
        // It stands before this one in every pipeline that is made here.
        deadline = try? context.pipeline.syncOperations.handler(type: HeadDeadline.self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isLast else { return }
        if case .head = unwrapInboundIn(data) { deadline?.headCame() }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head): isLast = isLast || head.headerFields[.connection] == "close"
        case .body: break
        case .end:
            deadline?.answerWent()
            if isLast { return end(context, data, promise) }
        }
        context.write(data, promise: promise)
    }

    private func end(_ context: ChannelHandlerContext, _ data: NIOAny, _ promise: EventLoopPromise<Void>?) {
        let written = promise ?? context.eventLoop.makePromise(of: Void.self)
        let held = NIOLoopBound(context, eventLoop: context.eventLoop)
        written.futureResult.whenComplete { _ in
            held.value.close(mode: .output, promise: nil)
            _ = held.value.eventLoop.scheduleTask(in: HeadWatch.farewell) { held.value.close(promise: nil) }
        }
        context.write(data, promise: written)
    }
}
