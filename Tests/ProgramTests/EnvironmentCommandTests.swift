import TestSupport
import Testing

/// `vedette env` as a user meets it.
@Suite struct EnvironmentCommandTests {
    private static let variables = "examples/environment.yaml"
    /// Values for all that is required in production; the secrets are made by `generate`.
    private static func filled() throws -> (text: String, secrets: [String]) {
        var secrets: [String] = []
        func secret(_ prefix: String = "", _ arguments: [String] = []) throws -> String {
            let made = try Program.vedette.run(["env", "generate"] + arguments)
            #expect(made.status == 0)
            secrets.append(prefix + made.output.filter { $0 != "\n" })
            return secrets.last ?? ""
        }
        var lines = [
            "APP_ENV=production", "APP_URL=https://crm.roofs.us", "SUPPORT_EMAIL=help@roofs.us",
            "SMTP_HOST=smtp.roofs.us",
            "COMPANY_PHONE='(312) 555-0100'", "TWILIO_PHONE_NUMBER=+13125550100", "ADMIN_EMAIL=owner@roofs.us",
            "TWILIO_ACCOUNT_SID=AC5f0c9b1d7e3a4286905b1c7d2e8f4a63", "CRM_SYNC_URL=https://api.sync.us/v2",
            "CRM_SYNC_CLIENT_ID=roofs", "SMTP_PORT=587", "SMTP_USERNAME=crm", "SMTP_FROM=crm@roofs.us",
            "ML_API_URL=https://ml.roofs.us", "SENTRY_DSN=https://0c9b1d7e@sentry.roofs.us/4",
            "SLACK_WEBHOOK_URL=https://hooks.slack.com/services/T1/B2/\(try secret())", "BACKUP_S3_BUCKET=roofs-backup",
            "BACKUP_S3_REGION=us-east-2", "AWS_ACCESS_KEY_ID=AKIA5F0C9B1D7E3A4286",
            "STRIPE_PUBLISHABLE_KEY=pk_live_5f0c9b1d",
            "DATABASE_URL=postgresql://crm:\(try secret())@db.roofs.us/crm?sslmode=require",
            "REDIS_URL=rediss://:\(try secret())@cache.roofs.us:6380/0",
            "GOOGLE_API_KEY=\(try secret("AIza"))",
            "STRIPE_SECRET_KEY=\(try secret("sk_live_", ["--format", "alnum"]))",
            "STRIPE_WEBHOOK_SECRET=\(try secret("whsec_", ["--format", "alnum"]))",
            "PAGERDUTY_ROUTING_KEY=\(try secret("", ["--format", "hex", "--bytes", "16"]))",
        ]
        for name in [
            "JWT_SECRET", "JWT_REFRESH_SECRET", "ENCRYPTION_KEY", "SESSION_COOKIE_SECRET", "INTERNAL_API_KEY",
            "TWILIO_AUTH_TOKEN", "CALLRAIL_API_KEY", "CALL_WEBHOOK_SECRET", "CRM_SYNC_CLIENT_SECRET",
            "CRM_WEBHOOK_SECRET",
            "SMTP_PASSWORD", "ML_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "BACKUP_ENCRYPTION_KEY",
        ] {
            lines.append("\(name)=\(try secret())")
        }
        return (lines.joined(separator: "\n") + "\n", secrets)
    }

    @Test("the sample has more than forty variables, and generated secrets satisfy it") func sample() throws {
        let (text, secrets) = try EnvironmentCommandTests.filled()
        let folder = try Folder()
        let file = try folder.put(".env", text)
        for output in ["table", "json", "csv"] {
            let checked = try Program.vedette.run([
                "env", "check", "--variables", Self.variables, "--env-file", file, "--only-files", "--output", output,
            ])
            #expect(checked.status == 0, "\(checked.output)\(checked.errors)")
            if output == "table" {
                #expect(checked.output.split(separator: "\n").count > 60)
                #expect(
                    checked.output.contains("production: 40 good, 15 unset, 10 warning, 0 problem"), "\(checked.output)"
                )
            }
            for secret in secrets { #expect(!(checked.output + checked.errors).contains(secret)) }
        }
    }

