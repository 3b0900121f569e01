internal import Basics

/// Runs a template.
///
/// - SeeAlso: Go, `text/template/exec.go`.
final class TemplateEvaluator {
    private enum Flow { case on, breakLoop, continueLoop }

    private let template: Template
    private let environment: TemplateEnvironment
    private let limits: TemplateLimits
    private var output: [UInt8] = []
    private var variables: [(name: String, value: TemplateValue)] = []
    private var steps = 0
    private var depth = 0
    /// The template that is running.
    private var name: String

    init(_ template: Template, _ environment: TemplateEnvironment, _ limits: TemplateLimits) {
        (self.template, self.environment, self.limits) = (template, environment, limits)
        name = template.name
    }

    func render(_ data: TemplateValue) throws(TemplateError) -> String {
        variables = [("$", data)]
        _ = try run(template.body, dot: data)
        return String(decoding: output, as: UTF8.self)
    }

    // MARK: Statements

    private func run(_ statements: [Statement], dot: TemplateValue) throws(TemplateError) -> Flow {
        let scope = variables.count
        defer { variables.removeLast(variables.count - scope) }
        for statement in statements {
            switch statement {
            case .text(let text): try write(text, at: 0)
            case .action(let pipeline):
                let value = try evaluate(pipeline, dot)
                guard pipeline.variables.isEmpty else { continue }
                if case .null = value.plain {
                    try write("<no value>", at: pipeline.offset)
                } else {
                    try write(value.text, at: pipeline.offset)
                }
            case .branch(let branch):
                let flow = try run(branch, dot: dot)
                if flow != .on { return flow }
            case .call(let called, let pipeline, let offset, let text):
                guard let body = template.definitions[called] else {
                    throw error("template \(called.goQuoted) not defined", offset, text)
                }
                let argument = try pipeline.map { (pipeline) throws(TemplateError) in try evaluate(pipeline, dot) }
                try call(called, body, argument ?? .null, at: offset, text)
            case .breakLoop: return .breakLoop
            case .continueLoop: return .continueLoop
            }
        }
        return .on
    }

    private func call(
        _ called: String, _ body: [Statement], _ dot: TemplateValue, at offset: Int, _ text: String
    ) throws(TemplateError) {
        guard depth < limits.depth else {
            throw error("exceeded maximum template depth (\(limits.depth))", offset, text)
        }
        let outer = (variables, name)
        (variables, name) = ([("$", dot)], called)
        depth += 1
        _ = try run(body, dot: dot)
        depth -= 1
        (variables, name) = outer
    }

    private func run(_ branch: Branch, dot: TemplateValue) throws(TemplateError) -> Flow {
        let scope = variables.count
        defer { variables.removeLast(variables.count - scope) }
        guard branch.kind != .range else { return try loop(branch, dot: dot) }
        let value = try evaluate(branch.pipeline, dot)
        guard value.isTrue else { return try run(branch.otherwise, dot: dot) }
        return try run(branch.body, dot: branch.kind == .with ? value : dot)
    }

    private func loop(_ branch: Branch, dot: TemplateValue) throws(TemplateError) -> Flow {
        var pipeline = branch.pipeline
        let (names, isAssignment) = (pipeline.variables, pipeline.isAssignment)
        pipeline.variables = []
        let value = try evaluate(pipeline, dot)
        let items: [(TemplateValue, TemplateValue)]
        var isCount = false
        switch value.plain {
        case .null: items = []
        case .list(let list): items = list.enumerated().map { (.int($0), $1) }
        case .map(let map): items = map.entries.map { (.string($0.key), $0.value) }
        case .int(let count):
            guard count <= limits.steps else { throw tooMany(pipeline.offset) }
            items = (0..<max(0, count)).map { (.int($0), .int($0)) }
            isCount = true
        default:
            throw error("range can't iterate over \(value.text)", pipeline.offset, text(of: pipeline))
        }
        if isCount, names.count > 1 {
            throw error(
                "can't use \(value.text) to iterate over more than one variable", pipeline.offset, text(of: pipeline))
        }
        if items.isEmpty { return try run(branch.otherwise, dot: dot) }
        for (key, item) in items {
            try step(pipeline.offset)
            let scope = variables.count
            let values = names.count == 2 ? [key, item] : [item]
            for (name, value) in zip(names, values) { set(name, value, isAssignment: isAssignment) }
            let flow = try run(branch.body, dot: item)
            variables.removeLast(variables.count - scope)
            if flow == .breakLoop { break }
        }
        return .on
    }

