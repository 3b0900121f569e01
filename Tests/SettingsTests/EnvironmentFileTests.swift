import Basics
import Settings
import Testing

@Suite struct EnvironmentFileTests {
    @Test("values in each of their forms") func forms() throws {
        let text = """
            \u{FEFF}# A comment
            PLAIN=a b # comment
              export SPACED=  x\t
            export\tTAB=1
            EMPTY=
            NOTHING=   # only a comment
            HASH=a#b
            SINGLE='a "b" \\n $X #' # c
            DOUBLE="a 'b'\\n\\t\\"\\\\\\$X\\x"
            LINES="one
            two"
            EQUALS=a=b=
            export=odd
            _u1=${NAME}\r
            """
        let file = try EnvironmentFile(Array(text.utf8), file: ".env")
        let expected = [
            ("PLAIN", "a b", 2), ("SPACED", "x", 3), ("TAB", "1", 4), ("EMPTY", "", 5), ("NOTHING", "", 6),
            ("HASH", "a#b", 7), ("SINGLE", "a \"b\" \\n $X #", 8), ("DOUBLE", "a 'b'\n\t\"\\$X\\x", 9),
            ("LINES", "one\ntwo", 10), ("EQUALS", "a=b=", 12), ("export", "odd", 13), ("_u1", "${NAME}", 14),
        ]
        #expect(file.entries.map(\.name) == expected.map(\.0))
        #expect(file.entries.map(\.value) == expected.map(\.1))
        #expect(file.entries.map(\.location.line) == expected.map(\.2))
        #expect(file.entries[1].location.column == 10)
    }

    @Test(
        "mistakes have a place and a cure, and never quote a value",
        arguments: [
            ("A=1\n sk-very-secret", ".env:2:4: a = must stand right behind sk; write NAME=value"),
            ("A = very-secret", ".env:1:2: a = must stand right behind A; write NAME=value"),
            (
                "=very-secret",
                ".env:1:1: a line begins with the name of a variable: letters, digits and _, no digit first"
            ),
            ("A=\"very-secret", ".env:1:3: the quote is not closed; write its twin at the end of the value"),
            ("A='very-secret", ".env:1:3: the quote is not closed; write its twin at the end of the value"),
            ("A='x'very-secret", ".env:1:6: the line goes on behind the closing quote; quote the whole value"),
            ("A=1\nB=2\nA=very-secret", ".env:3:1: A is already given in line 1; keep one of the two"),
            (
                "4711VERYSECRETVERYSECRETVERYSECRET",
                ".env:1:1: a line begins with the name of a variable: letters, digits and _, no digit first"
            ),
            (
                "AVERYSECRETVERYSECRETVERYSECRETVERYSECRETX",
                ".env:1:43: a = must stand right behind the name; write NAME=value"
            ),
        ])
    func refused(text: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try EnvironmentFile(Array(text.utf8), file: ".env") }
        #expect(error?.description == message)
    }
}
