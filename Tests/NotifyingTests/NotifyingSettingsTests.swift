import Basics
import Notifying
import Settings
import Testing
import Transport

@Suite struct NotifyingSettingsTests {
    @Test("receivers with the defaults of global") func receivers() throws {
        let settings = try settings(
            """
            global:
              slack_api_url: https://hooks.example/T
              resolve_timeout: 3m
              http_config: {proxy_url: "http://proxy:3128"}
            route: {receiver: team, group_by: [alertname]}
            receivers:
            - name: team
              webhook_configs:
              - {url: "http://a/", max_alerts: 5, send_resolved: false}
              - {url_file: hook, http_config: {basic_auth: {username: me, password: pw}}}
              slack_configs: [{channel: "#alerts"}]
              pagerduty_configs: [{routing_key_file: /etc/key, class: web}]
            - name: nobody
            """)
        let team = try #require(settings.receivers["team"])
        #expect(team.channels.map(\.id) == ["team/webhook/0", "team/webhook/1", "team/slack/0", "team/pagerduty/0"])
        #expect(team.channels.map(\.channel.sendsResolved) == [false, true, false, true])
        let first = try #require(team.channels[0].channel as? WebhookChannel)
        #expect(first.maximumAlerts == 5 && first.client.http.options.proxy == "http://proxy:3128")
        let page = Page(notification([alert("A")]), key: "k")
        let second = try team.channels[1].channel.request(for: page) { path in Array("http://\(path)/\n".utf8) }
        #expect(second.url == "http://hook/" && second.header("Authorization") == "Basic bWU6cHc=")
        #expect(second.options.proxy == nil, "a channel's own http_config replaces the global one whole")
        #expect(try team.channels[3].channel.request(for: page) { _ in [82] }.json?["routing_key"]?.string == "R")
        #expect(settings.resolveTimeout == 180_000)
    }

    @Test("without route and receivers nobody is told") func none() throws {
        #expect(try settings("{}").receivers.isEmpty)
    }

    @Test(
        "a mistake names its place and cure, and no secret",
        arguments: [
            (
                "route: {receiver: a}\nreceivers:\n- name: a\n  opsgenie_configs: [{api_key: hunter2}]",
                "vedette.yaml:4:3: opsgenie_configs is not offered; use webhook_configs, slack_configs, pagerduty_configs"
            ),
            (
                "global: {jira_api_url: 'http://m'}",
                "vedette.yaml:1:10: jira_api_url is not offered; use webhook_configs, slack_configs, pagerduty_configs"
            ),
            ("receivers: [{webhook_configs: []}]", "vedette.yaml:1:13: name is missing; it must be given"),
            (
                "receivers: [{name: a}, {name: a}]",
                "vedette.yaml:1:31: name: the receiver 'a' is already defined; give it another name"
            ),
            (
                "receivers: [{name: a}]",
                "vedette.yaml:1:1: receivers are given, but no route; add 'route: {receiver: …}'"
            ),
            (
                "receivers: [{name: a, webhook_configs: [{url: hunter2}]}]",
                "vedette.yaml:1:47: url: unsupported scheme: must begin with http:// or https://"
            ),
            (
                "receivers: [{name: a, webhook_configs: [{url: 'http://x', url_file: hunter2}]}]",
                "vedette.yaml:1:69: url_file: at most one of url & url_file must be configured; remove one of the two"
            ),
            (
                "receivers: [{name: a, slack_configs: [{channel: x}]}]",
                "vedette.yaml:1:39: api_url is missing: no Slack API URL nor App token set either inline or in a file; give"
            ),
            (
                "receivers: [{name: a, pagerduty_configs: [{service_key: hunter2, service_key_file: x}]}]",
                "vedette.yaml:1:84: service_key_file: at most one of service_key & service_key_file must be configured"
            ),
            (
                "receivers: [{name: a, pagerduty_configs: [{routing_key: hunter2, class: 'é {{ .x'}]}]",
                "vedette.yaml:1:77: class: invalid template syntax: "
            ),
            (
                "receivers: [{name: a, pagerduty_configs: [{routing_key: hunter2, details: {a: [1, '{{ x }}']}}]}]",
                "vedette.yaml:1:87: details: invalid template syntax: function \"x\" not defined"
            ),
            (
                "receivers: [{name: a, webhook_configs: [{urll: 'http://hunter2'}]}]",
                "vedette.yaml:1:41: url is missing: one of url or url_file must be configured"
            ),
            (
                "receivers: [{name: a, webhook_configs: [{url: 'http://hunter2/{{ .x'}]}]",
                "vedette.yaml:1:47: url: invalid template syntax"
            ),
            (
                "receivers: [{name: a, webhook_configs: [{url: 'http://a', rate_limit: {burst: 0}}]}]",
                "vedette.yaml:1:79: burst: must be 1 or more"
            ),
            (
                "receivers: [{name: a, email_configs: [{to: a@b, smarthost: m, from: a@b, auth_password: hunter2}]}]",
                "vedette.yaml:1:60: smarthost: address m: no port; write HOST:PORT, as in mail.example.org:587"
            ),
        ])
    func mistakes(text: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try settings(text) }
        #expect(error?.description.hasPrefix(message) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("hunter2") == false)
    }
}
