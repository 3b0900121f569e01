public import Basics
public import Model
public import Settings
internal import Synchronization

/// Why a request is not answered.
struct AccessRefusal: Error, Hashable {
    /// 401, 403 or 429.
    var status: Int
    /// One sentence with the cure; nothing of what the caller sent stands in it.
    var message: String
    /// After how many seconds it may be tried again.
    var retryAfter: Int?
}

/// Decides who may ask what. Passwords and tokens are compared in constant time; failed logins and requests are
/// counted by address. It keeps at most `addressLimit` addresses in mind and forgets those that are quiet.
public final class AccessGate: Sendable {
    private struct Address {
        /// Requests and failures that are left, and when that was reckoned.
        var requests: Double, failures: Double
        var at: UInt64
    }
    private struct State {
        var settings: WebSettings
        var generation = 0
        var addresses: [String: Address] = [:]
        /// Digests of credentials that were right, since a password's hash is dear to reckon.
        var known: [[UInt8]: Caller] = [:]
        /// Passwords that may still be reckoned, of all addresses.
        var reckonings = 10.0
        var reckonedAt: UInt64 = 0
        var refusals: [Int: Int] = [:]
    }

    private let state: Mutex<State>
    private let clock: any TimeSource
    private let readFile: Secret.FileReader
    /// What digests of credentials begin with, so that they are of use to nobody else.
    private let salt = randomBytes(32)
    private let log: (any LogSink)?
    /// Where hashes are reckoned, so that guesses hold up nobody else; nil: where the question is.
    private let reckoner: ThreadPoolExecutor?

    private static let addressLimit = 10_000, knownLimit = 1000

    /// A gate with its rules. `readFile` reads the files of tokens.
    public init(
        _ settings: WebSettings, clock: any TimeSource, log: (any LogSink)? = nil, reckoner: ThreadPoolExecutor? = nil,
        readFile: @escaping Secret.FileReader
    ) {
        (self.log, self.reckoner) = (log, reckoner)
        state = Mutex(State(settings: settings))
        (self.clock, self.readFile) = (clock, readFile)
    }

    /// Puts these rules in force. What was right before is looked at anew.
    public func replace(_ settings: WebSettings) {
        state.withLock { state in
            state.settings = settings
            state.generation += 1
            state.known = [:]
        }
    }

    /// The rules in force.
    public var settings: WebSettings { state.withLock { $0.settings } }

    /// How many addresses are kept in mind.
    var addressCount: Int { state.withLock { $0.addresses.count } }

    /// How many requests were refused, by status.
    var refusals: [Int: Int] { state.withLock { $0.refusals } }

    /// Who asks, when they may; a password costs some 50 ms the first time.
    func admit(_ request: APIRequest) async throws(AccessRefusal) -> Caller {
        do throws(AccessRefusal) {
            return try await judge(request)
        } catch {
            state.withLock { $0.refusals[error.status, default: 0] += 1 }
            throw error
        }
    }

    private func judge(_ request: APIRequest) async throws(AccessRefusal) -> Caller {
        if case .process = request.peer { return Caller(name: "process", role: .admin) }
        let needed = request.role
        try spendRequest(request.peer)
        guard let needed else { return Caller(name: "", role: nil) }
        let caller = try await identify(request)
        guard let role = caller.role else {
            throw AccessRefusal(status: 401, message: "who asks? give a user's password or a token")
        }
        guard role >= needed else { throw lacking(needed, caller, request) }
        // A browser sends what it knows of a user along with whatever page it shows.
        if needed > .viewer, !request.credentials.isOfSameOrigin {
            throw AccessRefusal(
                status: 403,
                message: "this page is of another origin; changes are taken from Vedette's own and from programs")
        }
        return caller
    }

