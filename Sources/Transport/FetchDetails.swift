public import Basics

/// A part of a check's time.
public enum FetchPhase: String, Sendable, Hashable, CaseIterable {
    /// Looking up the name, making the connection, agreeing on TLS, waiting for the answer, reading it.
    case resolve, connect, tls, processing, transfer
}

/// Why a check has no answer, for who counts them: a few fixed words.
public enum FetchCause: String, Error, Sendable, Hashable, CaseIterable {
    /// What is asked cannot be asked: an address, a file that is missing.
    case request
    /// The name could not be looked up.
    case resolve
    /// Nobody listens there.
    case refused
    /// No connection for another reason.
    case connect
    /// The time ran out.
    case timeout
    /// TLS was not agreed upon.
    case tls
    /// The certificate is not to be trusted: expired, of somebody else, or signed by nobody known.
    case certificate
    /// A redirect that is not followed: too many, or to something that is no web server.
    case redirect
    /// The answer is longer than allowed.
    case tooLarge = "too_large"
    /// The connection broke.
    case interrupted
    /// The answer is none that the protocol knows.
    case answer
    /// The other side does not let us in.
    case authentication
}

/// How a check went, phase by phase.
public struct FetchDetails: Sendable, Hashable {
    /// What a phase took.
    public struct Phase: Sendable, Hashable {
        /// Which, and how long, in seconds.
        public var phase: FetchPhase, seconds: Double

        /// A phase by its parts.
        public init(_ phase: FetchPhase, _ seconds: Double) { (self.phase, self.seconds) = (phase, max(0, seconds)) }
    }

    /// The phases that were come to, in their order; of redirects the sums.
    public var phases: [Phase] = []
    /// Why there is no answer.
    public var cause: FetchCause?
    /// The answer's headers, names in lower case.
    public var headers: [HTTPHeader] = []
    /// When the first certificate of the chain that was shown ends; nil without TLS, and when it was not trusted.
    public var certificateExpiry: Timestamp?
    /// Whether TLS was agreed upon.
    public var isEncrypted = false
    /// How many redirects were followed, and where one leads that was not.
    public var redirects = 0, redirect: String?
    /// 1, 1.1, 2 or 3; 0 without HTTP.
    public var httpVersion = 0.0
    /// 4 or 6; 0 without an address.
    public var ipVersion = 0

    /// Nothing was come to, but perhaps for a cause.
    public init(cause: FetchCause? = nil) { self.cause = cause }
}

/// The date as OpenSSL prints it, and as other libraries do.
enum CertificateDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// Reads `Nov  5 15:43:44 2027 GMT` and `2027-11-05 15:43:44 GMT`.
    static func parse(_ text: String) -> Timestamp? {
        let words = text.split(separator: " ")
        guard words.count >= 3 else { return nil }
        let isNamed = months.contains(String(words[0]))
        guard let time = clock(words[isNamed ? 2 : 1]) else { return nil }
        if isNamed {
            guard words.count >= 4, let month = months.firstIndex(of: String(words[0])), let day = Int(words[1]),
                let year = Int(words[3])
            else { return nil }
            return moment(year, month + 1, day, time)
        }
        let date = words[0].split(separator: "-").compactMap { Int($0) }
        return date.count == 3 ? moment(date[0], date[1], date[2], time) : nil
    }

    private static func clock(_ text: Substring) -> Int? {
        let parts = text.split(separator: ":").compactMap { Int($0) }
        guard parts.count == 3, (0..<24).contains(parts[0]), (0..<60).contains(parts[1]), (0...60).contains(parts[2])
        else { return nil }
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    }

    private static func moment(_ year: Int, _ month: Int, _ day: Int, _ seconds: Int) -> Timestamp? {
        guard (1...9999).contains(year), (1...12).contains(month), (1...31).contains(day) else { return nil }
        // Days since 1970 of the civil calendar; the year begins in March.
        let (shifted, place) = (month <= 2 ? year - 1 : year, (month + 9) % 12)
        let (era, rest) = (shifted / 400, shifted % 400)
        let days = era * 146_097 + rest * 365 + rest / 4 - rest / 100 + (153 * place + 2) / 5 + day - 1 - 719_468
        return Timestamp(milliseconds: Int64(days * 86_400 + seconds) * 1000)
    }
}