    // MARK: Expressions

    private func evaluate(_ pipeline: Pipeline, _ dot: TemplateValue) throws(TemplateError) -> TemplateValue {
        var value: TemplateValue?
        for command in pipeline.commands {
            try step(pipeline.offset)
            value = try evaluate(command, dot, piped: value)
        }
        let result = value ?? .null
        for name in pipeline.variables { set(name, result, isAssignment: pipeline.isAssignment) }
        return result
    }

    private func set(_ name: String, _ value: TemplateValue, isAssignment: Bool) {
        if isAssignment, let index = variables.lastIndex(where: { $0.name == name }) {
            variables[index].value = value
        } else {
            variables.append((name, value))
        }
    }

    private func evaluate(
        _ command: Command, _ dot: TemplateValue, piped: TemplateValue?
    ) throws(TemplateError) -> TemplateValue {
        let first = command.words[0]
        let hasArguments = command.words.count > 1 || piped != nil
        switch first.kind {
        case .function(let name): return try call(name, command, dot, piped: piped)
        case .null where !hasArguments: throw error("nil is not a command", first.offset, first.text)
        case .fields(let base, let names) where hasArguments:
            let arguments = try arguments(command, dot, piped: piped)
            return try member(names, of: base, arguments, first, dot)
        default:
            guard !hasArguments else {
                throw error("can't give argument to non-function \(first.text)", first.offset, first.text)
            }
            return try value(of: first, dot)
        }
    }

    private func arguments(
        _ command: Command, _ dot: TemplateValue, piped: TemplateValue?
    ) throws(TemplateError) -> [TemplateValue] {
        var values: [TemplateValue] = []
        for word in command.words.dropFirst() { values.append(try value(of: word, dot)) }
        if let piped { values.append(piped) }
        return values
    }

    private func call(
        _ name: String, _ command: Command, _ dot: TemplateValue, piped: TemplateValue?
    ) throws(TemplateError) -> TemplateValue {
        let first = command.words[0]
        let count = command.words.count - 1 + (piped == nil ? 0 : 1)
        if name == "and" || name == "or" {
            guard count > 0 else {
                throw error("wrong number of args for \(name): want at least 1 got 0", first.offset, first.text)
            }
            var result = TemplateValue.null
            for word in command.words.dropFirst() {
                result = try value(of: word, dot)
                if result.isTrue == (name == "or") { return result }
            }
            return piped ?? result
        }
        if name == "call", let target = command.words.dropFirst().first {  // No data holds functions.
            let type = try value(of: target, dot).typeName
            throw error("error calling call: non-function \(target.text) of type \(type)", first.offset, command.text)
        }
        guard let function = template.functions.table[name] else {
            throw error("\(name.goQuoted) is not a defined function", first.offset, first.text)
        }
        guard function.arity.contains(count) else {
            let (low, high) = (function.arity.lowerBound, function.arity.upperBound)
            let want = low == high ? "\(low)" : "at least \(low)"
            throw error("wrong number of args for \(name): want \(want) got \(count)", first.offset, first.text)
        }
        let arguments = try arguments(command, dot, piped: piped)
        do {
            return try function.body(
                TemplateCall(arguments: arguments, environment: environment) { name, data throws(TemplateFailure) in
                    try self.nested(name, data)
                })
        } catch {
            throw self.error("error calling \(name): \(error.message)", first.offset, command.text)
        }
    }

