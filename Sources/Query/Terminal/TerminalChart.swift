public import Basics

/// A range query's series drawn in a terminal: braille dots, labelled axes, a legend.
///
/// A line joins two values only when they are neighbouring steps: where a series has no value, or NaN, there is a gap,
/// a mark below the axis and a count in the legend. Several series share a picture when they can be told apart by
/// colour; else each has a picture of its own, all on one scale.
public struct TerminalChart: Sendable {
    /// A series by its legend, and its values by time.
    public struct Line: Sendable {
        /// What the legend calls it.
        public var name: String
        /// Milliseconds since the Unix epoch, ascending, and as many values.
        public var times: [Int64], values: [Double]

        /// A line by its parts.
        public init(name: String, times: [Int64], values: [Double]) {
            (self.name, self.times, self.values) = (name, times, values)
        }
    }

    /// The steps of the query: where values could be.
    public var from: Timestamp, through: Timestamp, step: Milliseconds
    /// Columns of the terminal, and rows of a picture without its axis.
    public var width = 80, height = 16
    /// Whether lines are told apart by colour.
    public var hasColour = false
    /// Pictures beyond this many are left out and told.
    public var greatestPictures = 8
    /// Lines beyond this many are left out of a common picture and told.
    public var greatestLines = 24

    /// A chart of 80 columns without colour.
    public init(from: Timestamp, through: Timestamp, step: Milliseconds) {
        (self.from, self.through, self.step) = (from, through, max(1, step))
    }

    private static let colours = [36, 33, 35, 32, 34, 31, 96, 93, 95, 92, 94, 91]

    /// The chart's lines, without line ends.
    public func draw(_ lines: [Line]) -> [String] {
        guard !lines.isEmpty else { return ["no series has a value there"] }
        let shown = Array(lines.prefix(hasColour ? greatestLines : greatestPictures))
        let scale = Scale(shown)
        let labels = scale.labels
        let margin = labels.map(\.count).max() ?? 0
        let columns = max(10, width - margin - 2)
        var output: [String] = []
        if hasColour || shown.count == 1 {
            let canvases = shown.map { canvas(of: $0, scale, columns: columns, rows: max(2, height)) }
            output += picture(canvases, labels, margin: margin, columns: columns)
            output += marks(of: shown, margin: margin, columns: columns)
            output += axis(margin: margin, columns: columns)
            for (number, line) in shown.enumerated() { output.append(legend(line, number)) }
        } else {
            for (number, line) in shown.enumerated() {
                output.append(legend(line, number))
                let rows = max(3, height / 4)
                output += picture(
                    [canvas(of: line, scale, columns: columns, rows: rows)], labels, margin: margin, columns: columns)
                output += marks(of: [line], margin: margin, columns: columns)
            }
            output += axis(margin: margin, columns: columns)
        }
        if lines.count > shown.count {
            output.append("and \(lines.count - shown.count) more series; narrow the expression, or ask for a table")
        }
        return output
    }

    // MARK: Dots

    /// Braille cells: two dots wide, four high.
    struct Canvas {
        let columns: Int, rows: Int
        private(set) var cells: [UInt8]

        init(columns: Int, rows: Int) {
            (self.columns, self.rows) = (columns, rows)
            cells = Array(repeating: 0, count: columns * rows)
        }

        /// Sets a dot; `y` counts from above.
        mutating func set(_ x: Int, _ y: Int) {
            guard x >= 0, y >= 0, x < columns * 2, y < rows * 4 else { return }
            let bit: UInt8 = y % 4 == 3 ? (x % 2 == 0 ? 6 : 7) : UInt8(y % 4) + (x % 2 == 0 ? 0 : 3)
            cells[y / 4 * columns + x / 2] |= 1 << bit
        }

        /// Sets the dots between two.
        mutating func line(_ from: (x: Int, y: Int), _ to: (x: Int, y: Int)) {
            let length = max(abs(to.x - from.x), abs(to.y - from.y), 1)
            for part in 0...length {
                let share = Double(part) / Double(length)
                set(
                    from.x + Int((Double(to.x - from.x) * share).rounded()),
                    from.y + Int((Double(to.y - from.y) * share).rounded()))
            }
        }
    }

