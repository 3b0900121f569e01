public import Basics
internal import CSystemd
internal import Glibc

/// What systemd says of a unit.
public struct UnitProperties: Sendable, Hashable {
    /// `LoadState`, `ActiveState`, `SubState`, `UnitFileState`, `Result`, …
    public var texts: [String: String]
    /// `NRestarts`, `MainPID`, `MemoryCurrent`, …; moments are seconds since the Unix epoch. What a unit of its kind
    /// does not have is left out.
    public var numbers: [String: Double]

    /// Properties by their names.
    public init(texts: [String: String], numbers: [String: Double] = [:]) {
        (self.texts, self.numbers) = (texts, numbers)
    }
}

/// Why a unit's state is not known.
public struct UnitError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One clause with the cure.
    public var description: String
    /// Whether systemd did not answer in time.
    public var isTimeout: Bool

    /// An error by its parts.
    public init(_ description: String, isTimeout: Bool = false) {
        (self.description, self.isTimeout) = (description, isTimeout)
    }
}

/// Who knows the states of units: systemd over the bus, or a table in tests.
public protocol UnitStates: Sendable {
    /// The properties of a unit, which need not be loaded. Blocks for at most so long.
    func properties(of unit: String, timeout: Milliseconds) throws(UnitError) -> UnitProperties
}

/// systemd, asked over the system's bus; a connection for each question, so that it may be restarted meanwhile.
///
/// - SeeAlso: org.freedesktop.systemd1(5), sd_bus_call(3).
public struct BusUnitStates: UnitStates {
    private let clock: any TimeSource
    /// The bus's address in place of the system's.
    private let address: String?

    /// The system's bus, or the one at an address such as `unix:path=/run/x`.
    public init(clock: any TimeSource, address: String? = nil) { (self.clock, self.address) = (clock, address) }

    private static let manager = "org.freedesktop.systemd1"
    private static let properties = "org.freedesktop.DBus.Properties"
    /// Interfaces of a unit by the end of its name.
    private static let kinds = [
        "service": "Service", "socket": "Socket", "timer": "Timer", "mount": "Mount", "slice": "Slice",
    ]

    /// See `UnitStates`.
    public func properties(of unit: String, timeout: Milliseconds) throws(UnitError) -> UnitProperties {
        let end = clock.uptimeNanoseconds() + UInt64(max(1, timeout)) * 1_000_000
        let bus = try Bus(address)
        let path = try bus.unitPath(unit, left(until: end))
        var found = UnitProperties(texts: [:])
        try bus.read(path, "\(BusUnitStates.manager).Unit", into: &found, try left(until: end))
        if let kind = unit.split(separator: ".").last.flatMap({ BusUnitStates.kinds[String($0)] }) {
            try bus.read(path, "\(BusUnitStates.manager).\(kind)", into: &found, try left(until: end))
        }
        return found
    }

    /// In microseconds, as the bus counts.
    private func left(until end: UInt64) throws(UnitError) -> UInt64 {
        let now = clock.uptimeNanoseconds()
        guard now < end else { throw UnitError("systemd did not answer in time", isTimeout: true) }
        return (end - now) / 1000 + 1
    }

    /// One connection; for one thread.
    @safe private final class Bus {
        private let bus: OpaquePointer

        init(_ address: String?) throws(UnitError) {
            var made: OpaquePointer?
            let code: Int32
            if let address {
                code = unsafe Bus.open(address, &made)
            } else {
                code = unsafe sd_bus_open_system(&made)
            }
            guard code >= 0, let made = unsafe made else {
                throw UnitError("there is no system bus here (\(Bus.words(code))); systemd's units cannot be looked at")
            }
            unsafe bus = made
        }

        deinit { unsafe sd_bus_close_unref(bus) }

        private static func open(_ address: String, _ made: inout OpaquePointer?) -> Int32 {
            var code = unsafe sd_bus_new(&made)
            if code >= 0 { code = unsafe sd_bus_set_address(made, address) }
            if code >= 0 { code = unsafe sd_bus_set_bus_client(made, 1) }
            if code >= 0 { code = unsafe sd_bus_start(made) }
            return code
        }

        private static func words(_ code: Int32) -> String { unsafe String(cString: strerror(-code)) }

        func unitPath(_ unit: String, _ limit: UInt64) throws(UnitError) -> String {
            let answer = unsafe try call(
                "/org/freedesktop/systemd1", "\(BusUnitStates.manager).Manager", "LoadUnit", [unit], limit)
            defer { unsafe sd_bus_message_unref(answer) }
            var text: UnsafePointer<CChar>?
            guard unsafe sd_bus_message_read_basic(answer, CChar(UInt8(ascii: "o")), &text) > 0,
                let text = unsafe text
            else { throw UnitError("systemd's answer cannot be read") }
            return unsafe String(cString: text)
        }

