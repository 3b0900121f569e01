public import Basics

/// A value at a moment.
public struct Sample: Hashable, Sendable {
    /// Milliseconds since the Unix epoch.
    public var timestamp: Timestamp
    /// The value.
    public var value: Double

    /// A sample by its parts.
    public init(_ timestamp: Timestamp, _ value: Double) { (self.timestamp, self.value) = (timestamp, value) }
}

/// The two NaNs that Prometheus tells apart by their bits.
///
/// - SeeAlso: Prometheus, `model/value/value.go`.
public enum SpecialValue {
    /// The marker that a series has ended; not a value that a target can expose.
    public static let stale = Double(bitPattern: 0x7FF0_0000_0000_0002)
    /// Every other NaN is stored as this one.
    public static let notANumber = Double(bitPattern: 0x7FF8_0000_0000_0001)
}

extension Double {
    /// Whether these are the bits of the staleness marker; a comparison of bits, since NaN equals nothing.
    @inlinable
    public var isStaleMarker: Bool { bitPattern == 0x7FF0_0000_0000_0002 }
}