    private func column(of time: Int64, dots: Int) -> Int {
        let span = through - from
        guard span > 0 else { return dots / 2 }
        return Int((Double(time - from.milliseconds) / Double(span) * Double(dots - 1)).rounded())
    }

    private func canvas(of line: Line, _ scale: Scale, columns: Int, rows: Int) -> Canvas {
        var canvas = Canvas(columns: columns, rows: rows)
        var last: (time: Int64, x: Int, y: Int)?
        for (time, value) in zip(line.times, line.values) {
            guard value.isFinite else {
                last = nil
                continue
            }
            let x = column(of: time, dots: columns * 2)
            let y = Int(((1 - scale.share(of: value)) * Double(rows * 4 - 1)).rounded())
            if let last, time - last.time <= step { canvas.line((last.x, last.y), (x, y)) } else { canvas.set(x, y) }
            last = (time, x, y)
        }
        return canvas
    }

    private func picture(_ canvases: [Canvas], _ labels: [String], margin: Int, columns: Int) -> [String] {
        guard let rows = canvases.first?.rows else { return [] }
        return (0..<rows).map { row in
            let label = row == 0 ? labels[0] : row == rows - 1 ? labels[2] : row == rows / 2 ? labels[1] : ""
            var text = String(repeating: " ", count: margin - label.count) + label + (label.isEmpty ? " │" : " ┤")
            var colour = 0
            for column in 0..<columns {
                // Where lines meet, the later one has the cell.
                let owner = canvases.lastIndex { $0.cells[row * columns + column] != 0 }
                var bits: UInt8 = 0
                for canvas in canvases { bits |= canvas.cells[row * columns + column] }
                let wanted = hasColour ? owner.map { Self.colours[$0 % Self.colours.count] } ?? colour : 0
                if wanted != colour {
                    text += "\u{1B}[\(wanted)m"
                    colour = wanted
                }
                text.unicodeScalars.append(Unicode.Scalar(0x2800 + UInt32(bits)) ?? " ")
            }
            return text + (colour == 0 ? "" : "\u{1B}[0m")
        }
    }

    // MARK: Around the picture

    /// Which steps have no number, below the axis: `x` for NaN and infinities, `·` where no line has a value; nothing
    /// when there is neither.
    private func marks(of lines: [Line], margin: Int, columns: Int) -> [String] {
        var (isPresent, isOdd, isStep) = (
            Array(repeating: false, count: columns), Array(repeating: false, count: columns),
            Array(repeating: false, count: columns)
        )
        for line in lines {
            for (time, value) in zip(line.times, line.values) {
                let column = column(of: time, dots: columns * 2) / 2
                guard isPresent.indices.contains(column) else { continue }
                isPresent[column] = true
                if !value.isFinite { isOdd[column] = true }
            }
        }
        var time = from.milliseconds
        // No more steps than a query has; still, the terminal is no place to hang in.
        for _ in 0..<100_000 where time <= through.milliseconds {
            isStep[min(columns - 1, max(0, column(of: time, dots: columns * 2) / 2))] = true
            time += step
        }
        let marks = (0..<columns).map { isOdd[$0] ? "x" : isStep[$0] && !isPresent[$0] ? "·" : " " }
        guard marks.contains(where: { $0 != " " }) else { return [] }
        return [String(repeating: " ", count: margin + 2) + marks.joined()]
    }

