/// A mistake in a template or while it runs; reads as Go's: `template: NAME:1:13: executing "NAME" at <.x>: …`.
public struct TemplateError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The template's name.
    public var name: String
    /// From 1.
    public var line: Int
    /// From 1, in bytes.
    public var column: Int
    /// What is wrong, with the piece of the template that was being run.
    public var message: String
    /// Whether it was found while running, not while parsing.
    public var isRuntime: Bool
    /// Whether it was found while the template's places in a page were worked out.
    var isEscaping = false

    /// Go's own form; parse errors tell only the line.
    public var description: String {
        if isEscaping { return "html/template:\(name):\(line):\(column - 1): \(message)" }
        return isRuntime
            ? "template: \(name):\(line):\(column - 1): \(message)" : "template: \(name):\(line): \(message)"
    }
}

/// Why a function refused its arguments; the evaluator adds the place.
public struct TemplateFailure: Error, Hashable, Sendable {
    /// One clause, as Go words it.
    public var message: String
    /// A failure by its words.
    public init(_ message: String) { self.message = message }
}

/// How much one rendering may do.
public struct TemplateLimits: Sendable, Hashable {
    /// The greatest length of the result in bytes.
    public var outputBytes = 1 << 20
    /// The greatest number of statements and commands run.
    public var steps = 1_000_000
    /// How deep templates may call templates.
    public var depth = 100

    /// The defaults.
    public init() {}
}
