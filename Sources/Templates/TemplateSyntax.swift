/// What a template does, in order.
enum Statement: Sendable {
    case text(String)
    case action(Pipeline)
    case branch(Branch)
    case call(name: String, Pipeline?, offset: Int, text: String)
    case breakLoop, continueLoop
}

/// `if`, `with` and `range`.
struct Branch: Sendable {
    enum Kind: Sendable { case condition, with, range }
    var kind: Kind
    var pipeline: Pipeline
    var body: [Statement]
    var otherwise: [Statement]
}

/// Commands, each fed with the result of the one before; the last result may be given to variables.
struct Pipeline: Sendable {
    var variables: [String] = []
    var isAssignment = false
    var commands: [Command] = []
    var offset: Int
}

/// A function or value with its arguments.
struct Command: Sendable {
    var words: [Word]
    /// As written, for messages.
    var text: String
}

/// One operand.
struct Word: Sendable {
    indirect enum Kind: Sendable {
        case dot
        case null
        case literal(TemplateValue)
        case function(String)
        case variable(String)
        case pipeline(Pipeline)
        case fields(of: Kind, [String])
    }
    var kind: Kind
    var offset: Int
    /// As written, for messages.
    var text: String
}