    private func lacking(_ needed: Role, _ caller: Caller, _ request: APIRequest) -> AccessRefusal {
        guard caller.name.isEmpty else {
            return AccessRefusal(
                status: 403,
                message: "'\(caller.name)' is \(caller.role?.rawValue ?? "nobody") and this takes "
                    + "\(needed.rawValue); give it that role under web, or ask somebody who has it")
        }
        if state.withLock({ $0.settings.isProtected }) {
            return AccessRefusal(
                status: 401, message: "this takes the role \(needed.rawValue); give a password or token")
        }
        return AccessRefusal(
            status: 403,
            message: "changes are taken from this machine alone; configure users or tokens under web, "
                + "or ask there")
    }

    private func identify(_ request: APIRequest) async throws(AccessRefusal) -> Caller {
        let settings = settings
        let isLocal = request.peer.isLocal && !request.credentials.isForwarded
        guard settings.isProtected else {
            // The name that a browser asked for may be anybody's who points it here.
            let isTrusted = isLocal && (request.peer.isUnix || request.credentials.isForThisMachine)
            return Caller(name: "", role: isTrusted ? .admin : .viewer)
        }
        if request.peer.isUnix, !request.credentials.isForwarded {
            return Caller(name: request.peer.text, role: .admin)
        }
        guard let authorization = request.credentials.authorization else {
            return Caller(name: "", role: settings.anonymous)
        }
        let key = Digest.of(salt + Array(authorization.utf8), .sha256)
        // Tokens in files may be exchanged at any moment; what a password gave holds until the next reload.
        let (found, generation) = state.withLock { ($0.known[key], $0.generation) }
        if let found { return found }
        let parts = authorization.split(separator: " ", maxSplits: 1)
        let scheme = parts.first?.lowercased() ?? ""
        let given = parts.count > 1 ? String(parts[1]).trimmed : ""
        // A token cannot be guessed: the right one is taken beside any number of wrong ones of its address.
        if scheme == "bearer", let caller = bearer(given, settings) { return caller }
        try hasFailuresLeft(request.peer)
        if scheme == "basic" {
            if let caller = try await basic(given, settings) {
                state.withLock { state in
                    guard state.generation == generation else { return }
                    if state.known.count >= AccessGate.knownLimit { state.known = [:] }
                    state.known[key] = caller
                }
                return caller
            }
        }
        _ = budget(of: request.peer) { $0.failures -= 1 }
        // As many a minute as are looked at.
        log?.write(
            LogEvent(
                .warning, "login-failed",
                "\(request.peer.text) showed a \(scheme == "basic" ? "password" : "token") "
                    + "that is not right", [("peer", request.peer.text), ("path", String(request.path.prefix(100)))]))
        throw AccessRefusal(status: 401, message: "the password or token is not right")
    }

    private func bearer(_ token: String, _ settings: WebSettings) -> Caller? {
        let digest = Array(Digest.hexadecimal(of: token, .sha256).utf8)
        var found: Caller?
        // All are compared, whichever is right.
        for known in settings.tokens {
            let wanted: [UInt8]
            if let text = known.digest {
                wanted = Array(text.utf8)
            } else if let secret = known.secret, let text = try? secret.reveal(readFile), !text.isEmpty {
                // A file that cannot be read lets nobody in.
                wanted = Array(Digest.hexadecimal(of: text, .sha256).utf8)
            } else {
                continue
            }
            if isEqualInConstantTime(digest, wanted) { found = Caller(name: known.name, role: known.role) }
        }
        return found
    }

    private func basic(_ text: String, _ settings: WebSettings) async throws(AccessRefusal) -> Caller? {
        guard let bytes = base64Decoded(text), let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let name = String(decoding: bytes[..<colon], as: UTF8.self)
        let password = String(decoding: bytes[(colon + 1)...], as: UTF8.self)
        let isAffordable = state.withLock { state in
            let now = clock.uptimeNanoseconds()
            let seconds = Double(now - min(now, state.reckonedAt)) / 1e9
            state.reckonings = min(10, state.reckonings + 5 * seconds)
            state.reckonedAt = now
            guard state.reckonings >= 1 else { return false }
            state.reckonings -= 1
            return true
        }
        guard isAffordable else {
            throw AccessRefusal(status: 429, message: "too many logins at once; try again", retryAfter: 1)
        }
        let user = settings.users.first { $0.name == name }
        // Whoever there is not takes as long as the dearest of those who there are.
        guard let hash = user?.hash ?? settings.users.map(\.hash).max(by: { $0.cost < $1.cost }) else { return nil }
        let isRight = await reckoner?.start { hash.matches(password) }.value ?? hash.matches(password)
        guard isRight, let user else { return nil }
        return Caller(name: user.name, role: user.role)
    }

