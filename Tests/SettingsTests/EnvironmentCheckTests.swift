import Basics
import Settings
import TestSupport
import Testing

@Suite struct SecretWeaknessTests {
    @Test(
        "what is no secret is refused for what it is",
        arguments: [
            ("changeme", .placeholder), ("CHANGE_ME_CHANGE_ME", .placeholder), ("<your token here>", .placeholder),
            ("${JWT_SECRET}", .placeholder), ("{{ secret }}", .placeholder), ("your-api-key-here", .placeholder),
            ("xxxxxxxxxxxxxxxxxxxx", .placeholder), ("sk_live_XXXXXXXXXXXXXXXXXXXXXXXX", .placeholder),
            ("AKIAIOSFODNN7EXAMPLE", .placeholder), ("TO" + "DO: ask the provider", .placeholder),
            ("abcd1234...", .placeholder), ("%JWT_SECRET%", .placeholder), ("my-dummy-key-4711-abc", .placeholder),
            ("password", .word), ("P@ssw0rd2026!", .word), ("super-secret-value-7hQ", .word), ("admin", .word),
            ("k7-test-9Qz-4Lm-2Wv-8Xy", .word), ("a9K-123456-Qz7-Lm4-Wv2", .word), ("qwertyuiop[]asdf", .word),
            ("jwt-key", .name), ("JWT_KEY_2026", .name), ("9Qz4Lm2Wv8", .short(least: 16)),
            ("aaaaaaaaaaaaaaaaaaaa", .predictable), ("abcdefghijklmnopqrstuvwxyz", .predictable),
            ("k7Q9k7Q9k7Q9k7Q9k7Q9", .predictable), ("9Qz4Lm2W9Qz4Lm2W9Qz4Lm2W", .predictable),
            ("zyxwvutsrqponmlk", .predictable), ("ababababababababab", .predictable),
            ("sk_test_51Hq7Kz9Lm2Wv8XyRt4Pn6Bd", .testMode), ("Forb1dden-kZ9-4Lm-2Wv", .forbidden),
        ] as [(String, SecretWeakness)])
    func weak(secret: String, reason: SecretWeakness) {
        let found = SecretWeakness.find(in: secret, named: "JWT_KEY", forbidden: ["forb1dden-kz9-4lm-2wv"])
        #expect(found == reason, "\(secret)")
        // The reason tells nothing of the secret, whose length neither.
        #expect(
            found?.description.contains(secret) == false && found?.description.contains("\(secret.count) ") == false)
    }

    @Test(
        "secrets of chance and of providers pass",
        arguments: [
            "sk_live_51Hq7Kz9Lm2Wv8XyRt4Pn6Bd", "whsec_7Kz9Lm2Wv8XyRt4Pn6BdQq3Jc5",
            "AIzaSyD4Lm2Wv8XyRt4Pn6BdQq3Jc5Hh8Gg1Ff",
            "correct horse battery staple", "d41d8cd98f00b204e9800998ecf8427e", "7Kz9Lm2Wv8XyRt4P",
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----",
        ])
    func good(secret: String) { #expect(SecretWeakness.find(in: secret, named: "JWT_KEY") == nil) }

    @Test("test keys pass outside production") func testMode() {
        let key = "sk_test_51Hq7Kz9Lm2Wv8XyRt4Pn6Bd"
        #expect(SecretWeakness.find(in: key, named: "K", isProduction: false) == nil)
    }

    @Test("of ten thousand generated secrets none is refused, in each format", arguments: [1, 2] as [UInt64])
    func generated(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let alphabets = [
            "0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        ].map(Array.init)
        var refused: [String] = []
        for index in 0..<5000 {
            let alphabet = alphabets[index % 3]
            let secret = String(
                (0..<(index % 3 == 0 ? 64 : 43)).map { _ in alphabet.randomElement(using: &random) ?? "a" })
            if SecretWeakness.find(in: secret, named: "JWT_KEY", least: 32) != nil { refused.append(secret) }
        }
        #expect(refused.isEmpty, "seed \(seed): \(refused)")
    }
}

@Suite struct EnvironmentCheckTests {
    private let files = VariableFiles(
        isDirectory: {
            ["/run/c/CRED": false, "/run/c/secret_OTHER": false, "/d": true, "/f": false, "/ro": true][$0]
        },
        isAllowed: { path, writing in path != "/ro" || !writing },
        read: { path in
            switch path {
            case "/s/key": Array("9Qz4Lm2Wv8XyRt4PnB\n".utf8)
            case "/run/c/CRED": Array("7Kz9Lm2Wv8XyRt4PnC".utf8)
            case "/run/c/secret_OTHER": Array("5Hq7Kz9Lm2Wv8XyRtD".utf8)
            case "/s/empty": [0x0A]
            default: throw FileError(operation: "open", path: path, code: 2)
            }
        })

    private func verdicts(
        _ yaml: String, _ values: [String: String], _ stage: DeploymentStage = .production, file: String = ""
    ) throws -> [EnvironmentCheck.Verdict] {
        let definitions = try VariableDefinition.all(Array(("variables:\n" + yaml).utf8), file: "environment.yaml")
        let dotenv = try EnvironmentFile(Array(file.utf8), file: ".env")
        return EnvironmentCheck(
            definitions, in: stage, EnvironmentValues(process: { values[$0] }, files: [dotenv]), files
        ).verdicts()
    }

    @Test(
        "each type knows its values",
        arguments: [
            ("url", "https://api.roofs.us/v1?x=1", nil), ("url", "api.roofs.us", "no address; write SCHEME://HOST…"),
            ("url", "ftp://api.roofs.us", "begins otherwise than with https:// or http://"),
            ("url", "http://api.roofs.us", "without TLS in production; ask for TLS"),
            ("url", "http://localhost:8000", nil), ("url", "http://[::1]:8000/", nil),
            ("url, tls: false", "http://api.roofs.us", nil),
            ("url", "https://api.roofs.us:0/", "no address; write SCHEME://HOST…"),
            ("url", "https://api.example.com", "a placeholder; put the real address in its place"),
            ("url", "https://h.us/XXXXXXXXXX", "a placeholder; put the real address in its place"),
            ("url", "https://a b.us", "no address; write SCHEME://HOST…"),
            (
                "url, schemes: [postgresql]", "postgresql://u:9Qz4Lm2Wv8Xy@db/x",
                "without TLS in production; add sslmode=require to it"
            ),
            ("url, schemes: [postgresql]", "postgresql://u:9Qz4Lm2Wv8Xy@db/x?sslmode=require", nil),
            (
                "url, schemes: [rediss]", "rediss://:password@cache:6380/0",
                "its password: holds a word that is guessed first; make one with `vedette env generate`"
            ),
            ("mail", "a.b+c@roofs.us", nil), ("mail", "a@b", "no mail address; write NAME@HOST"),
            ("mail", "a@b@roofs.us", "no mail address; write NAME@HOST"),
            ("mail", "@roofs.us", "no mail address; write NAME@HOST"),
            ("mail", "a@example.com", "a placeholder; put the real address in its place"),
            ("phone", "+13125550100", nil), ("phone", "+4930123456", nil),
            ("phone", "312-555-0100", "no phone number; write it as +, country and number without spaces"),
            ("phone", "+0312555010", "no phone number; write it as +, country and number without spaces"),
            ("phone, format: '(###) ###-####'", "(312) 555-0100", nil),
            (
                "phone, format: '(###) ###-####'", "312 555 0100",
                "no phone number; write it as +, country and number without spaces, or as (###) ###-####"
            ),
            ("number, min: 1, max: 5", "3.5", nil), ("number, min: 1", "0", "below 1"),
            ("number, max: 5", "6", "above 5"),
            ("number, integer: true", "3.5", "no whole number"), ("number", "3,5", "no number"),
            ("number", "nan", "no number"),
            ("boolean", "TRUE", nil), ("boolean", "maybe", "neither true nor false"),
            ("'choice', choices: [a, b]", "a", nil), ("'choice', choices: [a, b]", "c", "none of a, b"),
            ("path", "/d", nil), ("path, kind: file", "/d", "a directory, no file"),
            ("path, kind: directory", "/f", "no directory"),
            ("path", "/absent", "leads nowhere; mend the path or make what it names"),
            ("path, exists: false", "/absent", nil),
            ("path, writable: true", "/ro", "may not be written by this user; change owner or mode"),
            ("text, prefixes: [AC], min_length: 4", "AC12", nil),
            ("text, prefixes: [AC]", "BC12", "begins otherwise than with AC"),
            ("text, max_length: 3", "abcd", "longer than 3 characters"),
            ("text", "<name>", "a placeholder; put the real value in its place"),
            ("text", " a", "begins or ends with white space; remove it"),
            ("secret", "9Qz4Lm2Wv8XyRt4P", nil),
            (
                "secret, min_length: 20", "9Qz4Lm2Wv8XyRt4P",
                "shorter than 20 characters; make one with `vedette env generate`"
            ),
        ] as [(String, String, String?)])
    func types(type: String, value: String, problem: String?) throws {
        let verdict = try #require(try verdicts("- {name: X, type: \(type)}", ["X": value]).first)
        #expect(verdict.status == (problem == nil ? .good : .problem), "\(value): \(verdict.message)")
        if let problem { #expect(verdict.message == problem, "\(value)") }
    }

    @Test("levels and stages decide what a missing variable is") func levels() throws {
        let yaml = """
            - {name: A, type: text}
            - {name: B, type: text, level: recommended, description: "For reports."}
            - {name: C, type: text, level: optional}
            - {name: D, type: text, environments: [staging]}
            - {name: E, type: text, level: {production: required, development: optional}}
            """
        func found(_ stage: DeploymentStage) throws -> [String] {
            try verdicts(yaml, ["A": ""], stage).map { "\($0.name) \($0.status.rawValue)" }
        }
        #expect(try found(.production) == ["A problem", "B warning", "C unset", "E problem"])
        #expect(try found(.staging) == ["A problem", "B warning", "C unset", "D problem"])
        #expect(try found(.development) == ["A problem", "B warning", "C unset", "E unset"])
        #expect(try verdicts(yaml, [:])[1].message == "is not set and should be: For reports.")
    }

    @Test("a value comes from the process, a file, a file it names, or a credential") func sources() throws {
        let yaml = """
            - {name: A, type: text}
            - {name: B, type: text}
            - {name: KEY, type: secret}
            - {name: CRED, type: secret}
            - {name: OTHER, type: secret}
            - {name: GONE, type: secret}
            - {name: VOID, type: secret}
            - {name: TWICE, type: secret}
            """
        let found = try verdicts(
            yaml,
            [
                "A": "p", "KEY_FILE": "/s/key", "CREDENTIALS_DIRECTORY": "/run/c", "GONE_file": "/s/gone",
                "VOID_FILE": "/s/empty", "TWICE": "x", "TWICE_FILE": "/s/key",
            ], file: "A=f\n\nB=f\n")
        #expect(
            found.map(\.source) == [
                "environment", ".env:3:1", "KEY_FILE (environment)", "credential", "credential",
                "GONE_file (environment)", "VOID_FILE (environment)", "environment",
            ])
        #expect(found.map(\.status) == [.good, .good, .good, .good, .good, .problem, .problem, .problem])
        #expect(found[5].message.hasPrefix("its file cannot be read: No such file"))
        #expect(found[6].message == "the file is empty; write the value into it")
        #expect(found[7].message == "both TWICE and TWICE_FILE are set; remove one of the two")
    }

    @Test("one secret for two purposes is refused, passwords in addresses too") func shared() throws {
        let yaml = """
            - {name: A, type: secret}
            - {name: B, type: secret}
            - {name: C, type: url, schemes: [rediss]}
            """
        let key = "9Qz4Lm2Wv8XyRt4PnB"
        let found = try verdicts(yaml, ["A": key, "B": key, "C": "rediss://:\(key)@h/"])
        #expect(found.map(\.status) == [.good, .problem, .problem])
        #expect(found[1].message == "the same as A; each needs a secret of its own")
        #expect(found.allSatisfy { !$0.message.contains(key) && !$0.source.contains(key) })
    }

    @Test("what a file sets and nobody described is told, with its likely name") func unknown() throws {
        let found = try verdicts(
            "- {name: STRIPE_KEY, type: text, level: optional}", [:],
            file: "STRIPE_KYE=x\nLEFTOVER=y\nSTRIPE_KEY_FILE=/f\nCREDENTIALS_DIRECTORY=/run/c\n")
        #expect(found.dropFirst().map(\.name) == ["STRIPE_KYE", "LEFTOVER"])
        #expect(found.dropFirst().map(\.status) == [.warning, .warning])
        #expect(found[1].message == "is not described; did you mean 'STRIPE_KEY'?" && found[1].source == ".env:1:1")
        #expect(found[2].message == "is not described; describe it or remove it")
    }

    @Test(
        "a file of variables is read strictly",
        arguments: [
            ("variables: []", "a.yaml:1:1: variables is missing; describe at least one variable"),
            (
                "variables: [{name: 1A, type: text}]",
                "a.yaml:1:20: name: must be letters, digits and _, and not begin with a digit"
            ),
            ("variables: [{name: A, type: txt}]", "a.yaml:1:29: type: 'txt' is no type; did you mean 'text'?"),
            (
                "variables: [{name: A, type: mail, min: 1}]",
                "a.yaml:1:35: unknown key 'min'; known here: description, environments, example, group, level, name, type"
            ),
            (
                "variables: [{name: A, type: mail}, {name: A, type: mail}]",
                "a.yaml:1:43: name: 'A' is described twice; remove one"
            ),
            (
                "variables: [{name: A, type: mail, environments: [prod]}]",
                "a.yaml:1:50: environments: 'prod' is not one of 'development', 'staging', 'production'"
            ),
            (
                "variables: [{name: A, type: secret, example: x}]",
                "a.yaml:1:37: example is not offered; an example of a secret ends up in use"
            ),
            (
                "variables: [{name: A, type: number, min: 2, max: 1}]",
                "a.yaml:1:50: max: is below min; exchange the two"
            ),
        ])
    func strict(yaml: String, message: String) {
        let error = #expect(throws: SettingsError.self) {
            try VariableDefinition.all(Array(yaml.utf8), file: "a.yaml")
        }
        #expect(error?.description == message)
    }

    @Test("a template is a file that reads back, and sets nothing") func template() throws {
        let yaml = """
            variables:
              - {name: A, type: secret, group: Access, description: "Signs\\nB=1."}
              - {name: N, type: number, level: optional, example: 5}
              - {name: S, type: text, environments: [staging]}
            """
        let text = try VariableDefinition.all(Array(yaml.utf8), file: "").template(for: .production)
        let file = try EnvironmentFile(Array(text.utf8), file: "")
        #expect(file.entries.map { "\($0.name)=\($0.value)" } == ["A="])
        #expect(text.contains("# number, optional, such as 5\n#N=\n") && text.contains("# --- Access ---"))
    }
}