    @Test("what is missing, mistyped, weak or unknown is told, and no value of it") func problems() throws {
        let folder = try Folder()
        let text = """
            JWT_SECRET=hunter2hunter2hunter2hunter2hunter2
            ENCRYPTION_KEY=sh0rtK3y
            STRIPE_SECRET_KEY=sk_test_9Qz4Lm2Wv8XyRt4PnB7Kz9Lm2
            SMTP_PORT=Zq7Kpasted9Xw
            SMTP_PASWORD=Zq7Kmisnamed9Xw
            CORS_ORIGIN=Zq7Kwrong9Xw
            """
        let file = try folder.put(".env", text)
        let checked = try Program.vedette.run([
            "env", "check", "--variables", Self.variables, "--env-file", file, "--only-files",
        ])
        #expect(checked.status == 1)
        for part in [
            "holds a word that is guessed first", "shorter than 32 characters", "a key of the provider's test mode",
            "no number", "is not described; did you mean 'SMTP_PASSWORD'?", "no address",
            "is not set; set it: Signs cookies.",
        ] {
            #expect(checked.output.contains(part), "\(part): \(checked.output)")
        }
        for line in text.split(separator: "\n") {
            let value = line.split(separator: "=", maxSplits: 1)[1]
            #expect(!(checked.output + checked.errors).contains(value), "\(value)")
        }
    }

    @Test("a configuration's variables and files resolve through it") func configuration() throws {
        let folder = try Folder()
        let variables = try folder.put(
            "environment.yaml", "variables: [{name: TOKEN_DIR, type: path, kind: directory}]\n")
        let config = try folder.put(
            "vedette.yaml",
            """
            route: {receiver: a}
            receivers:
            - name: a
              slack_configs: [{channel: b, api_url_file: "${TOKEN_DIR}/slack", title: "${TITLE:-x}"}]
            """)
        let file = try folder.put(".env", "TOKEN_DIR=\(folder.path)\n")
        let arguments = [
            "env", "check", "--variables", variables, "--env-file", file, "--only-files", "--config", config,
        ]
        let missing = try Program.vedette.run(arguments)
        #expect(missing.status == 1)
        #expect(
            missing.errors.contains("'${TOKEN_DIR}/slack' cannot be read: No such file or directory"),
            "\(missing.errors)")
        #expect(
            missing.errors.contains("vedette.yaml:4:75: warning: the variable TITLE is not described in"),
            "\(missing.errors)")
        _ = try folder.put("slack", "\n")
        #expect(try Program.vedette.run(arguments).errors.contains("is empty; write the secret into it"))
        _ = try folder.put("slack", "http://h/x\n")
        #expect(try Program.vedette.run(arguments).status == 0)
        let unset = try Program.vedette.run(["check", "config", config])
        #expect(
            unset.status == 1 && unset.errors.contains(":4:46: the variable TOKEN_DIR is not set; set it, or write "))
    }

    @Test("wrong use is one line and 2") func use() throws {
        let folder = try Folder()
        let broken = try folder.put(".env", "A 'Zq7Ksecret9Xw'\n")
        let cases: [([String], String)] = [
            (
                ["check", "--variables", "/nowhere.yaml"],
                "/nowhere.yaml: cannot be read: No such file or directory; give the file's path with --variables"
            ),
            (
                ["check", "--variables", Self.variables, "--env-file", "/nowhere"],
                "/nowhere: cannot be read: No such file or directory; mend --env-file"
            ),
            (
                ["check", "--variables", Self.variables, "--env-file", broken],
                "\(broken):1:2: a = must stand right behind A; write NAME=value"
            ),
            (["generate", "--bytes", "8"], "--bytes: must be from 16 to 1024"),
        ]
        for (arguments, message) in cases {
            let outcome = try Program.vedette.run(["env"] + arguments)
            #expect(outcome.status == 2 && outcome.errors == message + "\n", "\(outcome.errors)")
        }
    }

    @Test("generated secrets have their length, and no two are the same") func generate() throws {
        for (format, length) in [("hex", 64), ("base64url", 43), ("alnum", 43)] {
            let made = try (0..<3).map { _ in try Program.vedette.run(["env", "generate", "--format", format]).output }
            #expect(
                Set(made).count == 3 && made.allSatisfy { $0.count == length + 1 }, "\(format): \(made.map(\.count))")
        }
    }

    @Test("the template names every variable of the sample and is a file that reads") func template() throws {
        let made = try Program.vedette.run(["env", "template", "--variables", Self.variables])
        #expect(made.status == 0 && made.output.split(separator: "\n").filter { $0.hasSuffix("=") }.count == 65)
        let folder = try Folder()
        let file = try folder.put(".env", made.output)
        let checked = try Program.vedette.run([
            "env", "check", "--variables", Self.variables, "--env-file", file, "--only-files",
        ])
        #expect(checked.status == 1 && checked.output.contains("production: 0 good, "), "\(checked.output)")
    }
}