    // MARK: Counting

    private func hasFailuresLeft(_ peer: Peer) throws(AccessRefusal) {
        guard budget(of: peer, { _ in }).failures < 1 else { return }
        throw AccessRefusal(
            status: 429, message: "too many failed logins from this address; wait a minute", retryAfter: 60)
    }

    private func spendRequest(_ peer: Peer) throws(AccessRefusal) {
        // This machine's own are not counted.
        guard !peer.isLocal, budget(of: peer, { $0.requests -= 1 }).requests < 0 else { return }
        throw AccessRefusal(status: 429, message: "too many requests from this address; slow down", retryAfter: 1)
    }

    /// What an address has left once `spend` has taken its part; none owes anything.
    private func budget(of peer: Peer, _ spend: (inout Address) -> Void) -> Address {
        state.withLock { state in
            let now = clock.uptimeNanoseconds()
            let limits = state.settings.limits
            let most = (requests: 10 * limits.requestsPerSecond, failures: Double(limits.failuresPerMinute))
            var address =
                state.addresses[peer.counted] ?? Address(requests: most.requests, failures: most.failures, at: now)
            let seconds = Double(now - min(now, address.at)) / 1e9
            address.requests = min(most.requests, max(0, address.requests) + seconds * limits.requestsPerSecond)
            address.failures = min(most.failures, max(0, address.failures) + seconds * most.failures / 60)
            address.at = now
            spend(&address)
            if state.addresses.count >= AccessGate.addressLimit, state.addresses[peer.counted] == nil {
                // Those that are quiet have all they may have, and need not be remembered.
                state.addresses = state.addresses.filter { now - min(now, $0.value.at) < 60_000_000_000 }
                // Whoever guesses is forgotten last.
                if state.addresses.count >= AccessGate.addressLimit {
                    state.addresses = state.addresses.filter { $0.value.failures < most.failures - 0.5 }
                }
                if state.addresses.count >= AccessGate.addressLimit { state.addresses = [:] }
            }
            state.addresses[peer.counted] = address
            return address
        }
    }
}

extension AccessGate: MetricsSource {
    /// Refused requests, by status.
    public func metrics() -> [MetricFamily] {
        let refusals = refusals
        return [
            MetricFamily(
                .counter, "vedette_http_requests_refused_total", "Requests of those who may not, or not so often.",
                [401, 403, 429].map { (["status": "\($0)"], Double(refusals[$0, default: 0])) })
        ]
    }
}

extension Peer {
    var isUnix: Bool { if case .unix = self { true } else { false } }
}

extension Credentials {
    /// Whether no browser says that a page of another origin asks.
    var isOfSameOrigin: Bool {
        if let fetchSite, !["same-origin", "none"].contains(fetchSite) { return false }
        guard let origin else { return true }
        guard let host else { return false }
        return ["http://", "https://"].contains { origin.lowercased() == $0 + host.lowercased() }
    }

    /// Whether the `Host` that was asked for is an address or `localhost`: a name may be anybody's, who lets it point
    /// to this machine so that a browser takes their page for one of ours.
    var isForThisMachine: Bool {
        guard let host else { return true }
        var name = host[...]
        if name.hasPrefix("[") {
            name = name.dropFirst().prefix { $0 != "]" }
            return name.contains(":")
        }
        name = name.prefix { $0 != ":" }
        if name.lowercased() == "localhost" { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }
}
