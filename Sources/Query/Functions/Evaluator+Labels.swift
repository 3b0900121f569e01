internal import Basics
internal import Model

extension Evaluator {
    /// `label_replace(v, destination, replacement, source, regex)`.
    func labelReplace(_ call: Call, _ grid: StepGrid) throws(QueryError) -> StepVector {
        var vector = try vector(call.arguments[0], grid)
        let destination = try string(call.arguments[1], grid)
        let replacement = try string(call.arguments[2], grid)
        let source = try string(call.arguments[3], grid)
        let regex = try string(call.arguments[4], grid)
        guard !destination.isEmpty, !destination.unicodeScalars.contains("\u{FFFD}") else {
            throw .execution("invalid destination label name in label_replace(): \(destination)")
        }
        let pattern: Pattern
        do {
            pattern = try Pattern(regex)
        } catch {
            throw .execution("invalid regular expression in label_replace(): \(regex): \(error.reason)")
        }
        for index in 0..<vector.count {
            guard let value = pattern.expand(replacement, matching: vector.labels[index][source]) else { continue }
            set(destination, to: value, of: index, in: &vector)
        }
        try vector.mergeDuplicates()
        return vector
    }

    /// `label_join(v, destination, separator, source…)`.
    func labelJoin(_ call: Call, _ grid: StepGrid) throws(QueryError) -> StepVector {
        var vector = try vector(call.arguments[0], grid)
        let destination = try string(call.arguments[1], grid)
        let separator = try string(call.arguments[2], grid)
        var sources: [String] = []
        for argument in call.arguments.dropFirst(3) {
            let name = try string(argument, grid)
            guard !name.isEmpty else { throw .execution("invalid source label name in label_join(): \(name)") }
            sources.append(name)
        }
        guard !destination.isEmpty, !destination.unicodeScalars.contains("\u{FFFD}") else {
            throw .execution("invalid destination label name in label_join(): \(destination)")
        }
        for index in 0..<vector.count {
            let value = sources.map { vector.labels[index][$0] }.joined(separator: separator)
            set(destination, to: value, of: index, in: &vector)
        }
        try vector.mergeDuplicates()
        return vector
    }

    /// A name that is set by hand is not dropped later.
    private func set(_ name: String, to value: String, of index: Int, in vector: inout StepVector) {
        vector.labels[index][name] = value
        if name == Labels.nameLabel, !vector.dropsName.isEmpty { vector.dropsName[index] = false }
    }
}