    private func axis(margin: Int, columns: Int) -> [String] {
        let ticks = columns >= 48 ? 3 : columns >= 24 ? 2 : 1
        var line = Array(repeating: Character(" "), count: columns)
        var rule = Array(repeating: Character("─"), count: columns)
        for tick in 0..<ticks {
            let place = tick * (columns - 1) / max(1, ticks - 1)
            rule[place] = "┬"
            let text = label(of: from + (through - from) * Int64(tick) / Int64(max(1, ticks - 1)))
            let start = max(0, min(max(0, place - text.count / 2), columns - text.count))
            for (offset, character) in text.enumerated() where line.indices.contains(start + offset) {
                line[start + offset] = character
            }
        }
        let blank = String(repeating: " ", count: margin + 2)
        return [String(repeating: " ", count: margin + 1) + "└" + String(rule), blank + String(line)]
    }

    /// The time of day in UTC, with the day where the range is longer than one.
    private func label(of moment: Timestamp) -> String {
        let text = moment.rfc3339(trimmed: true)
        let (day, time) = (text.dropFirst(5).prefix(5), text.dropFirst(11).prefix(through - from < 600_000 ? 8 : 5))
        return through - from > 86_400_000 ? "\(day) \(time)" : "\(time)Z"
    }

    private func legend(_ line: Line, _ number: Int) -> String {
        let steps = (through - from) / step + 1
        let odd = line.values.count { $0.isNaN }
        let infinite = line.values.count { $0.isInfinite }
        let missing = max(0, Int(steps) - line.values.count)
        var notes: [String] = []
        if odd > 0 { notes.append("\(odd) NaN") }
        if infinite > 0 { notes.append("\(infinite) infinite") }
        if missing > 0 { notes.append("\(missing) missing") }
        let finite = line.values.filter(\.isFinite)
        var text = hasColour ? "\u{1B}[\(Self.colours[number % Self.colours.count])m━━\u{1B}[0m " : ""
        text += line.name
        if let last = finite.last, let least = finite.min(), let greatest = finite.max() {
            text += "  last \(Scale.text(last)), min \(Scale.text(least)), max \(Scale.text(greatest))"
        }
        return text + (notes.isEmpty ? "" : "  (of \(steps) steps \(notes.joined(separator: ", ")))")
    }

    /// The values' axis.
    struct Scale {
        let least: Double, greatest: Double

        init(_ lines: [Line]) {
            var (least, greatest) = (Double.infinity, -Double.infinity)
            for line in lines {
                for value in line.values where value.isFinite {
                    (least, greatest) = (min(least, value), max(greatest, value))
                }
            }
            if least > greatest { (least, greatest) = (0, 1) }
            // A flat line lies in the middle.
            if least == greatest {
                let room = least == 0 ? 1 : abs(least) / 10
                (least, greatest) = (
                    max(least - room, -.greatestFiniteMagnitude), min(greatest + room, .greatestFiniteMagnitude)
                )
            }
            (self.least, self.greatest) = (least, greatest)
        }

        /// Where a value lies, 0 at the bottom and 1 at the top.
        func share(of value: Double) -> Double {
            // Halves, since the difference of two finite numbers may be infinite.
            min(1, max(0, (value / 2 - least / 2) / (greatest / 2 - least / 2)))
        }

        /// Top, middle, bottom.
        var labels: [String] { [greatest, least / 2 + greatest / 2, least].map(Scale.text) }

        /// About four digits, thousands and millions by letter, an exponent where that is shorter.
        static func text(_ value: Double) -> String {
            let size = abs(value)
            guard value != 0, value.isFinite else { return GoNumber.shortest(value) }
            if size < 1e-3 || size >= 1e15 {
                let parts = GoNumber.exponential(value).split(separator: "e")
                let mantissa = (GoNumber.parse(String(parts[0])) ?? 0) * 1000
                return GoNumber.shortest(mantissa.rounded() / 1000) + "e" + parts[1]
            }
            for (unit, letter) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] where size >= unit {
                return GoNumber.shortest(rounded(value / (unit == 1e4 ? 1e3 : unit))) + letter
            }
            return GoNumber.shortest(rounded(value))
        }

        /// To four digits; the size is 0.001 to 10,000.
        private static func rounded(_ value: Double) -> Double {
            var unit = 1.0
            while abs(value) * unit < 1000 { unit *= 10 }
            return (value * unit).rounded() / unit
        }
    }
}
