import Basics
@testable import Notifying
import Settings
import TestSupport
import Testing

/// What is in force beside what Alertmanager prints back of the same file.
@Suite struct EffectiveSettingsTests {
    /// Keys that Alertmanager prints always, and ours when the file gives them: 0.25 did not know them, or they belong
    /// to integrations that are not offered.
    private static let newer: Set<String> = ["labels", "app_url", "update_message", "timeout", "source", "tls_config"]

    private func plain(_ json: JSON) -> JSON {
        switch json {
        case .array(let items): .array(items.map(plain))
        case .object(let members):
            .object(
                members.filter { !EffectiveSettingsTests.newer.contains($0.name) }
                    .map { JSON.Member($0.name, plain($0.value)) }.sorted { $0.name < $1.name })
        default: json
        }
    }

    @Test(
        "receivers are printed as Alertmanager prints them",
        arguments: [
            "cli__testdata__conf.routing", "config__testdata__conf.empty-fields",
            "config__testdata__conf.http-config.good", "config__testdata__conf.slack-default-api-url-file",
            "config__testdata__conf.slack-default-app-token", "config__testdata__conf.smtp-no-username-or-password",
            "config__testdata__conf.smtp-password-global-and-local", "doc__examples__simple",
            "examples__ha__alertmanager",
        ])
    func receivers(name: String) throws {
        let file = name.replacing("__", with: "/") + ".yml"
        guard let expected = try alertmanagerYAML("effective/\(name).yml"), let bytes = try alertmanagerYAML(file)
        else {
            return
        }
        let read = try NotifyingSettings(from: SettingsDocument(bytes, file: file).map(), style: .alertmanager)
        let theirs = EffectiveWriter.json(try SettingsDocument(expected, file: "effective.yml").root)
        var compared = 0
        for receiver in theirs["receivers"]?.array ?? [] {
            let ours = read.receivers[receiver["name"]?.string ?? ""]?.effective ?? .null
            for member in receiver.members ?? [] where member.name.hasSuffix("_configs") {
                for (index, entry) in (member.value.array ?? []).enumerated() {
                    var wanted = plain(entry).members ?? []
                    wanted.removeAll { $0.name == "url_file" && $0.value == "" }
                    // There, a file of the global secret is shown beside an own text, which is what counts.
                    if wanted.contains(where: { $0.name == "auth_secret" }) {
                        wanted.removeAll { $0.name == "auth_secret_file" }
                    }
                    let shown = plain(ours[member.name]?[index] ?? .null)
                    #expect(shown == .object(wanted), "\(name) \(member.name) \(index)")
                    compared += 1
                }
            }
        }
        #expect(compared > 0 || (theirs["receivers"]?.array ?? []).allSatisfy { ($0.members?.count ?? 0) <= 2 })
        let global = read.effectiveGlobal
        #expect(global["resolve_timeout"] == theirs["global"]?["resolve_timeout"])
        #expect(plain(global["http_config"] ?? .null) == plain(theirs["global"]?["http_config"] ?? .null))
        for member in global.members ?? [] where member.name != "smtp_tls_config" {
            let theirs = theirs["global"]?[member.name] ?? ""
            #expect(plain(member.value) == plain(theirs), "\(name) \(member.name)")
        }
    }

    @Test("no secret is printed, wherever it stands") func secrets() throws {
        let read = try settings(
            """
            global:
              slack_api_url: https://hunter2.example/
              smtp_auth_password: hunter2
              http_config: {proxy_url: "http://me:hunter2@proxy:1"}
            route: {receiver: a}
            receivers:
            - name: a
              webhook_configs:
              - url: http://w/hunter2
                http_config:
                  basic_auth: {username: me, password: hunter2}
                  http_headers: {X-A: {secrets: [hunter2], values: [b]}}
                  tls_config: {cert: c, key: hunter2}
              - {url_file: /f, http_config: {oauth2: {client_id: a, client_secret: hunter2, token_url: "http://t"}}}
              slack_configs: [{channel: x}, {app_token: xoxb-hunter2}]
              pagerduty_configs: [{routing_key: hunter2, change_events: true, rate_limit: {every: 1s}}]
              email_configs: [{to: a@b, from: a@b, smarthost: "m:25", auth_username: u, auth_secret: hunter2}]
            """)
        let text = try #require(read.receivers["a"]).effective.text + read.effectiveGlobal.text
        #expect(!text.contains("hunter2"))
        #expect(text.contains("me:xxxxx@proxy:1") && text.contains(#""url_file":"/f""#))
        #expect(!text.contains("rate_limit") && !text.contains("change_events"), "keys of our own")
    }
}
