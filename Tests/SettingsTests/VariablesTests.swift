import Basics
import Settings
import Testing

private let environment = [
    "NAME": "web", "PORT": "9090", "EMPTY": "", "YES": "true", "NOTHING": "null", "TOKEN": "t0k3n-of-some-length-9Q",
    "WAIT": "90s", "MAP": "{a: 1}", "TEMPLATE": "{{ x }}", "NEST": "${NAME}",
]

private func map(_ yaml: String) throws(SettingsError) -> SettingsMap {
    try SettingsDocument(Array(yaml.utf8), file: "a.yaml", variables: Variables(environment)).map()
}

@Suite struct VariablesTests {
    @Test(
        "a text with its variables put in",
        arguments: [
            ("x: ${NAME}", "web"), ("x: http://${NAME}:${PORT}/", "http://web:9090/"), ("x: '${NAME}'", "web"),
            ("x: \"a\\t${NAME}\"", "a\tweb"), ("x: |-\n  a\n  ${NAME}\n", "a\nweb"),
            ("x: ${NAME:-other}", "web"), ("x: ${ABSENT:-other}", "other"), ("x: ${EMPTY:-other}", "other"),
            ("x: ${ABSENT:-}", ""), ("x: a${ABSENT:-b:-c}d", "ab:-cd"), ("x: a${EMPTY}b", "ab"),
            ("x: $${NAME}", "${NAME}"), ("x: a$$${NAME}", "a$${NAME}"),
            // What is no variable stays as it is.
            ("x: $NAME", "$NAME"), ("x: ${1}", "${1}"), ("x: $1", "$1"), ("x: '${}'", "${}"), ("x: '${'", "${"),
            ("x: a$", "a$"), ("x: '${ NAME }'", "${ NAME }"), ("x: '^a$|${NAME}$'", "^a$|web$"),
            // Templates are others' business.
            ("x: '{{ reReplaceAll \"a\" \"${NAME}\" .X }} ${NAME}'", "{{ reReplaceAll \"a\" \"${NAME}\" .X }} web"),
            ("x: '{{ ${NAME}'", "{{ ${NAME}"), ("x: '${NAME} {{ $x }}'", "web {{ $x }}"),
            // A value is a text and nothing more.
            ("x: ${MAP}", "{a: 1}"), ("x: ${NEST}", "${NAME}"), ("x: ${NOTHING}", "null"),
        ])
    func text(yaml: String, expected: String) throws {
        #expect(try map(yaml).require("x", as: String.self) == expected)
    }

    @Test("relabelling's replacement keeps its groups, and keys are never expanded") func exempt() throws {
        let map = try map("replacement: ${NAME}-${1}\n${NAME}: [\"${NAME}\", '${1}']\nin: {replacement: \"${ABSENT}\"}")
        #expect(try map.require("replacement", as: String.self) == "${NAME}-${1}")
        #expect(map.keys == ["replacement", "${NAME}", "in"])
        #expect(try map.require("${NAME}", as: [String].self) == ["web", "${1}"])
        #expect(try map.takeMap("in")?.take("replacement", default: "") == "${ABSENT}")
    }

    @Test("a value is read by the type of its key, quoted or not") func types() throws {
        let map = try map(
            """
            whole: ${PORT}
            quoted: "${PORT}"
            ratio: ${PORT}.5
            flag: ${YES}
            wait: ${WAIT}
            minutes: ${PORT}m
            size: ${PORT}KB
            default: ${ABSENT:-7}
            anchor: &a ${PORT}
            alias: *a
            path: secrets/${NAME}
            """)
        #expect(try map.require("whole", as: Int.self) == 9090)
        #expect(try map.require("quoted", as: Int.self) == 9090)
        #expect(try map.require("ratio", as: Double.self) == 9090.5)
        #expect(try map.require("flag", as: Bool.self))
        #expect(try map.takeDuration("wait") == 90_000)
        #expect(try map.takeDuration("minutes") == 9090 * 60_000)
        #expect(try map.takeBytes("size", default: 0) == 9090 * 1024)
        #expect(try map.require("default", as: Int.self) == 7)
        #expect(try map.require("anchor", as: Int.self) == 9090)
        #expect(try map.require("alias", as: Int.self) == 9090)
        #expect(try map.takePath("path") == "secrets/web")
    }

    @Test(
        "what is not set or not understood is told by its place",
        arguments: [
            ("a: 1\nx: ${ABSENT}", "a.yaml:2:4: the variable ABSENT is not set; set it, or write ${ABSENT:-default}"),
            ("x: [1, 'a${ABSENT}']", "a.yaml:1:8: the variable ABSENT is not set; set it, or write ${ABSENT:-default}"),
            (
                "x: a ${NAME-b}",
                "a.yaml:1:4: ${NAME is no variable as written; write ${NAME} or ${NAME:-default}, or $${ for ${"
            ),
            (
                "x: ${NAME:-b",
                "a.yaml:1:4: ${NAME is no variable as written; write ${NAME} or ${NAME:-default}, or $${ for ${"
            ),
        ])
    func refused(yaml: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try map(yaml) }
        #expect(error?.description == message)
    }

    @Test("a wrong value is told as it is written") func mistakes() throws {
        let map = try map("x: ${TOKEN}\ny: ${EMPTY}")
        for key in ["x", "y"] {
            let error = #expect(throws: SettingsError.self) { try map.require(key, as: Int.self) }
            let name = key == "x" ? "TOKEN" : "EMPTY"
            #expect(error?.message == "\(key): expected a whole number, found something else in '${\(name)}'")
        }
    }

    @Test("places in an expression with variables are the scalar's") func places() throws {
        let value = try map("x: a + ${NAME} + b").require("x", as: SettingsValue.self)
        #expect(value.text == "a + web + b" && value.written == "a + ${NAME} + b")
        #expect(value.location(offset: 10).description == "a.yaml:1:4")
    }

    @Test("without variables nothing is expanded, and a document in them costs none") func off() throws {
        #expect(try SettingsDocument("x: ${NAME}", file: "").map().require("x", as: String.self) == "${NAME}")
    }

    @Test("messages hold nothing that came from a variable") func masked() throws {
        let variables = Variables([
            "LONG": "abcdefghijklmnopqrstuvwxyz", "SHORT": "5m", "FOUR": "q9Zk", "BOTH": "abcdefghijklmnopqrstuvwxyz+",
        ])
        let yaml = "a: ${LONG}\nb: ${SHORT}\nc: ${FOUR}\nd: ${BOTH}"
        _ = try SettingsDocument(Array(yaml.utf8), file: "", variables: variables)
        let cases = [
            ("'abcdefghijklmnopqrstuvwxyz' is bad", "'${LONG}' is bad"),
            ("cut: 'abcdefghijklmno…", "cut: '${BOTH}…"), ("middle klmnopqrstuvwxyz.", "middle ${BOTH}."),
            ("write 5m, not '5m'", "write 5m, not '${SHORT}'"), ("xq9Zkx", "x${FOUR}x"), ("abcdef", "abcdef"),
            ("the abcdefghijklmnopqrstuvwxyz+ end", "the ${BOTH} end"), ("", ""),
        ]
        for (message, expected) in cases { #expect(variables.masked(message) == expected) }
        #expect(variables.references.map(\.name) == ["LONG", "SHORT", "FOUR", "BOTH"])
        #expect(variables.references.map(\.location.line) == [1, 2, 3, 4])
    }
}
