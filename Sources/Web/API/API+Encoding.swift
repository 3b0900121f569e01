internal import Basics
internal import Model
internal import Query

extension API {
    /// A query's result in Prometheus' JSON, written straight into the body, and compressed as it is written where the
    /// client takes that and there is much of it. 30 to 100 ns a point, and as much again for compression.
    static func encode(
        _ result: QueryResult, limit: Int, hasSteps: Bool = false, acceptsGzip: Bool = false
    ) -> APIResponse {
        var gzip: GzipWriter?
        if acceptsGzip, result.value.series.reduce(0, { $0 + $1.times.count }) > 4096 { gzip = GzipWriter() }
        var body = Array(#"{"status":"success","data":{"resultType":""#.utf8)
        switch result.value {
        case .scalar(let sample):
            body += #"scalar","result":"#.utf8
            write(sample.timestamp.milliseconds, sample.value, to: &body)
        case .string(let text, let moment):
            body += #"string","result":["#.utf8
            body.append(milliseconds: moment.milliseconds)
            body.append(UInt8(ascii: ","))
            JSON.write(text, to: &body)
            body.append(UInt8(ascii: "]"))
        case .vector(let samples):
            body += #"vector","result":["#.utf8
            for (index, sample) in samples.enumerated() where index < limit {
                body += (index > 0 ? #",{"metric":"# : #"{"metric":"#).utf8
                write(sample.labels, to: &body)
                body += #","value":"#.utf8
                write(sample.timestamp.milliseconds, sample.value, to: &body)
                body.append(UInt8(ascii: "}"))
            }
            body.append(UInt8(ascii: "]"))
        case .matrix(let series):
            body += #"matrix","result":["#.utf8
            var points = PointWriter()
            for (index, one) in series.enumerated() where index < limit {
                body += (index > 0 ? #",{"metric":"# : #"{"metric":"#).utf8
                write(one.labels, to: &body)
                body += #","values":["#.utf8
                points.write(one, to: &body)
                body += "]}".utf8
                if gzip != nil, body.count >= 1 << 16 {
                    gzip?.write(body.span)
                    body.removeAll(keepingCapacity: true)
                }
            }
            body.append(UInt8(ascii: "]"))
        }
        if let statistics = result.statistics {
            body += #","stats":"#.utf8
            statistics.json(perStep: hasSteps).write(to: &body)
        }
        body.append(UInt8(ascii: "}"))
        let isCut = max(result.value.samples.count, result.value.series.count) > limit
        let warnings = result.warnings + (isCut ? [truncated] : [])
        for (name, texts) in [("warnings", warnings), ("infos", result.infos)] where !texts.isEmpty {
            body += ",\"\(name)\":".utf8
            JSON.array(texts.map { .string($0) }).write(to: &body)
        }
        body.append(UInt8(ascii: "}"))
        guard var gzip = consume gzip else { return APIResponse(contentType: "application/json", body: body) }
        gzip.write(body.span)
        var answer = APIResponse(contentType: "application/json", body: gzip.finish())
        answer.isCompressed = true
        return answer
    }

    private static func write(_ labels: Labels, to body: inout [UInt8]) {
        body.append(UInt8(ascii: "{"))
        for (index, label) in labels.sorted.enumerated() {
            if index > 0 { body.append(UInt8(ascii: ",")) }
            JSON.write(label.name, to: &body)
            body.append(UInt8(ascii: ":"))
            JSON.write(label.value, to: &body)
        }
        body.append(UInt8(ascii: "}"))
    }

    private static func write(_ time: Int64, _ value: Double, to body: inout [UInt8]) {
        body.append(UInt8(ascii: "["))
        body.append(milliseconds: time)
        body += ",\"".utf8
        body.append(sample: value)
        body += "\"]".utf8
    }
}

/// Writes the points of many series. Series without a gap have the same times, whose texts are made once.
struct PointWriter {
    private var times: [Int64] = []
    /// What stands before each value, `"],[1790000000,"`, one after the other, and where each ends.
    private var heads: [UInt8] = []
    private var ends: [Int] = []
    private var values = ValueTexts()

    mutating func write(_ series: SeriesColumns, to body: inout [UInt8]) {
        guard !series.times.isEmpty else { return }
        // Arrays that are the same are equal at once.
        if times != series.times { prepare(series.times) }
        body.reserveCapacity(body.count + series.times.count * 24)
        let ends = ends
        // The first has nothing before it to end.
        var start = 3
        unsafe heads.withUnsafeBufferPointer { heads in
            for index in series.values.indices {
                unsafe body.append(contentsOf: UnsafeBufferPointer(rebasing: heads[start..<ends[index]]))
                start = ends[index]
                values.write(series.values[index], to: &body)
            }
        }
        body += "\"]".utf8
    }

    private mutating func prepare(_ times: [Int64]) {
        self.times = times
        heads.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
        for time in times {
            heads += "\"],[".utf8
            heads.append(milliseconds: time)
            heads += ",\"".utf8
            ends.append(heads.count)
        }
    }
}

/// Writes values; those that have been written lately are copied.
private struct ValueTexts {
    /// The newest value of each hash with its text, and how long that is.
    private var known = [UInt64](repeating: 0, count: ValueTexts.size)
    private var texts = [UInt8](repeating: 0, count: ValueTexts.size * ValueTexts.room)
    private var lengths = [UInt8](repeating: 0, count: ValueTexts.size)
    private static let size = 1024, room = 32

    mutating func write(_ value: Double, to body: inout [UInt8]) {
        let bits = value.bitPattern
        let place = Int((bits &* 0x9E37_79B9_7F4A_7C15) >> 54)
        let start = place * ValueTexts.room
        if known[place] == bits, lengths[place] > 0 {
            let end = start + Int(lengths[place])
            unsafe texts.withUnsafeBufferPointer { texts in
                unsafe body.append(contentsOf: UnsafeBufferPointer(rebasing: texts[start..<end]))
            }
            return
        }
        let before = body.count
        body.append(sample: value)
        let length = body.count - before
        guard length <= ValueTexts.room else { return }
        (known[place], lengths[place]) = (bits, UInt8(length))
        for index in 0..<length { texts[start + index] = body[before + index] }
    }
}

extension [UInt8] {
    /// Appends a sample's value as Prometheus' API writes it.
    fileprivate mutating func append(sample value: Double) {
        // Whole numbers are most of what there is, and need no search for digits.
        if let whole = Int64(exactly: value), whole.magnitude < 1 << 53, whole != 0 || value.sign == .plus {
            append(decimal: whole)
        } else if value.magnitude >= 1e-3, value.magnitude < 1e15 {
            // Swift's shortest digits are Go's, and here it writes them without an exponent; none is whole.
            append(contentsOf: value.description.utf8)
        } else {
            append(contentsOf: GoNumber.api(value).utf8)
        }
    }

    /// Appends a moment in seconds with up to three digits behind the point.
    fileprivate mutating func append(milliseconds time: Int64) {
        if time < 0 { append(UInt8(ascii: "-")) }
        let size = time.magnitude
        append(decimal: Int64(size / 1000))
        let rest = size % 1000
        guard rest != 0 else { return }
        self += [UInt8(ascii: "."), UInt8(0x30 + rest / 100), UInt8(0x30 + rest / 10 % 10), UInt8(0x30 + rest % 10)]
    }
}
