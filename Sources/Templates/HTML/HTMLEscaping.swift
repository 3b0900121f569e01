internal import Basics

/// Puts into a template's every action what escapes its value for the place in the page where it stands. Worked out
/// once, when the template is parsed: comments go, and branches must end alike.
///
/// - SeeAlso: Go, `html/template/escape.go`.
struct HTMLEscaping {
    private let name: String
    private let source: [UInt8]
    private let definitions: [String: [Statement]]
    /// Templates as they are called from a context, by name and context.
    private(set) var escaped: [String: [Statement]] = [:]
    private var ends: [Call: HTMLContext] = [:]

    private struct Call: Hashable {
        var name: String
        var context: HTMLContext
    }

    init(name: String, source: [UInt8], definitions: [String: [Statement]]) {
        (self.name, self.source, self.definitions) = (name, source, definitions)
    }

    /// The escaped form of a whole page.
    mutating func escape(_ body: [Statement]) throws(TemplateError) -> [Statement] {
        let (statements, end) = try list(body, HTMLContext())
        guard end.state == .text else {
            throw error("ends in a non-text context: \(end.text)", at: max(0, source.count - 1))
        }
        return statements
    }

    private func error(_ message: String, at offset: Int) -> TemplateError {
        let before = source.prefix(offset)
        let line = before.count { $0 == 0x0A } + 1
        let column = offset - (before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0)
        return TemplateError(
            name: name, line: line, column: column + 1, message: message, isRuntime: true, isEscaping: true)
    }

    private mutating func list(
        _ statements: [Statement], _ start: HTMLContext
    ) throws(TemplateError) -> ([Statement], HTMLContext) {
        var context = start
        var result: [Statement] = []
        for statement in statements {
            switch statement {
            case .text(let text): result.append(.text(try self.text(text, &context)))
            case .action(let pipeline): result.append(.action(try action(pipeline, &context)))
            case .branch(let branch): result.append(.branch(try self.branch(branch, &context)))
            case .call(let called, let pipeline, let offset, let text):
                result.append(.call(name: try call(called, &context), pipeline, offset: offset, text: text))
            case .breakLoop, .continueLoop: result.append(statement)
            }
        }
        return (result, context)
    }

    private mutating func call(_ called: String, _ context: inout HTMLContext) throws(TemplateError) -> String {
        guard let body = definitions[called] else { return called }
        let key = Call(name: called, context: context)
        let derived = context == HTMLContext() ? called : "\(called)$htmltemplate_\(context.text)"
        if let end = ends[key] {
            context = end
            return derived
        }
        // While it is worked out, a call of itself ends where it began; that is then checked.
        ends[key] = context
        var (statements, end) = try list(body, context)
        if end != context {
            ends[key] = end
            (statements, end) = try list(body, context)
        }
        guard ends[key] == end else { throw error("cannot compute output context for template \(called)", at: 0) }
        escaped[derived] = statements
        context = end
        return derived
    }

    private mutating func branch(_ branch: Branch, _ context: inout HTMLContext) throws(TemplateError) -> Branch {
        var result = branch
        let start = context
        var (body, end) = try list(branch.body, start)
        let name =
            switch branch.kind {
            case .condition: "if"
            case .with: "with"
            case .range: "range"
            }
        func joined(_ one: HTMLContext, _ two: HTMLContext) throws(TemplateError) -> HTMLContext {
            if let both = HTMLContext.joined(one, two) { return both }
            throw error(
                "{{\(name)}} branches end in different contexts: \(one.text), \(two.text)", at: branch.pipeline.offset)
        }
        if branch.kind == .range {
            // Its body may run again where it has ended.
            let (again, second) = try list(branch.body, end)
            end = try joined(end, second)
            if end != start { body = again }
        }
        let (otherwise, other) = try list(branch.otherwise, start)
        context = try joined(end, other)
        (result.body, result.otherwise) = (body, otherwise)
        return result
    }

