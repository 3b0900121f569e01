import Foundation
import Testing

/// What is allowed where it otherwise is not: file → reason. An entry that is no longer needed fails too.
enum Exceptions {
    /// Tasks, queues and threads that the seeded executor does not see.
    static let escaping = [
        "Sources/Basics/SystemClock.swift": "one thread wakes all sleepers, so that a busy pool delays no page",
        "Sources/Basics/WorkPool.swift": "helpers for work that is waited for, whoever does it",
        "Sources/Basics/Threads.swift": "the one place that starts threads and the tasks of the machine's executor",
        "Sources/Basics/Simulation/SimulatedExecutor.swift": "starts the simulated world's own task, on itself",
        "Sources/Transport/CurlTransport.swift": "libcurl's loop blocks; tests put a simulated network in its place",
        "Sources/Daemon/World.swift": "a scrape loop has a thread of its own; tests drive its pure step instead",
        "Sources/Transport/Probes/HostLookup.swift":
            "the C library's resolver blocks without a limit; who asks waits for as long as it may",
        "Sources/Basics/NameResolver.swift": "the C library's resolver blocks; tests put a table in its place",
        "Sources/Basics/SystemProcesses.swift":
            "a child ends with the thread that started it, and waiting for it blocks",
        "Sources/Basics/QueuedLog.swift": "the log's own thread: what writes to a pipe may wait for ever",
    ]

    /// Promises of thread safety that the compiler can't check.
    static let unchecked = [
        "Sources/Query/Evaluation/Evaluator+Rows.swift": "rows of one block of memory, each written by one thread",
        "Sources/Basics/Threads.swift": "a semaphore of the C library, made before any thread sees it, never moved",
        "Sources/Model/Pattern.swift": "a compiled RE2 never changes and may be matched by many threads at once",
        "Sources/Storage/SeriesStore+Replay.swift":
            "a head owns its memory alone and is never copied; two of them change places under both locks",
    ]

    /// Traps on a mistake of ours.
    static let trapping: [String: String] = [:]
}

@Suite struct TidyTests {
    /// The lines of `files` that use one of `words`, outside the files listed as exceptions; and idle exceptions.
    private func complaints(
        _ files: [SourceFile], using words: [String], except exceptions: [String: String] = [:], cure: String
    ) -> [String] {
        var complaints: [String] = []
        for file in files {
            let found = words.flatMap { word in file.numbers(ofLinesUsing: word).map { (line: $0, word: word) } }
            if exceptions[file.path] == nil {
                complaints += found.map { "\(file.path):\($0.line): \($0.word) is not used here; \(cure)" }
            } else if found.isEmpty {
                complaints.append("\(file.path):1: is listed as an exception and needs it no longer; remove the entry")
            }
        }
        let paths = Set(files.map(\.path))
        complaints += exceptions.keys.filter { !paths.contains($0) }.sorted()
            .map { "\($0):1: is listed as an exception and does not exist; remove the entry" }
        return complaints
    }

    @Test("the sources are found") func found() {
        #expect(Tree.sources.contains { $0.path == "Sources/Model/Labels.swift" })
        #expect(Tree.tests.contains { $0.path == "Tests/TidyTests/TidyTests.swift" })
    }

    @Test("only the executable prints") func printing() {
        report(
            complaints(
                Tree.sources.filter { $0.room != "vedette" }, using: ["print(", "debugPrint(", "dump("],
                cure: "log it, or answer it"))
    }

    @Test("nothing traps but a precondition") func traps() {
        report(
            complaints(
                Tree.sources, using: ["try!", "fatalError(", "as!"], except: Exceptions.trapping,
                cure: "throw an error that a person can act on, or state a precondition with its values"))
    }

    @Test("no task, queue or thread escapes the seeded executor") func escapes() {
        report(
            complaints(
                Tree.sources,
                using: [
                    "Task {", "Task{", "Task(", "Task.detached", "Task.immediate", "DispatchQueue", "pthread_create",
                    "startThread(",
                ],
                except: Exceptions.escaping, cure: "use a task group, or list the file with its reason"))
    }

    @Test("promises the compiler can't check are listed") func unchecked() {
        report(
            complaints(
                Tree.sources, using: ["@unchecked Sendable", "nonisolated(unsafe)"], except: Exceptions.unchecked,
                cure: "guard the state by a Mutex, or list the file with its reason"))
    }

    @Test("no test sleeps") func sleeping() {
        report(
            complaints(
                Tree.tests, using: ["Task.sleep", "sleep(", "usleep(", "nanosleep(", "Thread.sleep"],
                cure: "advance the simulated clock"))
    }

    @Test("comments of at most 120 characters; the formatter, which breaks code, leaves them as they are") func width()
    {
        for file in Tree.sources + Tree.tests {
            for (index, line) in file.lines.enumerated() where line.count > 120 && line.contains("// ") {
                report(["\(file.path):\(index + 1): is \(line.count) characters long; break it at 120"])
            }
        }
    }

