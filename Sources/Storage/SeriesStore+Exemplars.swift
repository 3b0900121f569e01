public import Basics
public import Model
internal import Synchronization

extension SeriesStore: ExemplarSink {
    /// See `ExemplarSink`. What is new goes into the log too; an exemplar that the newest of its series equals is
    /// passed over in silence.
    public func append(_ exemplars: [SeriesExemplar]) {
        let fresh = exemplarRing.withLock { ring in
            exemplars.filter { one in
                switch ring.append(one.exemplar, of: one.series) {
                case .stored: return true
                case .outOfOrder: figures.outOfOrderExemplars.add()
                case .tooLong: figures.longExemplars.add()
                case .duplicate, .off: break
                }
                return false
            }
        }
        guard !fresh.isEmpty else { return }
        figures.exemplars.add(fresh.count)
        let isLogged = log.withLock { log in
            guard writePending(&log) else { return false }
            SeriesStore.encodeExemplars(fresh, into: &log.record)
            return attempt(&log) { (log) throws(FileError) in try log.writer.write(log.record) }
        }
        if !isLogged { figures.unloggedExemplars.add(fresh.count) }
    }

    /// Whether exemplars are kept at all.
    public var keepsExemplars: Bool { settings.maximumExemplars > 0 }

    /// The exemplars in `[from, through]` of series that some matcher list fulfils, series sorted by their labels.
    public func exemplars(_ matchers: [[Matcher]], from: Timestamp, through: Timestamp) -> [SeriesExemplars] {
        exemplarRing.withLock { $0.select(matchers, from: from, through: through) }
    }

    /// An exemplars record: the first reference and time, then each one's differences from them, value and labels.
    static func encodeExemplars(_ exemplars: [SeriesExemplar], into record: inout [UInt8]) {
        record.removeAll(keepingCapacity: true)
        guard let first = exemplars.first else { return }
        record.append(LogFormat.Record.exemplars.rawValue)
        record.appendBigEndian(first.reference)
        record.appendBigEndian(UInt64(bitPattern: first.exemplar.timestamp.milliseconds))
        for one in exemplars {
            record.appendVarint(Int64(bitPattern: one.reference &- first.reference))
            record.appendVarint(one.exemplar.timestamp.milliseconds &- first.exemplar.timestamp.milliseconds)
            record.appendBigEndian(one.exemplar.value.bitPattern)
            record.append(one.exemplar.labels)
        }
    }
}
