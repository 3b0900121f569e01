internal import Basics
internal import Settings

/// The data file of a drift rule's reference: JSON with buckets, values or categories by feature, or CSV with a column
/// for each feature.
enum DriftReferenceFile {
    /// The observations by feature. CSV's columns of numbers are values, others categories; with `categories` all are.
    static func features(
        _ bytes: [UInt8], path: String, _ kind: DriftDefinition.Kind
    ) throws(SettingsError) -> [String: DriftObservations] {
        let features =
            path.lowercased().hasSuffix(".csv")
            ? try csv(bytes, path: path, areCategories: kind == .categories) : try json(bytes, path: path)
        guard !features.isEmpty else {
            throw SettingsError(SourceLocation(file: path), "holds no feature; write one under features")
        }
        for (name, feature) in features.sorted(by: { $0.key < $1.key }) {
            guard case .buckets = feature, kind != .histogram else { continue }
            throw SettingsError(
                SourceLocation(file: path),
                "\(name): buckets cannot be compared with \(kind.rawValue); give values, or use over: histogram")
        }
        return features
    }

    // MARK: JSON

    private static func json(_ bytes: [UInt8], path: String) throws(SettingsError) -> [String: DriftObservations] {
        let root: JSON
        do throws(JSONError) {
            root = try JSON(parsing: bytes)
        } catch {
            throw SettingsError(
                SourceLocation(file: path, line: error.line, column: error.column),
                "\(error.message); mend the JSON, or name the file .csv if it is one")
        }
        guard let members = root["features"]?.members else {
            throw SettingsError(
                SourceLocation(file: path), #"no object "features"; write {"features": {"NAME": {"values": […]}}}"#)
        }
        var features: [String: DriftObservations] = [:]
        for member in members {
            func mistake(_ part: String, _ message: String) -> SettingsError {
                SettingsError(SourceLocation(file: path), "features.\(member.name)\(part): \(message)")
            }
            guard features[member.name] == nil else { throw mistake("", "is given twice; keep one") }
            guard let parts = member.value.members, parts.count == 1, let part = parts.first else {
                throw mistake("", "give one of buckets, values and categories")
            }
            switch part.name {
            case "buckets": features[member.name] = try buckets(part.value, mistake)
            case "values": features[member.name] = try values(part.value, mistake)
            case "categories": features[member.name] = try categories(part.value, mistake)
            default: throw mistake("", "unknown key '\(part.name)'; give one of buckets, values and categories")
            }
        }
        return features
    }

    private static func values(
        _ json: JSON, _ mistake: (String, String) -> SettingsError
    ) throws(SettingsError) -> DriftObservations {
        guard let elements = json.array else { throw mistake(".values", "expected an array, found \(json.kind)") }
        var values: [Double] = []
        for (index, element) in elements.enumerated() where element != .null {
            guard let value = element.number else {
                throw mistake(
                    ".values[\(index)]", "expected a number, or null for a missing one, found \(element.kind)")
            }
            values.append(value)
        }
        return .values(values.sorted())
    }

    private static func categories(
        _ json: JSON, _ mistake: (String, String) -> SettingsError
    ) throws(SettingsError) -> DriftObservations {
        guard let members = json.members else { throw mistake(".categories", "expected an object, found \(json.kind)") }
        var counts: [String: Double] = [:]
        for member in members {
            guard let count = member.value.number, count >= 0 else {
                throw mistake(".categories.\(member.name)", "expected a count of 0 or more")
            }
            counts[member.name] = count
        }
        return .categories(counts)
    }

    private static func buckets(
        _ json: JSON, _ mistake: (String, String) -> SettingsError
    ) throws(SettingsError) -> DriftObservations {
        guard let elements = json.array else { throw mistake(".buckets", "expected an array, found \(json.kind)") }
        var (bounds, counts, before): ([Double], [Double], Double) = ([], [], 0)
        for (index, element) in elements.enumerated() {
            let bound = element["le"]?.number ?? element["le"]?.string.flatMap(GoNumber.parse)
            guard let bound, !bound.isNaN, bound > bounds.last ?? -.infinity else {
                throw mistake(".buckets[\(index)].le", "expected a number above the last bound")
            }
            guard let count = element["count"]?.number, count >= before else {
                throw mistake(
                    ".buckets[\(index)].count", "expected a count no less than the last: counts are cumulative")
            }
            bounds.append(bound)
            counts.append(count - before)
            before = count
        }
        guard bounds.last == .infinity else {
            throw mistake(".buckets", #"the last bucket must be le "+Inf", the count of all observations"#)
        }
        return .buckets(bounds: bounds, counts: counts)
    }

    // MARK: CSV

    private static func csv(
        _ bytes: [UInt8], path: String, areCategories: Bool
    ) throws(SettingsError) -> [String: DriftObservations] {
        var rows = CSVRows(bytes, path: path)
        guard let header = try rows.next(), !header.isEmpty, !header.allSatisfy(\.isEmpty) else {
            throw SettingsError(SourceLocation(file: path, line: 1, column: 1), "no header; name a feature per column")
        }
        guard Set(header).count == header.count, !header.contains("") else {
            throw SettingsError(
                SourceLocation(file: path, line: 1, column: 1),
                "a column has no name or the name of another; rename it")
        }
        var columns = [[String]](repeating: [], count: header.count)
        while let row = try rows.next() {
            if row == [""] { continue }
            guard row.count == header.count else {
                throw SettingsError(
                    SourceLocation(file: path, line: rows.rowLine, column: 1),
                    "\(row.count) fields where the header has \(header.count); mend the row")
            }
            for (index, field) in row.enumerated() where !field.isEmpty { columns[index].append(field) }
        }
        var features: [String: DriftObservations] = [:]
        for (name, fields) in zip(header, columns) {
            let numbers = areCategories ? [] : fields.compactMap(GoNumber.parse)
            if !areCategories, numbers.count == fields.count {
                features[name] = .values(numbers.filter(\.isFinite).sorted())
            } else {
                features[name] = .categories(fields.reduce(into: [:]) { $0[$1, default: 0] += 1 })
            }
        }
        return features
    }
}

/// The rows of a CSV text (RFC 4180): fields between commas, a quoted field may hold commas, line ends and `""`.
private struct CSVRows {
    let bytes: [UInt8]
    let path: String
    var index = 0
    var line = 1
    /// The line the last row began on.
    var rowLine = 1

    init(_ bytes: [UInt8], path: String) {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        (self.bytes, self.path) = (bytes.starts(with: mark) ? Array(bytes.dropFirst(3)) : bytes, path)
    }

    mutating func next() throws(SettingsError) -> [String]? {
        guard index < bytes.count else { return nil }
        rowLine = line
        var row: [String] = []
        while true {
            row.append(try field())
            guard index < bytes.count else { return row }
            let end = bytes[index]
            index += 1
            if end == 0x0A {
                line += 1
                return row
            }
        }
    }

    /// One field; leaves the comma or the line's end after it.
    private mutating func field() throws(SettingsError) -> String {
        guard index < bytes.count, bytes[index] == 0x22 else {
            let start = index
            while index < bytes.count, bytes[index] != 0x2C, bytes[index] != 0x0A { index += 1 }
            return trimmed(bytes[start..<index])
        }
        let begin = SourceLocation(file: path, line: line, column: column(index))
        index += 1
        var text: [UInt8] = []
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            if byte == 0x22 {
                guard index < bytes.count, bytes[index] == 0x22 else {
                    while index < bytes.count, bytes[index] == 0x0D || bytes[index] == 0x20 { index += 1 }
                    guard index == bytes.count || bytes[index] == 0x2C || bytes[index] == 0x0A else {
                        throw SettingsError(begin, "text follows a quoted field; write \"\" for a quote in it")
                    }
                    return String(decoding: text, as: UTF8.self)
                }
                index += 1
            } else if byte == 0x0A {
                line += 1
            }
            text.append(byte)
        }
        throw SettingsError(begin, "a quoted field does not end; close its quote")
    }

    private func column(_ index: Int) -> Int {
        index - (bytes[..<index].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0) + 1
    }

    private func trimmed(_ field: ArraySlice<UInt8>) -> String {
        var field = field
        while let last = field.last, last == 0x0D || last == 0x20 || last == 0x09 { field.removeLast() }
        while let first = field.first, first == 0x20 || first == 0x09 { field.removeFirst() }
        return String(decoding: field, as: UTF8.self)
    }
}