    @Test("nothing is left for later") func marks() {
        let words = ["TO" + "DO", "FIX" + "ME"]
        for file in Tree.sources + Tree.tests {
            for (index, line) in file.lines.enumerated() where words.contains(where: { uses($0, in: line) }) {
                report(["\(file.path):\(index + 1): is a note to oneself; do it, or write what is so"])
            }
        }
    }

    @Test("every public declaration says what it is") func documentation() {
        for file in Tree.sources {
            for line in undocumentedLines(of: file) {
                report(["\(file.path):\(line): is public without a comment; say in one sentence what it is, in ///"])
            }
        }
    }
}

/// The public declarations without `///`. One comment serves declarations that follow each other line upon line.
/// Operators, and what stands in an extension that states a conformance, are told by their protocol.
func undocumentedLines(of file: SourceFile) -> [Int] {
    var found: [Int] = []
    var depth = 0
    var conformance: Int?  // How deep the extension stands that states one.
    var isCovered = false
    for (index, line) in file.code.enumerated() {
        let code = line.trimmingCharacters(in: .whitespaces)
        let comment = file.lines[index].trimmingCharacters(in: .whitespaces)
        if conformance == nil, statesConformance(code) { conformance = depth }
        let isPublic = isPublicDeclaration(code)
        if isPublic, conformance == nil, !isCovered, !declaresOperator(code) { found.append(index + 1) }
        if comment.hasPrefix("///") {
            isCovered = true
        } else if isPublic {
            isCovered = !code.contains("{")
        } else if !code.hasPrefix("@"), !code.hasPrefix("#"), !comment.hasPrefix("//") {
            isCovered = false
        }
        depth += code.count(where: { $0 == "{" }) - code.count(where: { $0 == "}" })
        if let start = conformance, depth <= start, code.contains("}") { conformance = nil }
    }
    return found
}

/// Whether a line opens `extension X: P`.
private func statesConformance(_ code: String) -> Bool {
    guard code.hasPrefix("extension ") || code.hasPrefix("public extension ") else { return false }
    let head = code.prefix { $0 != "{" }
    let name = head.range(of: " where ").map { head[..<$0.lowerBound] } ?? head
    return name.contains(":")
}

/// Whether a line, behind its attributes, declares something public that can have a comment.
private func isPublicDeclaration(_ code: String) -> Bool {
    var words = code.split(separator: " ")[...]
    while let word = words.first, word.hasPrefix("@") { words = words.dropFirst() }
    guard words.first == "public", let second = words.dropFirst().first else { return false }
    return second != "import" && second != "extension"
}

/// Whether a line declares an operator.
private func declaresOperator(_ code: String) -> Bool {
    guard let keyword = code.range(of: "func "), let first = code[keyword.upperBound...].first else { return false }
    return !(first.isLetter || first == "_" || first == "`")
}

@Suite struct TidyToolTests {
    @Test(
        "comments and strings are blanked, interpolated code is not",
        arguments: [
            ("a // try!", "a        "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (#"x("try! \(y(")")) z")"#, #"x(       (y(   ))   )"#),
            (##"#"a\(b)"c"#  d"##, "             d"),
            ("\"\"\"\na \" b\n\"\"\" c", "   \n     \n    c"),
            ("#if DEBUG\nlet a = \"\"", "#if DEBUG\nlet a =   "),
        ])
    func blanks(text: String, expected: String) {
        #expect(CodeScanner.code(of: text) == expected)
    }

    @Test(
        "a word counts where it is not part of a name",
        arguments: [
            ("sleep(1)", true), ("usleep(1)", false), ("clock.sleep(1)", false), ("func sleep(x)", false),
            ("a; sleep(1)", true), ("x.sleep(1); sleep(2)", true), ("slee p(", false),
        ])
    func words(line: String, expected: Bool) {
        #expect(uses("sleep(", in: line) == expected)
    }

    @Test(
        "public declarations without a comment are found",
        arguments: [
            ("/// A.\npublic struct A {\n    public var b: Int\n}", [3]),
            ("/// A.\n@frozen\npublic struct A {}", []),
            ("public struct A {}", [1]),
            ("/// Both.\npublic let a = 1\npublic let b = 2\n\npublic let c = 3", [5]),
            ("extension A: P {\n    public var b: Int { 1 }\n}\npublic func c() {}", [4]),
            ("extension A where B: P {\n    public var b: Int { 1 }\n}", [2]),
            ("public static func == (a: A, b: A) -> Bool { true }", []),
            ("public import A", []),
            ("@inlinable public func a() {}", [1]),
            ("// Not a comment of the declaration.\npublic func a() {}", [2]),
        ] as [(String, [Int])])
    func documentation(text: String, expected: [Int]) {
        #expect(undocumentedLines(of: SourceFile(path: "Sources/A/A.swift", text: text)) == expected)
    }
}
