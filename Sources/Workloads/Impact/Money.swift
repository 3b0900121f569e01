internal import Basics

/// An amount of money: whole millionths of a unit of the currency, exact. Never a binary fraction.
public struct Money: Hashable, Comparable, Sendable {
    /// Millionths.
    public var micros: Int64

    /// Nothing.
    public static let zero = Money(micros: 0)

    /// An amount in millionths.
    public init(micros: Int64) { self.micros = micros }

    /// Reads `15`, `0.001`, `-2.5` or, with `,` or `_` between digits, `265,000`: at most six places; nil otherwise.
    public init?(_ text: String) {
        guard let value = Money.fixed(text, places: 6) else { return nil }
        micros = value
    }

    /// A decimal number in whole units of its last place; nil when it is none, has more places, or is too large.
    static func fixed(_ text: String, places: Int) -> Int64? {
        let isNegative = text.hasPrefix("-")
        let digits = text.utf8.dropFirst(isNegative ? 1 : 0)
        guard isGrouped(digits) else { return nil }
        var (value, seen, point) = (Int64(0), 0, -1)
        for byte in digits {
            if byte == UInt8(ascii: "."), point < 0 {
                point = 0
            } else if (0x30...0x39).contains(byte) {
                let (product, overflow) = value.multipliedReportingOverflow(by: 10)
                guard !overflow, product <= .max - 9, point < places else { return nil }
                value = product + Int64(byte - 0x30)
                seen += 1
                if point >= 0 { point += 1 }
            } else if byte != UInt8(ascii: "_") && byte != UInt8(ascii: ",") || point >= 0 || seen == 0 {
                return nil
            }
        }
        guard seen > 0, point != 0 else { return nil }
        for _ in max(0, point)..<places {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            guard !overflow else { return nil }
            value = product
        }
        return isNegative ? -value : value
    }

    /// Whether `,` and `_` stand where thousands are told apart: `0,05` is a mistake, not five.
    private static func isGrouped(_ digits: Substring.UTF8View) -> Bool {
        let whole = digits.prefix { $0 != UInt8(ascii: ".") }
        let groups = whole.split(omittingEmptySubsequences: false) {
            $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "_")
        }
        guard groups.count > 1, let first = groups.first else { return true }
        return (1...3).contains(first.count) && first.first != UInt8(ascii: "0")
            && groups.dropFirst().allSatisfy { $0.count == 3 }
    }

    /// Smaller first.
    public static func < (left: Money, right: Money) -> Bool { left.micros < right.micros }
    /// The sum. Traps beyond nine million million, as no sum of a business is.
    public static func + (left: Money, right: Money) -> Money { Money(micros: left.micros + right.micros) }
    /// The difference.
    public static func - (left: Money, right: Money) -> Money { Money(micros: left.micros - right.micros) }
    /// So many times the amount, exact.
    public static func * (money: Money, count: Int64) -> Money { Money(micros: money.micros * count) }
    /// Adds to an amount.
    public static func += (left: inout Money, right: Money) { left = left + right }

    /// `amount · numerator / denominator`, the result rounded to a millionth, halves to even.
    public func scaled(by numerator: Int64, over denominator: Int64) -> Money {
        precondition(denominator > 0, "divided by \(denominator)")
        return Money(micros: Money.divide(Int128(micros) * Int128(numerator), by: Int128(denominator)))
    }

    static func divide(_ value: Int128, by divisor: Int128) -> Int64 {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        let twice = abs(remainder) * 2
        let isUp = twice > divisor || (twice == divisor && quotient % 2 != 0)
        return Int64(quotient + (isUp ? (value < 0 ? -1 : 1) : 0))
    }

    /// Whole cents, halves to even: for people. Records keep the millionths.
    public var cents: Int64 { Money.divide(Int128(micros), by: 10_000) }
    /// With two places: `-12.50`.
    public var description: String {
        let cents = cents
        let rest = String(abs(cents % 100))
        return "\(cents < 0 ? "-" : "")\(abs(cents / 100)).\(rest.count < 2 ? "0" : "")\(rest)"
    }
    /// All places that are not zero, at least two: `0.001`.
    public var exact: String {
        var digits = String(abs(micros % 1_000_000))
        digits = String(repeating: "0", count: 6 - digits.count) + digits
        while digits.count > 2, digits.last == "0" { digits.removeLast() }
        return "\(micros < 0 ? "-" : "")\(abs(micros / 1_000_000)).\(digits)"
    }
    /// The nearest binary fraction, for series, which are a rounded view.
    public var approximate: Double { Double(micros) / 1e6 }
}

extension Money: CustomStringConvertible {}