    private func action(_ pipeline: Pipeline, _ context: inout HTMLContext) throws(TemplateError) -> Pipeline {
        guard pipeline.variables.isEmpty else { return pipeline }
        context = context.nudged
        var names: [String] = []
        switch context.state {
        case .url, .cssDoubleQuoted, .cssSingleQuoted, .cssDoubleQuotedURL, .cssSingleQuotedURL, .cssURL:
            switch context.urlPart {
            case .none, .beforeQuery:
                if context.urlPart == .none { names.append("_url_filter") }
                let isString = context.state == .cssDoubleQuoted || context.state == .cssSingleQuoted
                names.append(isString ? "_css_string" : "_url_normalize")
            case .query: names.append("_url_escape")
            case .unknown:
                throw error(
                    "\(context.text) appears in an ambiguous context within a URL", at: pipeline.offset)
            }
        case .js:
            names.append("_js_value")
            context.slash = .division
        case .jsDoubleQuoted, .jsSingleQuoted: names.append("_js_string")
        case .jsTemplate: names.append("_js_template")
        case .jsPattern: names.append("_js_pattern")
        case .css: names.append("_css_value")
        case .text: names.append("_html_text")
        case .rawText: names.append("_html_rawtext")
        case .attribute: break
        case .attributeName, .tag:
            context.state = .attributeName
            names.append("_html_attribute_name")
        case .sourceSet: names.append("_source_set")
        case .htmlComment, .jsBlockComment, .jsLineComment, .cssBlockComment, .cssLineComment:
            names.append("_html_comment")
        case .afterName, .beforeValue: break
        }
        switch context.delimiter {
        case .none: break
        case .spaceOrTagEnd: names.append("_html_unquoted")
        case .doubleQuote, .singleQuote: names.append("_html_attribute")
        }
        return appended(names, to: pipeline)
    }

    private func appended(_ names: [String], to pipeline: Pipeline) -> Pipeline {
        var (pipeline, names) = (pipeline, names)
        // Go's own `html` or `urlquery` at the end does the work of ours.
        if let last = pipeline.commands.last, last.words.count == 1, pipeline.commands.count > 1,
            case .function(let own)? = last.words.first?.kind, let equals = HTMLEscapers.equals[own],
            let index = names.firstIndex(where: equals.contains)
        {
            names[index] = own
            pipeline.commands.removeLast()
        }
        for name in names {
            let word = Word(kind: .function(name), offset: pipeline.offset, text: name)
            pipeline.commands.append(Command(words: [word], text: name))
        }
        return pipeline
    }

    /// A text without its comments, and with a `<` that begins no tag as an entity.
    private func text(_ text: String, _ context: inout HTMLContext) throws(TemplateError) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var (index, written) = (0, 0)
        while index < bytes.count {
            let (next, count): (HTMLContext, Int)
            do throws(HTMLMistake) {
                (next, count) = try context.after(bytes[index...])
            } catch {
                throw self.error(error.message, at: 0)
            }
            let end = index + count
            if context.state == .text || context.state == .rawText {
                var limit = end
                if next.state != context.state {
                    limit = bytes[index..<end].lastIndex(of: UInt8(ascii: "<")) ?? end
                }
                for place in index..<limit where bytes[place] == UInt8(ascii: "<") {
                    let isDoctype =
                        String(decoding: bytes[place...].prefix(9), as: UTF8.self).uppercased() == "<!DOCTYPE"
                    if isDoctype { continue }
                    result += bytes[written..<place]
                    result += "&lt;".utf8
                    written = place + 1
                }
            } else if context.state.isComment, context.delimiter == .none {
                if context.state == .jsBlockComment {
                    result.append(bytes[written..<end].contains { $0 == 0x0A || $0 == 0x0D } ? 0x0A : 0x20)
                } else if context.state == .cssBlockComment {
                    result.append(0x20)
                }
                written = end
            }
            if context.state != next.state, next.state.isComment, next.delimiter == .none {
                result += bytes[written..<max(written, end - (next.state == .htmlComment ? 4 : 2))]
                written = end
            }
            if count == 0, next == context { break }
            (context, index) = (next, end)
        }
        if !(context.state.isComment && context.delimiter == .none) { result += bytes[written...] }
        return String(decoding: result, as: UTF8.self)
    }
}
