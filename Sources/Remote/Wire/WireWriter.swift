internal import Basics
internal import Model
internal import SwiftProtobuf

/// Writes a `WireWriteRequest` sample by sample, without making one: a series' labels are encoded once, by the
/// generated code, and copied from then on. What comes out is what the generated code reads.
struct WireWriter {
    private(set) var bytes: [UInt8] = []

    /// The `labels` fields of a series, ready to stand in any number of messages.
    static func encoded(_ labels: Labels) -> [UInt8] {
        var series = WireTimeSeries()
        series.labels = labels.wire
        return encoded(series)
    }

    /// A message's bytes.
    static func encoded(_ message: some SwiftProtobuf.Message) -> [UInt8] {
        do {
            return try message.serializedBytes()
        } catch {
            // Only a required field that is missing is refused, and proto3 has none.
            preconditionFailure("\(error)")
        }
    }

    /// What was written, as it is sent.
    func compress(into output: inout [UInt8]) { unsafe Snappy.compress(bytes.span.bytes, into: &output) }

    mutating func reset() { bytes.removeAll(keepingCapacity: true) }

    /// One sample as a time series of its own, as Prometheus sends it.
    mutating func append(labels: [UInt8], value: Double, time: Int64) {
        let moment = UInt64(bitPattern: time)
        // value: tag and eight bytes; timestamp: tag and varint.
        let sample = 9 + 1 + WireWriter.length(ofVarint: moment)
        begin(labels.count + 2 + sample)
        bytes += labels
        bytes.append(2 << 3 | 2)
        bytes.append(UInt8(sample))
        bytes.append(1 << 3 | 1)
        appendFixed(value.bitPattern)
        bytes.append(2 << 3 | 0)
        appendVarint(moment)
    }

    /// One exemplar as a time series of its own.
    mutating func append(labels: [UInt8], _ exemplar: Exemplar) {
        var wire = WireExemplar()
        wire.labels = exemplar.labels.wire
        wire.value = exemplar.value
        wire.timestamp = exemplar.timestamp.milliseconds
        var series = WireTimeSeries()
        series.exemplars = [wire]
        let rest = WireWriter.encoded(series)
        begin(labels.count + rest.count)
        bytes += labels
        bytes += rest
    }

    private mutating func begin(_ count: Int) {
        bytes.append(1 << 3 | 2)
        appendVarint(UInt64(count))
    }

    /// Not by the generic function of another room, which took a third of the time here.
    private mutating func appendFixed(_ value: UInt64) {
        for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    private mutating func appendVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    private static func length(ofVarint value: UInt64) -> Int { max(1, (70 - value.leadingZeroBitCount) / 7) }
}

extension Labels {
    /// As they go over the wire, in the order of their names.
    var wire: [WireLabel] {
        sorted.map { label in
            var wire = WireLabel()
            (wire.name, wire.value) = (label.name, label.value)
            return wire
        }
    }
}

extension WireMetricMetadata {
    /// What targets say of a metric.
    init(_ metadata: MetricMetadata) {
        self.init()
        type =
            switch metadata.type {
            case .unknown: .unknown
            case .counter: .counter
            case .gauge: .gauge
            case .histogram: .histogram
            case .gaugehistogram: .gaugehistogram
            case .summary: .summary
            case .info: .info
            case .stateset: .stateset
            }
        (metricFamilyName, help, unit) = (metadata.metric, metadata.help, metadata.unit)
    }
}