    /// Runs a template by name for `tmpl`, its output apart.
    private func nested(_ called: String, _ data: TemplateValue) throws(TemplateFailure) -> String {
        guard let body = template.definitions[called] else {
            throw TemplateFailure("template \(called.goQuoted) not defined")
        }
        let outer = output
        output = []
        do {
            try call(called, body, data, at: 0, "tmpl")
        } catch {
            throw TemplateFailure(error.description)
        }
        defer { output = outer }
        return String(decoding: output, as: UTF8.self)
    }

    private func value(of word: Word, _ dot: TemplateValue) throws(TemplateError) -> TemplateValue {
        switch word.kind {
        case .fields(let base, let names): try member(names, of: base, [], word, dot)
        case .function(let name): try call(name, Command(words: [word], text: word.text), dot, piped: nil)
        default: try value(of: word.kind, word, dot)
        }
    }

    private func value(of kind: Word.Kind, _ word: Word, _ dot: TemplateValue) throws(TemplateError) -> TemplateValue {
        switch kind {
        case .dot: dot
        case .null: .null
        case .literal(let value): value
        case .variable(let name): variables.last { $0.name == name }?.value ?? .null
        case .pipeline(let pipeline): try evaluate(pipeline, dot)
        case .function(let name): try call(name, Command(words: [word], text: word.text), dot, piped: nil)
        case .fields(let base, let names): try member(names, of: base, [], word, dot)
        }
    }

    /// Follows field names; the arguments go to the last.
    private func member(
        _ names: [String], of base: Word.Kind, _ arguments: [TemplateValue], _ word: Word, _ dot: TemplateValue
    ) throws(TemplateError) -> TemplateValue {
        var value = try value(of: base, word, dot)
        for (index, name) in names.enumerated() {
            let given = index == names.count - 1 ? arguments : []
            value = try member(name, of: value, given, word)
        }
        return value
    }

    private func member(
        _ name: String, of value: TemplateValue, _ arguments: [TemplateValue], _ word: Word
    ) throws(TemplateError) -> TemplateValue {
        do {
            switch value {
            case .object(let object):
                if let found = try object.member(name, arguments) { return found }
                return try member(name, of: object.plain, arguments, word)
            case .map(let map):
                guard arguments.isEmpty else { throw TemplateFailure("\(name) is not a method but has arguments") }
                return map[name]
            case .null: throw TemplateFailure("nil pointer evaluating interface {}.\(name)")
            default: throw TemplateFailure("can't evaluate field \(name) in type \(value.typeName)")
            }
        } catch let failure as TemplateFailure {
            throw error(failure.message, word.offset, word.text)
        } catch {
            throw error as? TemplateError ?? self.error("\(error)", word.offset, word.text)
        }
    }

    // MARK: Limits and errors

    private func write(_ text: String, at offset: Int) throws(TemplateError) {
        try step(offset)
        guard output.count + text.utf8.count <= limits.outputBytes else {
            throw error("the result is longer than \(limits.outputBytes) bytes", offset, name)
        }
        output += text.utf8
    }

    private func step(_ offset: Int) throws(TemplateError) {
        steps += 1
        guard steps <= limits.steps else { throw tooMany(offset) }
    }

    private func tooMany(_ offset: Int) -> TemplateError {
        error("more than \(limits.steps) steps", offset, name)
    }

    private func text(of pipeline: Pipeline) -> String { pipeline.commands.map(\.text).joined(separator: " | ") }

    private func error(_ message: String, _ offset: Int, _ text: String) -> TemplateError {
        let place = TemplatePlace(offset, in: template.source)
        return TemplateError(
            name: template.name, line: place.line, column: place.column,
            message: "executing \(name.goQuoted) at <\(text)>: \(message)", isRuntime: true)
    }
}
