import Basics
import Testing

@Suite struct FormatTests {
    @Test(
        "CRC-32C of RFC 3720's examples",
        arguments: [
            (Array(repeating: UInt8(0), count: 32), 0x8A91_36AA), (Array(repeating: 0xFF, count: 32), 0x62A8_AB43),
            (Array(0..<32), 0x46DD_794E), (Array("123456789".utf8), 0xE306_9283),
        ] as [([UInt8], UInt32)])
    func crc(bytes: [UInt8], code: UInt32) {
        #expect(CRC32C.of(bytes) == code)
    }

    @Test("Snappy both ways, and what is none is refused") func snappy() {
        let text = Array(String(repeating: "the quick brown fox ", count: 500).utf8)
        var packed: [UInt8] = []
        unsafe Snappy.compress(text.span.bytes, into: &packed)
        #expect(packed.count < text.count / 5)
        #expect(Snappy.decompress(packed[...], limit: 1 << 20) == text)
        #expect(Snappy.decompress(packed[...], limit: 100) == nil)
        #expect(Snappy.decompress([0xFF, 0xFF, 0xFF, 0xFF, 0xFF][...], limit: 1 << 20) == nil)
    }

    @Test(
        "numbers as Go writes them",
        arguments: [
            (0.0, "0", "0e+00"), (1, "1", "1e+00"), (-0.5, "-0.5", "-5e-01"), (1e21, "1000000000000000000000", "1e+21"),
            (1.5e-7, "0.00000015", "1.5e-07"), (123456.789, "123456.789", "1.23456789e+05"),
            (1e100, "1" + String(repeating: "0", count: 100), "1e+100"),
            (.infinity, "+Inf", "+Inf"), (-.infinity, "-Inf", "-Inf"), (.nan, "NaN", "NaN"),
        ] as [(Double, String, String)])
    func numbers(value: Double, fixed: String, exponential: String) {
        #expect(GoNumber.fixed(value) == fixed)
        #expect(GoNumber.exponential(value) == exponential)
    }

    @Test(
        "numbers of the HTTP API",
        arguments: [
            (1e-7, "1e-07"), (-1.5e-9, "-1.5e-09"), (1.5e-10, "1.5e-10"), (0.001, "0.001"), (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
        ])
    func api(value: Double, text: String) {
        #expect(GoNumber.api(value) == text)
    }

    @Test(
        "numbers read",
        arguments: [("1", 1.0), ("+Inf", .infinity), ("-inf", -.infinity), (".5", 0.5), ("1e3", 1000), ("1.", 1)]
            as [(String, Double)])
    func parse(text: String, value: Double) {
        #expect(GoNumber.parse(text) == value)
    }

    @Test("what is no number", arguments: ["", "0x1p3", "1_000", "abc", "1e", "--1", "+nan", " 1", "1e400", "-1e309"])
    func noNumber(text: String) {
        #expect(GoNumber.parse(text) == nil)
    }

    @Test(
        "JSON both ways",
        arguments: [
            #"{"a":[1,2.5,-3e2,true,null],"b":{"c":"x\n\"\u00e9\ud83d\ude00"}}"#, "[]", "{}", "0", #""""#,
            " [ 1 , 2 ] ",
        ])
    func json(text: String) throws {
        let value = try JSON(parsing: text)
        #expect(try JSON(parsing: value.serialized()) == value)
    }

    @Test(
        "JSON mistakes have a place",
        arguments: [
            ("{\n\"a\": 01}", "2:8: bad number"), ("[1,]", "1:4: unexpected character"),
            ("{\"a\"}", "1:5: ':' is missing"),
            ("\"\\ud800\"", "1:8: half of a surrogate pair"), ("", "1:1: a value is missing"),
            ("1 2", "1:3: nothing may follow the value"),
            (String(repeating: "[", count: 200), "1:129: nested deeper than 128"),
        ])
    func jsonMistakes(text: String, message: String) {
        let error = #expect(throws: JSONError.self) { try JSON(parsing: text) }
        #expect(error?.description == message)
    }

    @Test(
        "escapes for URLs and HTML",
        arguments: [
            ("a b-_.~", "a%20b-_.~", "a+b-_.~", "a b-_.~"), ("+%20", "%2B%2520", "%2B%2520", "+%20"),
            ("é\n", "%C3%A9%0A", "%C3%A9%0A", "é\n"),
            ("<'&\">", "%3C%27%26%22%3E", "%3C%27%26%22%3E", "&lt;&#39;&amp;&#34;&gt;"),
        ])
    func escapes(text: String, percent: String, query: String, html: String) {
        #expect(text.percentEncoded == percent && text.queryEscaped == query && text.htmlEscaped == html)
    }

    @Test("digests") func digests() {
        #expect(Digest.hexadecimal(of: "", .md5) == "d41d8cd98f00b204e9800998ecf8427e")
        #expect(
            Digest.hexadecimal(of: "abc", .sha256) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
    }
}

@Suite struct OneLineTests {
    @Test(
        "a text from outside is one line and steers no terminal",
        arguments: [
            ("plain, ä, 🔔", "plain, ä, 🔔"), ("a\nb\r\n\tc", "a\\nb\\r\\n\\tc"),
            ("\u{1B}[31m\u{9B}0m", "\\u{1b}[31m\\u{9b}0m"),
            ("\u{202E}txt\u{2028}\0", "\\u{202e}txt\\u{2028}\\u{0}"), ("", ""),
        ]) func hidden(text: String, line: String)
    {
        #expect(text.asOneLine == line)
    }
}
