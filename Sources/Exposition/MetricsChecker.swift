internal import Basics
internal import Model

/// Holds a page to the formats' own documents, more strictly than a scrape does, and to the customs of naming: what
/// stands behind `vedette check metrics`.
///
/// - SeeAlso: OpenMetrics 1.0, "Specification"; prometheus/common, `expfmt/text_parse.go`; prometheus/client_golang,
///   `prometheus/testutil/promlint`.
public enum MetricsChecker {
    /// The first mistake that makes a page unreadable to a strict reader; nil when there is none.
    ///
    /// - Parameter format: Nil: OpenMetrics when the last line is `# EOF`, else the text format.
    public static func mistake(in page: [UInt8], format: ExpositionFormat? = nil) -> ExpositionError? {
        do throws(ExpositionError) {
            _ = try families(page, format)
            return nil
        } catch {
            return error
        }
    }

    /// What a reader will stumble over although the page is right, in the order of the lines.
    public static func lints(of page: [UInt8], format: ExpositionFormat? = nil) -> [ExpositionError] {
        // A page with a mistake has no families that could be judged.
        let families = (try? self.families(page, format)) ?? []
        return families.flatMap { MetricsLint.problems($0) }
    }

    /// How many families and samples a page has; nil when it cannot be read.
    public static func counts(in page: [UInt8], format: ExpositionFormat? = nil) -> (families: Int, samples: Int)? {
        guard let families = try? self.families(page, format) else { return nil }
        return (families.count, families.reduce(0) { $0 + $1.sampleCount })
    }

    private static func families(
        _ page: [UInt8], _ format: ExpositionFormat?
    ) throws(ExpositionError) -> [CheckedFamily] {
        var end = page[...]
        if end.last == 0x0A { end.removeLast() }
        let isOpen = end.suffix(6).elementsEqual("\n# EOF".utf8) || end.elementsEqual("# EOF".utf8)
        var reader = MetricsReader(page, format ?? (isOpen ? .openMetrics : .text))
        return try reader.read()
    }
}

/// A family of a page that is checked.
struct CheckedFamily {
    let name: String
    /// Where its first line is.
    let line: Int
    var type: MetricType?
    var help: String?, unit: String?
    var sampleCount = 0
    var sampleNames: Set<String> = []
    var labelNames: Set<String> = []
    let format: ExpositionFormat

    init(_ name: String, line: Int, _ format: ExpositionFormat) {
        (self.name, self.line, self.format) = (name, line, format)
    }

    /// What may follow the name in a sample.
    static func suffixes(of type: MetricType, in format: ExpositionFormat) -> [String] {
        switch (type, format) {
        case (.counter, .openMetrics): ["_total", "_created"]
        case (.histogram, .openMetrics): ["_bucket", "_sum", "_count", "_created"]
        case (.histogram, .text): ["_bucket", "_sum", "_count", ""]
        case (.gaugehistogram, _): ["_bucket", "_gsum", "_gcount"]
        case (.summary, .openMetrics): ["", "_sum", "_count", "_created"]
        case (.summary, .text): ["", "_sum", "_count"]
        case (.info, _): ["_info"]
        case (.counter, .text), (.gauge, _), (.stateset, _), (.unknown, _): [""]
        }
    }
}

/// Reads a page line by line and remembers what the rules across lines need.
private struct MetricsReader {
    private let page: [UInt8]
    private let format: ExpositionFormat
    private var families: [CheckedFamily] = []
    /// Families by name; names of samples that a family claims, by that family's place.
    private var places: [String: Int] = [:], claimed: [String: Int] = [:]
    /// The family whose lines are being read, OpenMetrics alone.
    private var current: Int?
    private var groups = GroupRules()
    private var line = 1

    init(_ page: [UInt8], _ format: ExpositionFormat) { (self.page, self.format) = (page, format) }