        func read(
            _ path: String, _ interface: String, into found: inout UnitProperties, _ limit: UInt64
        ) throws(UnitError) {
            let answer = unsafe try call(path, BusUnitStates.properties, "GetAll", [interface], limit)
            defer { unsafe sd_bus_message_unref(answer) }
            guard unsafe sd_bus_message_enter_container(answer, Bus.code("a"), "{sv}") > 0 else {
                throw UnitError("systemd's answer cannot be read")
            }
            while unsafe sd_bus_message_enter_container(answer, Bus.code("e"), "sv") > 0 {
                var name: UnsafePointer<CChar>?
                guard unsafe sd_bus_message_read_basic(answer, Bus.code("s"), &name) > 0, let name = unsafe name else {
                    throw UnitError("systemd's answer cannot be read")
                }
                unsafe Bus.take(answer, String(cString: name), &found)
                unsafe sd_bus_message_exit_container(answer)
            }
        }

        private static func code(_ letter: Character) -> CChar { CChar(letter.asciiValue ?? 0) }

        /// Reads a variant that holds a text or a number; anything else is passed over.
        private static func take(_ answer: OpaquePointer, _ name: String, _ found: inout UnitProperties) {
            var contents: UnsafePointer<CChar>?
            guard unsafe sd_bus_message_peek_type(answer, nil, &contents) > 0, let type = unsafe contents,
                unsafe strlen(type) == 1
            else {
                unsafe sd_bus_message_skip(answer, "v")
                return
            }
            let letter = unsafe type.pointee
            guard unsafe sd_bus_message_enter_container(answer, code("v"), type) > 0 else { return }
            defer { unsafe sd_bus_message_exit_container(answer) }
            var value: UInt64 = 0
            switch letter {
            case code("s"), code("o"):
                var text: UnsafePointer<CChar>?
                if unsafe sd_bus_message_read_basic(answer, letter, &text) > 0, let text = unsafe text {
                    found.texts[name] = unsafe String(cString: text)
                }
            case code("b"), code("u"), code("t"), code("q"), code("y"):
                guard unsafe sd_bus_message_read_basic(answer, letter, &value) > 0, value != .max else { return }
                // systemd's moments are microseconds of the wall clock.
                let isMoment = name.hasSuffix("Timestamp")
                found.numbers[name] = isMoment ? Double(value) / 1e6 : Double(value)
            case code("i"):
                var number: Int32 = 0
                if unsafe sd_bus_message_read_basic(answer, letter, &number) > 0 {
                    found.numbers[name] = Double(number)
                }
            case code("x"):
                var number: Int64 = 0
                if unsafe sd_bus_message_read_basic(answer, letter, &number) > 0 {
                    found.numbers[name] = Double(number)
                }
            case code("d"):
                var number = 0.0
                if unsafe sd_bus_message_read_basic(answer, letter, &number) > 0 { found.numbers[name] = number }
            default: unsafe sd_bus_message_skip(answer, type)
            }
        }

        /// The answer of a method whose arguments are texts; the caller lets it go.
        private func call(
            _ path: String, _ interface: String, _ method: String, _ texts: [String], _ limit: UInt64
        ) throws(UnitError) -> OpaquePointer {
            var question: OpaquePointer?
            var code = unsafe sd_bus_message_new_method_call(
                bus, &question, BusUnitStates.manager, path, interface, method)
            defer { unsafe sd_bus_message_unref(question) }
            for text in texts where code >= 0 {
                code = unsafe text.withCString { unsafe sd_bus_message_append_basic(question, Bus.code("s"), $0) }
            }
            guard code >= 0 else { throw UnitError("the question to systemd cannot be written: \(Bus.words(code))") }
            var failure = unsafe sd_bus_error()
            defer { unsafe sd_bus_error_free(&failure) }
            var answer: OpaquePointer?
            code = unsafe sd_bus_call(bus, question, limit, &failure, &answer)
            guard code >= 0, let answer = unsafe answer else {
                if code == -ETIMEDOUT { throw UnitError("systemd did not answer in time", isTimeout: true) }
                let words = unsafe failure.message.map { unsafe String(cString: $0) } ?? Bus.words(code)
                throw UnitError("systemd refused: \(words.prefix(160))")
            }
            return unsafe answer
        }
    }
}
