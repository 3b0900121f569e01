internal import Basics

/// One name and its value. A label with an empty value is the same as no label.
public struct Label: Hashable, Sendable, Comparable {
    /// The name, `__name__` for the metric's own.
    public var name: String
    /// The value, any UTF-8.
    public var value: String

    /// A label by its parts.
    public init(_ name: String, _ value: String) { (self.name, self.value) = (name, value) }

    /// By name, then by value, in UTF-8 byte order.
    public static func < (left: Label, right: Label) -> Bool {
        left.name == right.name ? left.value.isBefore(right.value) : left.name.isBefore(right.name)
    }
}

/// The identity of a series or an alert: labels sorted by name, no name twice, no empty value.
public struct Labels: Hashable, Sendable {
    /// The labels in the order of their names.
    public private(set) var sorted: [Label]

    /// No labels.
    public init() { sorted = [] }

    /// Takes labels in any order; empty values are dropped, and of a repeated name the last one counts.
    public init(_ labels: some Sequence<Label>) {
        let labels = Array(labels)
        if labels.isOrdered {
            self.init(sortedUnique: labels)
        } else {
            self.init(Dictionary(labels.lazy.map { ($0.name, $0.value) }) { $1 })
        }
    }

    /// Takes name-value pairs; empty values are dropped.
    public init(_ labels: [String: String]) {
        sorted = labels.compactMap { $1.isEmpty ? nil : Label($0, $1) }
        sorted.sort { $0.name.isBefore($1.name) }
    }

    /// Takes labels that are sorted, unique and without empty values already. Cost: a check in debug builds only.
    public init(sortedUnique labels: [Label]) {
        assert(labels.isOrdered)
        sorted = labels
    }

    /// The value of a label, empty when there is none. O(*n*).
    public subscript(name: String) -> String {
        get {
            for label in sorted where label.name == name { return label.value }
            return ""
        }
        set {
            if let index = sorted.firstIndex(where: { !$0.name.isBefore(name) }) {
                if sorted[index].name == name {
                    if newValue.isEmpty { sorted.remove(at: index) } else { sorted[index].value = newValue }
                } else if !newValue.isEmpty {
                    sorted.insert(Label(name, newValue), at: index)
                }
            } else if !newValue.isEmpty {
                sorted.append(Label(name, newValue))
            }
        }
    }

    /// The metric's name, empty when there is none.
    public var metricName: String { self[Labels.nameLabel] }
    /// Whether there is no label at all.
    public var isEmpty: Bool { sorted.isEmpty }
    /// How many labels there are.
    public var count: Int { sorted.count }
    /// The label that holds a metric's name.
    public static let nameLabel = "__name__"

    /// The labels whose names are in `names`.
    public func keeping(_ names: some Collection<String>) -> Labels {
        Labels(sortedUnique: sorted.filter { names.contains($0.name) })
    }
    /// The labels whose names are not in `names`.
    public func dropping(_ names: some Collection<String>) -> Labels {
        Labels(sortedUnique: sorted.filter { !names.contains($0.name) })
    }
    /// The labels without the metric's name.
    public var withoutName: Labels {
        guard sorted.contains(where: { $0.name == Labels.nameLabel }) else { return self }
        return Labels(sortedUnique: sorted.filter { $0.name != Labels.nameLabel })
    }
    /// These labels with `others` laid over them.
    public func merging(_ others: Labels) -> Labels {
        var merged = self
        for label in others.sorted { merged[label.name] = label.value }
        return merged
    }
    /// Appends a JSON object, its members in the order of the names.
    public func write(to output: inout [UInt8]) {
        output.append(UInt8(ascii: "{"))
        for index in sorted.indices {
            if index > 0 { output.append(UInt8(ascii: ",")) }
            JSON.writeMember(sorted[index].name, sorted[index].value, to: &output)
        }
        output.append(UInt8(ascii: "}"))
    }
    /// As a dictionary.
    public var dictionary: [String: String] { Dictionary(uniqueKeysWithValues: sorted.map { ($0.name, $0.value) }) }

    /// Alertmanager's fingerprint: FNV-1a 64 over name, 0xff, value, 0xff in the order of names.
    ///
    /// - SeeAlso: prometheus/common, `model/signature.go`.
    public var fingerprint: UInt64 {
        var hash = FNV1a()
        for label in sorted {
            hash.combine(label.name)
            hash.combine(byte: 0xFF)
            hash.combine(label.value)
            hash.combine(byte: 0xFF)
        }
        return hash.value
    }

    /// The fingerprint as Alertmanager prints it: 16 hexadecimal digits.
    public var fingerprintText: String { hexadecimal(fingerprint) }
}

extension [Label] {
    /// Whether they are sorted by name, no name is there twice, and no value is empty.
    fileprivate var isOrdered: Bool {
        for index in indices
        where self[index].value.isEmpty || index > 0 && !self[index - 1].name.isBefore(self[index].name) {
            return false
        }
        return true
    }
}

extension Labels: Comparable {
    /// Label by label, then by number, as Prometheus orders series.
    public static func < (left: Labels, right: Labels) -> Bool {
        for index in 0..<min(left.count, right.count) {
            if left.sorted[index].name != right.sorted[index].name {
                return left.sorted[index].name.isBefore(right.sorted[index].name)
            }
            if left.sorted[index].value != right.sorted[index].value {
                return left.sorted[index].value.isBefore(right.sorted[index].value)
            }
        }
        return left.count < right.count
    }
}

extension Labels: ExpressibleByDictionaryLiteral {
    /// `["job": "api"]`
    public init(dictionaryLiteral elements: (String, String)...) {
        self.init(elements.map { Label($0.0, $0.1) })
    }
}

extension Labels: CustomStringConvertible {
    /// Prometheus' form: `up{instance="a", job="b"}`, `{}` for none.
    public var description: String {
        let name = metricName
        let rest = sorted.filter { $0.name != Labels.nameLabel }
        if rest.isEmpty, !name.isEmpty, name.isLegacyMetricName { return name }
        var parts: [String] = []
        if !name.isEmpty, !name.isLegacyMetricName { parts.append(name.goQuoted) }
        for label in rest {
            let labelName = label.name.isLegacyLabelName ? label.name : label.name.goQuoted
            parts.append("\(labelName)=\(label.value.goQuoted)")
        }
        return (name.isLegacyMetricName ? name : "") + "{\(parts.joined(separator: ", "))}"
    }
}

extension String {
    /// Whether it may stand unquoted as a metric's name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
    public var isLegacyMetricName: Bool { isIdentifier { $0 == 0x3A } }
    /// Whether it may stand unquoted as a label's name: `[a-zA-Z_][a-zA-Z0-9_]*`.
    public var isLegacyLabelName: Bool { isIdentifier { _ in false } }

    private func isIdentifier(also extra: (UInt8) -> Bool) -> Bool {
        guard let first = utf8.first, !(0x30...0x39).contains(first) else { return false }
        return utf8.allSatisfy { $0.isASCIIWord || extra($0) }
    }

    /// UTF-8 byte order. Swift's own `<` compares normalised scalars, which Prometheus does not.
    public func isBefore(_ other: String) -> Bool {
        let fast = unsafe utf8.withContiguousStorageIfAvailable { one -> Bool? in
            unsafe other.utf8.withContiguousStorageIfAvailable { two in
                let shared = min(one.count, two.count)
                for index in 0..<shared {
                    let (left, right) = unsafe (one[index], two[index])
                    if left != right { return left < right }
                }
                return one.count < two.count
            }
        }
        return (fast ?? nil) ?? utf8.lexicographicallyPrecedes(other.utf8)
    }
}
