internal import Synchronization

/// A generator whose every number follows from its seed: SplitMix64.
///
/// - SeeAlso: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// The same seed, the same numbers.
    public init(seed: UInt64) { state = seed }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// A generator that several tasks share.
public final class SharedRandom: Sendable {
    private let generator: Mutex<SeededRandom>

    /// The same seed and the same order of calls, the same numbers.
    public init(seed: UInt64) { generator = Mutex(SeededRandom(seed: seed)) }

    /// A number in `[0, 1)`.
    public func fraction() -> Double { generator.withLock { Double.random(in: 0..<1, using: &$0) } }
    /// The next 64 bits.
    public func next() -> UInt64 { generator.withLock { $0.next() } }
}