    mutating func read() throws(ExpositionError) -> [CheckedFamily] {
        var bytes = page
        let isClosed = bytes.last == 0x0A
        if !isClosed {
            guard format == .openMetrics || bytes.isEmpty else {
                throw ExpositionError(
                    line: bytes.reduce(into: 1) { if $1 == 0x0A { $0 += 1 } }, column: 1,
                    message: "the last line does not end; end it with a line feed")
            }
            bytes.append(0x0A)
        }
        var position = 0
        var isEnded = false
        while position < bytes.count {
            let stop = bytes[position...].firstIndex(of: 0x0A) ?? bytes.count
            guard !isEnded else {
                if position == stop, stop == bytes.count - 1, !isClosed { break }
                throw failure("text behind # EOF")
            }
            isEnded = try read(bytes, position, stop + 1)
            position = stop + 1
            line += 1
        }
        guard format == .text || isEnded else { throw failure("the page does not end with # EOF") }
        return families
    }

    private func failure(_ message: String, column: Int = 1) -> ExpositionError {
        ExpositionError(line: line, column: column, message: message)
    }

    /// Reads a line; true when it is the page's last.
    private mutating func read(_ bytes: [UInt8], _ start: Int, _ end: Int) throws(ExpositionError) -> Bool {
        var comment: (LineParser.Comment, name: String, text: String)?
        var sample: CheckedSample?
        do throws(ExpositionError) {
            try unsafe bytes.withUnsafeBufferPointer { (buffer) throws(ExpositionError) in
                guard let base = buffer.baseAddress else { return }
                var parser = unsafe LineParser(
                    bytes: base, from: start, end: end, format: format, isStrict: true)
                parser.skipBlanks()
                if parser.isAtLineEnd {
                    guard format == .text else { throw ExpositionError(line: 0, column: 1, message: "an empty line") }
                    return
                }
                if unsafe base[parser.offset] == 0x23 {
                    let found = try parser.comment()
                    comment = (found, parser.name(of: found), parser.text(of: found))
                } else {
                    sample = try CheckedSample(&parser)
                }
            }
        } catch {
            throw failure(error.message, column: error.column)
        }
        if let comment {
            if comment.0.kind == .end { try close() }
            try take(comment.0, name: comment.name, text: comment.text)
            return comment.0.kind == .end
        }
        if let sample { try take(sample) }
        return false
    }

    // MARK: Comments

    private mutating func take(_ comment: LineParser.Comment, name: String, text: String) throws(ExpositionError) {
        guard comment.kind != .other, comment.kind != .end else { return }
        // As in Prometheus' own reader, a HELP line of the text format without a text says nothing.
        if format == .text, comment.kind == .help, text.isEmpty { return }
        let place = try place(of: name)
        func once<Value>(_ value: Value?, _ what: String) throws(ExpositionError) {
            guard value == nil else { throw failure("a second \(what) line of '\(name)'; keep one") }
        }
        if format == .openMetrics || comment.kind == .type {
            guard families[place].sampleCount == 0 else {
                throw failure("a line about '\(name)' stands behind its samples; put it before them")
            }
        }
        switch comment.kind {
        case .type:
            try once(families[place].type, "TYPE")
            families[place].type = comment.type
            if format == .openMetrics { try claim(place) }
        case .help:
            try once(families[place].help, "HELP")
            families[place].help = text
        default:
            try once(families[place].unit, "UNIT")
            families[place].unit = text
        }
        let type = families[place].type
        guard families[place].unit ?? "" == "" || (type != .info && type != .stateset) else {
            throw failure("\(type?.rawValue ?? "") metrics have no unit")
        }
    }

    /// The family of that name, made where there is none. In OpenMetrics it must be the one that is being read.
    private mutating func place(of name: String) throws(ExpositionError) -> Int {
        if format == .openMetrics, let current, families[current].name == name { return current }
        if let place = places[name] {
            guard format == .text else {
                throw failure("the lines of '\(name)' do not stand together; its first is line \(families[place].line)")
            }
            return place
        }
        try close()
        families.append(CheckedFamily(name, line: line, format))
        let place = families.count - 1
        places[name] = place
        if format == .openMetrics {
            current = place
            if let other = claimed[name] { throw clash(name, other) }
            claimed[name] = place
        }
        return place
    }

    private func clash(_ name: String, _ other: Int) -> ExpositionError {
        failure("the name '\(name)' belongs to '\(families[other].name)' in line \(families[other].line); rename one")
    }

