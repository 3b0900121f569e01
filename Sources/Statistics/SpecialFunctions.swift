internal import Glibc

/// Special functions in survival form, so that small probabilities keep their digits.
public enum SpecialFunctions {
    /// The natural logarithm of Γ(*x*) for *x* > 0; NaN elsewhere. Error about 1e-15 of the larger of 1 and the value.
    ///
    /// Stirling's series from 15 upwards, below it the recurrence Γ(*x* + 1) = *x* Γ(*x*).
    /// - SeeAlso: Abramowitz and Stegun, 6.1.41. The system's `lgamma` writes a global sign and is no choice for tasks.
    public static func lnGamma(_ x: Double) -> Double {
        guard x > 0 else { return .nan }
        guard x.isFinite else { return x }
        if x == 1 || x == 2 { return 0 }
        var (argument, product) = (x, 1.0)
        while argument < 15 {
            product *= argument
            argument += 1
        }
        let square = argument * argument
        // B(2k) / (2k (2k - 1)) in falling powers; the next term is below 1e-17 from 15 upwards.
        var series = -691.0 / 360_360
        for coefficient in [1.0 / 1188, -1.0 / 1680, 1.0 / 1260, -1.0 / 360, 1.0 / 12] {
            series = series / square + coefficient
        }
        let halfLogTwoPi = 0.918_938_533_204_672_741_78
        return (argument - 0.5) * log(argument) - argument + halfLogTwoPi + series / argument - log(product)
    }

    /// The upper regularised incomplete gamma function Q(*a*, *x*), *a* > 0, *x* ≥ 0; NaN elsewhere.
    ///
    /// - SeeAlso: Press and others, "Numerical Recipes", 6.2; Lentz' continued fraction right of *a* + 1.
    /// - Complexity: O(√*a*) steps near *x* = *a*.
    public static func upperGamma(_ a: Double, _ x: Double) -> Double {
        guard a > 0, x >= 0 else { return .nan }
        if x == 0 { return 1 }
        if x == .infinity { return 0 }
        let factor = exp(a * log(x) - x - lnGamma(a))
        return x < a + 1 ? max(0, 1 - factor * lowerSeries(a, x)) : factor * upperFraction(a, x)
    }

    private static func lowerSeries(_ a: Double, _ x: Double) -> Double {
        var term = 1 / a
        var sum = term
        var n = a
        for _ in 0..<100_000 {
            n += 1
            term *= x / n
            sum += term
            if term < sum * 1e-17 { break }
        }
        return sum
    }

    private static func upperFraction(_ a: Double, _ x: Double) -> Double {
        let tiny = 1e-300
        var b = x + 1 - a
        var c = 1 / tiny
        var d = 1 / b
        var fraction = d
        for step in 1..<100_000 {
            let numerator = -Double(step) * (Double(step) - a)
            b += 2
            d = numerator * d + b
            if abs(d) < tiny { d = tiny }
            c = b + numerator / c
            if abs(c) < tiny { c = tiny }
            d = 1 / d
            let factor = d * c
            fraction *= factor
            if abs(factor - 1) < 1e-16 { break }
        }
        return fraction
    }

    /// P(χ² > *x*) with that many degrees of freedom; 1 with none, since there is nothing that could differ.
    public static func chiSquareSurvival(_ x: Double, degreesOfFreedom: Int) -> Double {
        guard degreesOfFreedom > 0 else { return 1 }
        return upperGamma(Double(degreesOfFreedom) / 2, max(0, x) / 2)
    }

    /// P(Z > *z*) of the standard normal law.
    public static func normalSurvival(_ z: Double) -> Double { 0.5 * erfc(z / 2.0.squareRoot()) }
}
