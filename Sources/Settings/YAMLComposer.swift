internal import Basics
internal import CYaml

/// Builds values from libyaml's events, with a place for each and the limits held at every step.
///
/// The events are read rather than Yams' composed nodes, since composing hashes whole keys: a key that is an alias of
/// an exploding anchor would take for ever, and no limit could be held.
struct YAMLComposer {
    private let file: SettingsFile
    private let limits: SettingsLimits
    private let variables: Variables?

    init(_ file: SettingsFile, limits: SettingsLimits, variables: Variables? = nil) {
        (self.file, self.limits, self.variables) = (file, limits, variables)
    }

    /// The single document of the file; null when there is none.
    func compose() throws(SettingsError) -> SettingsNode {
        try documents(limit: 1).first ?? SettingsNode(.scalar("", .plain), file: file, offset: 0)
    }

    /// The file's documents, of which there may be so many.
    func documents(limit: Int) throws(SettingsError) -> [SettingsNode] {
        let events = YAMLEvents(file)
        var builder = NodeBuilder(file: file, limits: limits, variables: variables)
        var documents: [SettingsNode] = []
        var count = 0
        while let event = try events.next() {
            if case .documentStart = event.kind {
                count += 1
                guard count <= limit else {
                    throw SettingsError(
                        file.location(offset: event.offset), "a second document begins; put it in a file of its own")
                }
                if let root = builder.root { documents.append(root) }
                builder = NodeBuilder(file: file, limits: limits, variables: variables)
            }
            try builder.add(event)
        }
        if let root = builder.root { documents.append(root) }
        return documents
    }
}

/// One step of a YAML stream.
struct YAMLEvent {
    enum Kind {
        case documentStart
        case scalar(String, SettingsNode.Style, anchor: String?)
        case alias(String)
        case startList(anchor: String?)
        case startMap(anchor: String?)
        case end
        case other
    }
    var kind: Kind
    var offset: Int
}

/// libyaml's parser over a copy of the file's bytes. It does not recurse, so that deep nesting takes no stack.
// Safe: both pointers are owned by this object alone and freed with it.
@safe private final class YAMLEvents {
    private let file: SettingsFile
    private let input: UnsafeMutableBufferPointer<UInt8>
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    /// A character and its byte. libyaml counts characters; events come in order, so that the way there is short.
    private var cursor = (character: 0, offset: 0)

    init(_ file: SettingsFile) {
        self.file = file
        unsafe input = .allocate(capacity: file.bytes.count)
        _ = unsafe input.initialize(from: file.bytes)
        unsafe parser = .allocate(capacity: 1)
        unsafe yaml_parser_initialize(parser)
        unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        unsafe yaml_parser_set_input_string(parser, input.baseAddress, input.count)
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
        unsafe input.deallocate()
    }

    /// The next event, nil at the end of the stream.
    func next() throws(SettingsError) -> YAMLEvent? {
        var event = unsafe yaml_event_t()
        guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw failure() }
        defer { unsafe yaml_event_delete(&event) }
        let offset = unsafe offset(ofCharacter: event.start_mark.index)
        let kind: YAMLEvent.Kind
        switch unsafe event.type {
        case YAML_STREAM_END_EVENT: return nil
        case YAML_DOCUMENT_START_EVENT: kind = .documentStart
        case YAML_ALIAS_EVENT: kind = unsafe .alias(text(event.data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT:
            let scalar = unsafe event.data.scalar
            let plain = ["str", "int", "float", "bool", "null"].map { "tag:yaml.org,2002:\($0)" }
            if let tag = unsafe text(scalar.tag), tag != "!", !plain.contains(tag) {
                throw SettingsError(
                    file.location(offset: offset),
                    "the tag '\(tag.replacing("tag:yaml.org,2002:", with: "!!"))' is not known; write the text itself")
            }
            let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            kind = unsafe .scalar(
                String(decoding: bytes, as: UTF8.self), style(scalar.style), anchor: text(scalar.anchor))
        case YAML_SEQUENCE_START_EVENT: kind = unsafe .startList(anchor: text(event.data.sequence_start.anchor))
        case YAML_MAPPING_START_EVENT: kind = unsafe .startMap(anchor: text(event.data.mapping_start.anchor))
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: kind = .end
        default: kind = .other
        }
        return YAMLEvent(kind: kind, offset: offset)
    }

    private func offset(ofCharacter character: Int) -> Int {
        let bytes = file.bytes
        while cursor.character < character, cursor.offset < bytes.count {
            cursor.offset += 1
            while cursor.offset < bytes.count, bytes[cursor.offset] & 0xC0 == 0x80 { cursor.offset += 1 }
            cursor.character += 1
        }
        while cursor.character > character, cursor.offset > 0 {
            cursor.offset -= 1
            while cursor.offset > 0, bytes[cursor.offset] & 0xC0 == 0x80 { cursor.offset -= 1 }
            cursor.character -= 1
        }
        return cursor.offset
    }

    private func text(_ pointer: UnsafeMutablePointer<UInt8>?) -> String? {
        unsafe pointer.map { unsafe String(cString: UnsafePointer($0)) }
    }

    private func style(_ style: yaml_scalar_style_t) -> SettingsNode.Style {
        switch style {
        case YAML_SINGLE_QUOTED_SCALAR_STYLE: .singleQuoted
        case YAML_DOUBLE_QUOTED_SCALAR_STYLE: .doubleQuoted
        case YAML_LITERAL_SCALAR_STYLE, YAML_FOLDED_SCALAR_STYLE: .block
        default: .plain
        }
    }

    /// What libyaml found wrong, with a cure for the usual causes.
    private func failure() -> SettingsError {
        let state = unsafe parser.pointee
        let problem = unsafe state.problem.map { unsafe String(cString: $0) } ?? "it cannot be read"
        if unsafe state.error == YAML_READER_ERROR {
            let offset = min(unsafe Int(state.problem_offset), file.bytes.count)
            return SettingsError(
                file.location(offset: offset), "not valid YAML: \(problem); save the file as UTF-8 text")
        }
        let place = file.location(offset: unsafe offset(ofCharacter: state.problem_mark.index))
        let context = unsafe state.context.map { unsafe String(cString: $0) + ": " } ?? ""
        let cure =
            problem.contains("cannot start any token")
            ? "indent with spaces, and quote a text that begins with %, @ or `" : "check indentation and quotes here"
        return SettingsError(place, "not valid YAML: \(context)\(problem); \(cure)")
    }
}

/// Puts events together, on a stack of its own.
private struct NodeBuilder {
    private struct Frame {
        var isMap: Bool
        var offset: Int
        var anchor: String?
        var items: [SettingsNode] = []
        var pairs: [SettingsNode.Pair] = []
        var names: [String: Int] = [:]
        var key: SettingsNode?
        var weightBefore: Int
    }

