internal import Glibc

/// A small dense matrix, rows one after another. For tens of columns: no blocking, no parallelism.
public struct Matrix: Sendable, Hashable {
    /// How many rows and columns.
    public let rows: Int, columns: Int
    /// Row after row.
    public var elements: [Double]

    /// Zeros.
    public init(rows: Int, columns: Int) {
        (self.rows, self.columns) = (rows, columns)
        elements = [Double](repeating: 0, count: rows * columns)
    }

    /// An element.
    public subscript(row: Int, column: Int) -> Double {
        get { elements[row * columns + column] }
        set { elements[row * columns + column] = newValue }
    }

    /// Solves `self · x = right` for a symmetric positive definite matrix, by Cholesky's factors; nil when it is not
    /// that, to working precision. Only the lower triangle is read. O(*n*³).
    public func solvingPositiveDefinite(_ right: [Double]) -> [Double]? {
        precondition(rows == columns && right.count == rows, "\(rows) × \(columns) with \(right.count) values")
        var factor = self
        for column in 0..<rows {
            var pivot = self[column, column]
            for inner in 0..<column { pivot -= factor[column, inner] * factor[column, inner] }
            // Rounding leaves this much where the true pivot is 0.
            guard pivot > 1e-13 * max(abs(self[column, column]), .leastNormalMagnitude) else { return nil }
            let root = pivot.squareRoot()
            factor[column, column] = root
            for row in column + 1..<max(rows, column + 1) {
                var value = self[row, column]
                for inner in 0..<column { value -= factor[row, inner] * factor[column, inner] }
                factor[row, column] = value / root
            }
        }
        var solution = right
        for row in 0..<rows {
            for inner in 0..<row { solution[row] -= factor[row, inner] * solution[inner] }
            solution[row] /= factor[row, row]
        }
        for row in (0..<rows).reversed() {
            for inner in row + 1..<max(rows, row + 1) { solution[row] -= factor[inner, row] * solution[inner] }
            solution[row] /= factor[row, row]
        }
        return solution
    }
}
