public import Basics
internal import Model
public import Settings
public import Transport

/// Talks to peers over HTTP: on a change within a fifth of a second, else three times within the time after which a
/// silent one counts as gone. Each peer has a task of its own: one that hangs holds up nobody.
public struct PeerLinks: Sendable {
    private let dispatcher: Dispatcher
    private let clock: any TimeSource
    private let transport: any HTTPTransport
    private let files: Secret.FileReader

    /// Where a peer takes messages, under its URL.
    public static let path = "/api/vedette/v1/peers/exchange"
    /// How long changes are gathered before they are told.
    static let gathering: Milliseconds = 100

    /// For the peers of a dispatcher.
    public init(
        _ dispatcher: Dispatcher, clock: any TimeSource, transport: any HTTPTransport,
        files: @escaping Secret.FileReader
    ) {
        (self.dispatcher, self.clock, self.transport, self.files) = (dispatcher, clock, transport, files)
    }

    /// Talks until cancelled.
    public func run() async {
        while !Task.isCancelled {
            let links = await dispatcher.peerLinks()
            await withTaskGroup(of: Void.self) { tasks in
                for (member, wake) in links { tasks.addTask { await self.talk(to: member, wake) } }
                tasks.addTask { await self.dispatcher.peersChanged.wait() }
                // Until there are other peers.
                await tasks.next()
                tasks.cancelAll()
            }
        }
    }

    /// Tells every peer once what is new for it; for the end of a process.
    public func flush() async {
        await withTaskGroup(of: Void.self) { tasks in
            for (member, _) in await dispatcher.peerLinks() {
                tasks.addTask {
                    guard let message = await dispatcher.message(to: member.name), !message.isEmpty else { return }
                    // What does not arrive is told after the next start.
                    if let answer = try? await exchange(message, with: member, within: 2000) {
                        _ = try? await dispatcher.take(answer, to: message, from: member.name)
                    }
                }
            }
        }
    }

    private func talk(to member: PeerMember, _ wake: Wake) async {
        let pause = max(250, await dispatcher.peerTimeout / 3)
        while !Task.isCancelled, let message = await dispatcher.message(to: member.name) {
            var hasMore = false
            do throws(PeerRefusal) {
                let answer = try await exchange(message, with: member, within: min(5000, pause))
                hasMore = try await dispatcher.take(answer, to: message, from: member.name)
            } catch {
                await dispatcher.missed(member.name, error.description)
            }
            if hasMore { continue }
            await clock.wait(for: wake, atMost: pause)
            // Cancelled: the loop ends.
            try? await clock.sleep(for: PeerLinks.gathering)
        }
        // Until the peers are others.
        while !Task.isCancelled { await wake.wait() }
    }

    private func exchange(
        _ message: PeerMessage, with member: PeerMember, within timeout: Milliseconds
    ) async throws(PeerRefusal) -> PeerMessage {
        let response: HTTPResponse
        do {
            let request = HTTPRequest(
                method: "POST", url: member.url + PeerLinks.path,
                headers: [HTTPHeader("Content-Type", "application/json"), HTTPHeader("User-Agent", "Vedette")]
                    + (try member.http.headers(reading: files)),
                body: message.serialized(), timeout: timeout, maximumResponseBytes: PeerMessage.limit,
                options: member.http.options)
            response = try await transport.send(request)
        } catch let error as TransportError {
            throw PeerRefusal(status: 502, description: clean(error.description, of: member))
        } catch {
            throw PeerRefusal(status: 500, description: "a file of its settings cannot be read")
        }
        guard response.status == 200 else {
            let said = clean(String(decoding: response.body.prefix(300), as: UTF8.self).asOneLine, of: member)
            throw PeerRefusal(status: 502, description: "it answers \(response.status): \(said)")
        }
        var unreadable = 0
        guard let answer = PeerMessage(response.body, unreadable: &unreadable) else {
            throw PeerRefusal(status: 502, description: "what it answers is no message of a peer")
        }
        await dispatcher.refuse(unreadable, from: member.name)
        return answer
    }

    /// What the other side says, without what it was told in confidence.
    private func clean(_ text: String, of member: PeerMember) -> String {
        // What cannot be read cannot leak.
        Secret.cut(member.http.allSecrets.compactMap { try? $0.reveal(files) }, outOf: text)
    }
}

extension Dispatcher {
    var peerTimeout: Milliseconds { peers?.settings.timeout ?? 15_000 }

    /// Takes what a peer says, a body of `PeerLinks.path`, and answers with what it does not know.
    public nonisolated func exchange(_ body: [UInt8]) async throws(PeerRefusal) -> [UInt8] {
        var unreadable = 0
        guard let message = PeerMessage(body, unreadable: &unreadable) else {
            throw PeerRefusal(status: 400, description: "the body is no message of a peer, or longer than 4 MiB")
        }
        let answer = try await answer(message)
        await refuse(unreadable, from: message.name)
        return answer.serialized()
    }
}
