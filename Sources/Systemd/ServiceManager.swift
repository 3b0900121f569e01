public import Basics
internal import CSystemd

/// Who supervises the process: systemd, or nobody. What is told is `sd_notify`'s protocol.
///
/// - SeeAlso: sd_notify(3), sd_watchdog_enabled(3).
public protocol ServiceManager: Sendable {
    /// Tells lines such as `READY=1`, all in one message.
    func tell(_ lines: [String])
    /// How soon after a `WATCHDOG=1` the next must come; nil where nobody asks for any.
    var watchdog: Milliseconds? { get }
}

extension ServiceManager {
    /// Tells one state.
    public func tell(_ states: ServiceState...) { tell(states.flatMap(\.lines)) }
}

/// What a service tells its manager.
public enum ServiceState: Sendable, Hashable {
    /// It serves, for the first time or again after a reload.
    case ready
    /// It reads its configuration again; the moment is `CLOCK_MONOTONIC`'s, in nanoseconds. Both stand in one message:
    /// systemd takes no other.
    case reloading(uptimeNanoseconds: UInt64)
    /// It ends.
    case stopping
    /// One line for `systemctl status`.
    case status(String)
    /// It works as it should.
    case alive
    /// Starting or stopping goes on, and takes so many milliseconds more at the most.
    case extending(Milliseconds)

    var lines: [String] {
        switch self {
        case .ready: ["READY=1"]
        case .reloading(let uptime): ["RELOADING=1", "MONOTONIC_USEC=\(uptime / 1000)"]
        case .stopping: ["STOPPING=1"]
        case .status(let text): ["STATUS=\(ServiceState.line(of: text))"]
        case .alive: ["WATCHDOG=1"]
        case .extending(let milliseconds): ["EXTEND_TIMEOUT_USEC=\(milliseconds * 1000)"]
        }
    }

    /// systemd drops a message of more than 4 KiB whole, a sign of life in it too, and C ends a text at a NUL.
    private static func line(of text: String) -> String {
        let line = text.split { $0.isNewline || $0 == "\0" }.joined(separator: " ")
        return String(String.UnicodeScalarView(line.unicodeScalars.prefix(500)))
    }
}

/// No manager: the process was started by hand, or in a container without systemd.
public struct NoServiceManager: ServiceManager {
    /// Nobody.
    public init() {}
    /// See `ServiceManager`.
    public func tell(_ lines: [String]) {}
    /// See `ServiceManager`.
    public var watchdog: Milliseconds? { nil }
}

/// systemd, as the environment names it; outside it every call does nothing.
public struct Systemd: ServiceManager {
    /// See `ServiceManager`.
    public let watchdog: Milliseconds?

    /// Looks at `WATCHDOG_USEC` and `WATCHDOG_PID`.
    public init() {
        var microseconds: UInt64 = 0
        watchdog = unsafe sd_watchdog_enabled(0, &microseconds) > 0 ? Milliseconds(microseconds / 1000) : nil
    }

    /// See `ServiceManager`. What the manager does not take is lost: it stops nothing here.
    public func tell(_ lines: [String]) {
        _ = unsafe sd_notify(0, lines.joined(separator: "\n"))
    }
}
