public import Basics
public import Model

/// A text in Go's template language, parsed once and rendered often.
///
/// A function that the table does not have is a mistake found while parsing; a field that the data does not have reads
/// as Go's `missingkey=zero` says. Missing still: complex numbers.
public struct Template: Sendable {
    /// The name in messages.
    public let name: String
    let body: [Statement]
    let definitions: [String: [Statement]]
    let functions: TemplateFunctions
    let source: [UInt8]
    /// When the whole template is plain text, that text: it is then rendered without any work.
    private let constant: String?

    /// Parses a text. `library` holds templates that it may call by name; its own definitions come before theirs.
    ///
    /// - Parameter isHTML: Every value is escaped for the place in the page where it stands, as `html/template` does;
    ///   then the library is to be of plain templates.
    public init(
        parsing text: String, name: String, functions: TemplateFunctions, library: [Template] = [],
        isHTML: Bool = false
    ) throws(TemplateError) {
        var parser = try TemplateParser(text, name: name, functions: functions.names)
        (self.name, source) = (name, Array(text.utf8))
        var body = try parser.parse()
        var definitions: [String: [Statement]] = [:]
        for template in library { definitions.merge(template.definitions) { $1 } }
        definitions.merge(parser.definitions) { $1 }
        if isHTML {
            var escaping = HTMLEscaping(name: name, source: source, definitions: definitions)
            body = try escaping.escape(body)
            definitions.merge(escaping.escaped) { $1 }
        }
        self.functions = isHTML ? functions.addingEscapers : functions
        (self.body, self.definitions) = (body, definitions)
        switch body.first {
        case nil: constant = ""
        case .text(let text) where body.count == 1: constant = text
        default: constant = nil
        }
    }

    /// The names of the templates defined in it.
    public var definedNames: [String] { definitions.keys.sorted() }

    /// Runs the template over `data`, its dot.
    public func render(
        _ data: TemplateValue, in environment: TemplateEnvironment = TemplateEnvironment(),
        limits: TemplateLimits = TemplateLimits()
    ) throws(TemplateError) -> String {
        if let constant { return constant }
        let evaluator = TemplateEvaluator(self, environment, limits)
        return try evaluator.render(data)
    }
}

/// What functions may ask for while a template runs.
public struct TemplateEnvironment: Sendable {
    /// Runs an expression for `query`; without it, `query` fails.
    public var query: (@Sendable (String) throws(TemplateFailure) -> [(labels: Labels, value: Double)])?
    /// Where this daemon is reached, without a slash at the end.
    public var externalURL = ""
    /// The moment of the evaluation, in seconds since the Unix epoch.
    public var now = 0.0
    /// A time zone by its name; nil: there is none of that name.
    public var zone: @Sendable (String) -> CivilZone? = { _ in nil }
    /// A label of the route, rendered; a label that is not there is empty.
    public var routeLabel: @Sendable (String) throws(TemplateFailure) -> String = { _ in "" }

    /// Nothing to ask.
    public init() {}
}

/// A function's arguments and where it is called.
public struct TemplateCall {
    /// In order; a piped value is the last.
    public let arguments: [TemplateValue]
    /// What was passed to `render`.
    public let environment: TemplateEnvironment
    /// Runs another template by name.
    let template: (String, TemplateValue) throws(TemplateFailure) -> String

    /// A text argument.
    public func string(_ index: Int) throws(TemplateFailure) -> String {
        if case .string(let text) = arguments[index].plain { return text }
        throw wrongType(index, "string")
    }
    /// A number: an int, a float, or a text that is one, as Prometheus' functions take it.
    public func number(_ index: Int) throws(TemplateFailure) -> Double {
        switch arguments[index].plain {
        case .double(let value): return value
        case .int(let value): return Double(value)
        case .duration(let length): return Double(length) / 1e9
        case .time(let moment): return moment.seconds
        case .string(let text):
            guard let value = goFloat(text) else {
                throw TemplateFailure("strconv.ParseFloat: parsing \(quoted(text)): invalid syntax")
            }
            return value
        default: throw TemplateFailure("can't convert \(arguments[index].typeName) to float")
        }
    }
    /// A list argument; nil is an empty one.
    public func list(_ index: Int) throws(TemplateFailure) -> [TemplateValue] {
        switch arguments[index].plain {
        case .list(let items): return items
        case .null: return []
        default: throw wrongType(index, "[]interface {}")
        }
    }
    private func wrongType(_ index: Int, _ wanted: String) -> TemplateFailure {
        TemplateFailure("wrong type for value; expected \(wanted); got \(arguments[index].typeName)")
    }
}

/// Functions by name, with how many arguments each takes.
public struct TemplateFunctions: Sendable {
    /// A function's work.
    public typealias Body = @Sendable (TemplateCall) throws(TemplateFailure) -> TemplateValue
    struct Function: Sendable {
        let arity: ClosedRange<Int>
        let body: Body
    }
    private(set) var table: [String: Function]

    /// Go's own functions and nothing else.
    public static let builtins = TemplateFunctions(table: goFunctions)

    /// These functions and one more, in place of one of the same name.
    public func adding(_ name: String, _ arity: ClosedRange<Int>, _ body: @escaping Body) -> TemplateFunctions {
        var copy = self
        copy.table[name] = Function(arity: arity, body: body)
        return copy
    }

    /// These and the escapers of HTML, which only an escaped template calls.
    var addingEscapers: TemplateFunctions {
        TemplateFunctions(table: table.merging(HTMLEscapers.table) { $1 })
    }

    /// Names that a template may call; `and`, `or` and `call` are the evaluator's own.
    var names: Set<String> { Set(table.keys).union(["and", "or", "call"]) }
}

func quoted(_ text: String) -> String { text.goQuoted }
func goFloat(_ text: String) -> Double? { GoNumber.parse(text) }