    private mutating func claim(_ place: Int) throws(ExpositionError) {
        for suffix in CheckedFamily.suffixes(of: families[place].type ?? .unknown, in: format) {
            let name = families[place].name + suffix
            if let other = claimed[name], other != place { throw clash(name, other) }
            claimed[name] = place
        }
    }

    /// What can be said only when a family's last line was read.
    private mutating func close() throws(ExpositionError) {
        guard current != nil else { return }
        if let message = groups.end() { throw ExpositionError(line: line - 1, column: 1, message: message) }
        groups = GroupRules()
        current = nil
    }

    // MARK: Samples

    private mutating func take(_ sample: CheckedSample) throws(ExpositionError) {
        let (place, suffix) = try family(of: sample.name)
        families[place].sampleCount += 1
        families[place].sampleNames.insert(sample.name)
        families[place].labelNames.formUnion(sample.labels.map(\.name))
        let type = families[place].type ?? .unknown
        if format == .text {
            let bound = type == .histogram ? "le" : type == .summary ? "quantile" : ""
            if let label = sample.labels.first(where: { $0.name == bound }), GoNumber.parse(label.value) == nil {
                throw failure("the value of '\(bound)' is no number")
            }
            return
        }
        if let message = SampleRules.problem(sample, suffix: suffix, of: families[place], type)
            ?? groups.take(sample, suffix: suffix, of: families[place].name, type)
        {
            throw failure(message)
        }
    }

    private mutating func family(of name: String) throws(ExpositionError) -> (Int, suffix: String) {
        let candidates = ["", "_total", "_created", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_info"]
        for suffix in candidates where name.hasSuffix(suffix) {
            let base = String(name.dropLast(suffix.count))
            guard let place = format == .text ? places[base] : current, families[place].name == base else { continue }
            let allowed = CheckedFamily.suffixes(of: families[place].type ?? .unknown, in: format)
            if allowed.contains(suffix) { return (place, suffix) }
        }
        let place = try place(of: name)
        guard format == .openMetrics, let type = families[place].type else { return (place, "") }
        guard CheckedFamily.suffixes(of: type, in: format).contains("") else {
            throw failure("'\(name)' is no sample of a \(type.rawValue)")
        }
        return (place, "")
    }
}

/// One line's sample.
struct CheckedSample {
    var name = ""
    var labels: [Label] = []
    var value: Double
    var timestamp: Int64?
    var exemplar: [Label]?

    init(_ parser: inout LineParser) throws(ExpositionError) {
        for label in try parser.series() {
            if label.name == Labels.nameLabel { name = label.value } else { labels.append(label) }
        }
        value = try parser.value()
        timestamp = try parser.timestampAndEnd()
        if parser.isAtExemplar { exemplar = try parser.exemplar().labels }
        labels.sort()
    }

    func label(_ name: String) -> String? { labels.first { $0.name == name }?.value }
}

/// What OpenMetrics asks of one sample.
private enum SampleRules {
    static func problem(
        _ sample: CheckedSample, suffix: String, of family: CheckedFamily, _ type: MetricType
    ) -> String? {
        let value = sample.value
        switch type {
        case .stateset:
            guard value == 0 || value == 1 else { return "a state's value is 0 or 1" }
            guard sample.label(family.name) != nil else { return "a state has its name in the label '\(family.name)'" }
        case .info: guard value == 1 else { return "an info's value is 1" }
        case .summary where suffix.isEmpty:
            guard let quantile = sample.label("quantile").flatMap({ GoNumber.parse($0) }), (0...1).contains(quantile)
            else { return "a summary's sample has a 'quantile' from 0 to 1" }
            guard !(value < 0) else { return "a quantile is not negative" }
        case .histogram where suffix == "_bucket", .gaugehistogram where suffix == "_bucket":
            guard let bound = sample.label("le") else { return "a bucket has the label 'le'" }
            guard let number = GoNumber.parse(bound), !number.isNaN, number.isFinite || bound == "+Inf" else {
                return "the bound of a bucket is a number or +Inf"
            }
        default: break
        }
        if ["_total", "_sum", "_count", "_bucket", "_gcount", "_gsum"].contains(suffix), value.isNaN {
            return "a \(suffix.dropFirst()) is a number"
        }
        if ["_total", "_sum", "_count", "_bucket", "_gcount"].contains(suffix), value < 0 {
            return "a \(suffix.dropFirst()) is not negative"
        }
        guard let exemplar = sample.exemplar else { return nil }
        guard suffix == "_bucket" || suffix == "_total" else {
            return "only buckets and the totals of counters have exemplars"
        }
        let length = exemplar.reduce(0) { $0 + $1.name.unicodeScalars.count + $1.value.unicodeScalars.count }
        return length > Exemplar.labelLimit
            ? "the exemplar's labels have \(length) characters, above \(Exemplar.labelLimit)" : nil
    }
}

/// What OpenMetrics asks of the samples that belong together: one set of labels, all but a bucket's bound and the like.
private struct GroupRules {
    private struct Buckets {
        var bounds: [(bound: Double, count: Double)] = []
        var sum: Double?, count: Double?
        var isAny = false
    }