    private let file: SettingsFile
    private let limits: SettingsLimits
    private let variables: Variables?
    private var frames: [Frame] = []
    private var anchors: [String: (node: SettingsNode, weight: Int)] = [:]
    private var weight = 0
    private(set) var root: SettingsNode?

    init(file: SettingsFile, limits: SettingsLimits, variables: Variables?) {
        (self.file, self.limits, self.variables) = (file, limits, variables)
    }

    mutating func add(_ event: YAMLEvent) throws(SettingsError) {
        switch event.kind {
        case .scalar(let text, let style, let anchor):
            try count(1, at: event.offset)
            let node = try scalar(text, style, at: event.offset)
            if let anchor { anchors[anchor] = (node, 1) }
            try place(node, at: node.offset)
        case .alias(let name):
            guard let anchor = anchors[name] else {
                throw error(event.offset, "there is no anchor &\(name) above this alias; define it first")
            }
            try count(anchor.weight, at: event.offset)
            try place(anchor.node, at: event.offset)
        case .startList(let anchor): try open(isMap: false, anchor, event.offset)
        case .startMap(let anchor): try open(isMap: true, anchor, event.offset)
        case .end: try close()
        case .documentStart, .other: break
        }
    }

    /// A scalar with its variables put in, where it may hold some.
    private func scalar(
        _ text: String, _ style: SettingsNode.Style, at offset: Int
    ) throws(SettingsError) -> SettingsNode {
        let plain = SettingsNode(.scalar(text, style), file: file, offset: offset)
        if let frame = frames.last, frame.isMap {
            // Keys are never expanded, nor what relabelling replaces: `${name}` is a group of the regex there.
            guard let key = frame.key, case .scalar(let name, _) = key.content, name != "replacement" else {
                return plain
            }
        }
        guard let (value, isWhole, values) = try variables?.expand(text, at: file.location(offset: offset)) else {
            return plain
        }
        return SettingsNode(
            .scalar(value, isWhole || style == .plain ? .variable : style), file: file, offset: offset,
            expansion: SettingsNode.Expansion(written: text, values: values))
    }

    private mutating func open(isMap: Bool, _ anchor: String?, _ offset: Int) throws(SettingsError) {
        try count(1, at: offset)
        guard frames.count < limits.depth else {
            throw error(offset, "nested deeper than \(limits.depth) levels; flatten it")
        }
        if let frame = frames.last, frame.isMap, frame.key == nil {
            throw error(offset, "a key must be a text, not a list or a map; quote it if it begins with { or [")
        }
        frames.append(Frame(isMap: isMap, offset: offset, anchor: anchor, weightBefore: weight - 1))
    }

    private mutating func close() throws(SettingsError) {
        let frame = frames.removeLast()
        let node = SettingsNode(frame.isMap ? .map(frame.pairs) : .list(frame.items), file: file, offset: frame.offset)
        if let anchor = frame.anchor { anchors[anchor] = (node, weight - frame.weightBefore) }
        try place(node, at: node.offset)
    }

    private mutating func place(_ node: SettingsNode, at offset: Int) throws(SettingsError) {
        guard let top = frames.indices.last else {
            root = node
            return
        }
        guard frames[top].isMap else {
            frames[top].items.append(node)
            return
        }
        guard let key = frames[top].key else {
            guard case .scalar(let name, _) = node.content else {
                throw error(offset, "a key must be a text, not a list or a map")
            }
            if let first = frames[top].names.updateValue(offset, forKey: name) {
                throw error(
                    offset, "the key '\(name)' is already given at \(file.location(offset: first)); keep one")
            }
            frames[top].key = node
            return
        }
        frames[top].key = nil
        frames[top].pairs.append(SettingsNode.Pair(key: key, value: node))
    }

    private mutating func count(_ amount: Int, at offset: Int) throws(SettingsError) {
        weight += amount
        guard weight <= limits.values else {
            throw error(
                offset, "more than \(limits.values) values, aliases counted with all they stand for; split the file")
        }
    }

    private func error(_ offset: Int, _ message: String) -> SettingsError {
        SettingsError(file.location(offset: offset), message)
    }
}