    private var group: [Label]?
    private var seen: Set<[Label]> = []
    private var timestamp: Int64?
    private var series: Set<[Label]> = []
    private var buckets = Buckets()
    private var type = MetricType.unknown

    /// Takes a sample; answers what is wrong.
    mutating func take(_ sample: CheckedSample, suffix: String, of family: String, _ type: MetricType) -> String? {
        self.type = type
        let bound: String? =
            switch type {
            case .histogram, .gaugehistogram: "le"
            case .summary: "quantile"
            case .stateset: family
            default: nil
            }
        let own = sample.labels.filter { $0.name != bound }
        let identity = [Label("", sample.name)] + sample.labels
        if let group, group == own {
            guard (timestamp == nil) == (sample.timestamp == nil) else {
                return "samples that belong together have timestamps all or none"
            }
            if let timestamp, let next = sample.timestamp {
                guard next >= timestamp || type == .info else { return "timestamps go backwards" }
                if next != timestamp { series = [] }
            } else if series.contains(identity) {
                return "the same series stands twice"
            }
        } else {
            if let problem = end() { return problem }
            guard seen.insert(own).inserted else {
                return "samples of one set of labels do not stand together"
            }
            group = own
            series = []
        }
        timestamp = sample.timestamp
        series.insert(identity)
        guard type == .histogram || type == .gaugehistogram else { return nil }
        return takeBucket(sample, suffix)
    }

    private mutating func takeBucket(_ sample: CheckedSample, _ suffix: String) -> String? {
        switch suffix {
        case "_bucket":
            let bound = sample.label("le").flatMap { GoNumber.parse($0) } ?? .nan
            if let last = buckets.bounds.last {
                // The next moment's buckets begin anew.
                if last.bound == .infinity {
                    if let problem = end(isOver: false) { return problem }
                } else {
                    guard bound > last.bound else { return "buckets stand in the order of their bounds" }
                    guard sample.value >= last.count else { return "a bucket counts what those below it count too" }
                }
            }
            buckets.bounds.append((bound, sample.value))
        case "_sum", "_gsum": buckets.sum = sample.value
        case "_count", "_gcount": buckets.count = sample.value
        default: return nil
        }
        buckets.isAny = true
        return nil
    }

    /// What can be said of a set of samples when its last was read.
    mutating func end(isOver: Bool = true) -> String? {
        defer {
            buckets = Buckets()
            if isOver { group = nil }
        }
        guard buckets.isAny else { return nil }
        guard let last = buckets.bounds.last, last.bound == .infinity else { return "there is no bucket +Inf" }
        guard (buckets.sum == nil) == (buckets.count == nil) else {
            return "a sum and a count stand both or not at all"
        }
        if let count = buckets.count, count != last.count { return "the count is not that of the bucket +Inf" }
        let hasNegative = buckets.bounds[0].bound < 0
        if type == .histogram, hasNegative, buckets.sum != nil {
            return "a histogram with negative bounds has no sum"
        }
        if type == .gaugehistogram, !hasNegative, let sum = buckets.sum, sum < 0 {
            return "a negative sum needs a negative bound"
        }
        return nil
    }
}
