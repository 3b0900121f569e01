import Daemon
import Model
import Notifying
import Rules
import Scraping
import Settings
import TestSupport
import Testing

@Suite struct DaemonSettingsTests {
    private func read(_ yaml: String, rules: String = "groups: []") throws(SettingsError) -> DaemonSettings {
        let files = MemoryFiles()
        files.put("etc/vedette.yaml", yaml)
        files.put("etc/rules.yml", rules)
        return try DaemonSettings(path: "etc/vedette.yaml", files: files, variables: { _ in nil })
    }

    @Test(
        "files of Prometheus and of Alertmanager are valid as they are",
        arguments: [
            (
                "global: {scrape_interval: 5s, evaluation_interval: 10s, external_labels: {dc: x}}\nrule_files: [rules.yml]\nscrape_configs: [{job_name: a, static_configs: [{targets: ['h:1']}]}]",
                "1 scrape jobs, 0 health checks, 0 rules in 0 groups, 0 receivers"
            ),
            (
                "global: {resolve_timeout: 5m}\nroute: {receiver: r, group_by: ['...'], routes: [{matchers: ['a=~\"b|c\"'], receiver: r}]}\nreceivers: [{name: r, webhook_configs: [{url: 'http://h/'}]}]",
                "0 scrape jobs, 0 health checks, 0 rules in 0 groups, 1 receivers"
            ), ("", "0 scrape jobs, 0 health checks, 0 rules in 0 groups, 0 receivers"),
        ])
    func accepted(yaml: String, summary: String) throws {
        #expect(try read(yaml).summary == summary)
    }

    @Test(
        "mistakes have a place and a cure",
        arguments: [
            ("globl: {}", "etc/vedette.yaml:1:1: unknown key 'globl'; did you mean 'global'?"),
            (
                "global: {scrape_intervl: 5s}",
                "etc/vedette.yaml:1:10: unknown key 'scrape_intervl'; did you mean 'scrape_interval'?"
            ),
            (
                "scrape_configs: [{job_name: a}, {job_name: a}]",
                "etc/vedette.yaml:1:44: job_name: 'a' is the name of two jobs; rename one"
            ),
            (
                "global: {scrape_interval: 5s, scrape_timeout: 6s}",
                "etc/vedette.yaml:1:47: scrape_timeout: must not be above scrape_interval"
            ),
            (
                "alerting: {peers: {name: a, members: [{name: a, url: 'http://a'}]}}",
                "etc/vedette.yaml:1:38: members: names no other daemon than 'a'; add one, or leave peers out"
            ),
            (
                "alerting: {peers: {name: a, members: [{name: b, url: 'b:9470'}]}}",
                "etc/vedette.yaml:1:54: url: is no address; write http://HOST:PORT or https://HOST:PORT"
            ),
            (
                "alerting: {peers: {name: a, members: [{name: b, url: 'http://b'}, {name: b, url: 'http://c'}]}}",
                "etc/vedette.yaml:1:74: name: 'b' is the name of two members; rename one"
            ),
            (
                "alerting: {peers: {name: a, timeout: 100ms, members: [{name: b, url: 'http://b'}]}}",
                "etc/vedette.yaml:1:38: timeout: must be from 1s to 10m; 15s is good"
            ),
            (
                "alerting: {peers: {members: [{name: b, url: 'http://b'}]}}",
                "etc/vedette.yaml:1:19: name: must have 1 to 100 bytes; give this daemon a name"
            ),
            (
                "alerting: {peers: {name: a, member: []}}",
                "etc/vedette.yaml:1:29: unknown key 'member'; did you mean 'members'?"
            ),
            ("storage: {retention_time: 5s}", "etc/vedette.yaml:1:27: retention_time: must be at least 1m"),
            (
                "health_checks: [{name: a, url: 'http://h'}, {name: a, url: 'http://h'}]",
                "etc/vedette.yaml:1:52: name: 'a' is the name of two checks; rename one"
            ),
            (
                "remote_read: [{url: 'http://h'}]",
                "etc/vedette.yaml:1:1: remote_read is not offered; leave it out; rules ask another server by query_source, see query_sources"
            ),
            (
                "remote_write: [{url: 'http://h', name: a}, {url: 'http://i', name: a}]",
                "etc/vedette.yaml:1:68: name: 'a' is the name of two remote stores; give each its own"
            ),
            (
                "remote_write: [{url: 'http://h', write_relabel_configs: [{action: dropp}]}]",
                "etc/vedette.yaml:1:67: action: 'dropp' is no action; did you mean 'drop'?"
            ),
            (
                "global: {query_source: mimr}\nquery_sources: [{name: mimir, url: 'http://h'}]",
                "etc/vedette.yaml:1:10: query_source: 'mimr' is none of query_sources; did you mean 'mimir'?"
            ),
            (
                "health_checks: [{name: a, url: 'http://h', expect: {status: [200, 0]}}]",
                "etc/vedette.yaml:1:61: status: an HTTP status is a number from 100 to 599"
            ),
            (
                "# \(String(repeating: "x", count: 16 << 20))",
                "etc/vedette.yaml: the file is longer than 16777216 bytes; split it"
            ),
            ("scrape_configs: 5", "etc/vedette.yaml:1:17: scrape_configs: expected a list, found '5'"),
        ])
    func refused(yaml: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try read(yaml) }
        #expect(error?.description == message)
    }

    @Test("peers are the members of another name, in the order of their names; ours is the machine's by default")
    func peers() throws {
        let members =
            "members: [{name: c, url: 'https://c:1/'}, {name: a, url: 'http://a'}, {name: b, url: 'http://b:2/v'}]"
        let peers = try read("alerting: {peers: {name: b, timeout: 20s, \(members)}}").peers
        #expect(peers?.members.map(\.name) == ["a", "c"] && peers?.members.map(\.url) == ["http://a", "https://c:1"])
        #expect(peers?.timeout == 20_000 && peers?.address == "b:2")
        let files = MemoryFiles()
        files.put("/proc/sys/kernel/hostname", "a\n")
        files.put("etc/vedette.yaml", "alerting: {peers: {\(members)}}")
        let named = try DaemonSettings(path: "etc/vedette.yaml", files: files, variables: { _ in nil }).peers
        #expect(named?.name == "a" && named?.members.map(\.name) == ["b", "c"])
        #expect(try read("alerting: {alertmanagers: []}").peers == nil)
    }

    @Test("a mistake in a rule file has its place there; a pattern without a file is told, and no mistake") func rules()
        throws
    {
        let error = #expect(throws: SettingsError.self) {
            try read("rule_files: ['*.yml']", rules: "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up ==\n")
        }
        #expect(error?.description.hasPrefix("etc/rules.yml:5:") == true, "\(error?.description ?? "")")
        let once = try read(
            "rule_files: [rules.yml, '*.yml']", rules: "groups: [{name: g, rules: [{record: a, expr: b}]}]")
        #expect(once.groups.count == 1)
        let sources = "rule_files: [rules.yml]\nquery_sources: [{name: a, url: 'http://h'}]\nglobal: {query_source: a}"
        let rules = "groups: [{name: f}, {name: g, query_source: local}, {name: h, query_source: 'http://i'}]"
        #expect(try read(sources, rules: rules).groups.map(\.querySource) == ["a", "local", "http://i"])
        let unknown = #expect(throws: SettingsError.self) {
            try read("rule_files: [rules.yml]", rules: "groups:\n- {name: f, query_source: a}")
        }
        #expect(
            unknown?.description
                == "etc/rules.yml:2:3: query_source: 'a' is none of query_sources; add it there, or give its address")
        #expect(try read("rule_files: ['no/*.yml']").warnings == ["rule_files: no file matches 'etc/no/*.yml'"])
    }
}

extension DaemonSettingsTests {
    private func read(_ files: [String: String], _ variables: [String: String]) throws(SettingsError) -> DaemonSettings
    {
        let disk = MemoryFiles()
        for (path, text) in files { disk.put(path, text) }
        return try DaemonSettings(path: "etc/vedette.yaml", files: disk, variables: { variables[$0] })
    }

    @Test("variables are put into the configuration and its scrape files, not into rules, templates and replacements")
    func variables() throws {
        let settings = try read(
            [
                "etc/vedette.yaml": """
                global:
                  scrape_interval: ${EVERY}
                  external_labels: {dc: "${DC}", team: "${TEAM:-ops}"}
                rule_files: [rules.yml]
                scrape_config_files: [jobs.yml]
                scrape_configs:
                - job_name: a
                  scrape_timeout: ${EVERY}
                  sample_limit: ${LIMIT}
                  honor_labels: ${HONOR}
                  relabel_configs:
                  - {source_labels: [x], regex: '(?P<name>.)(.)', target_label: y, replacement: '${name}-${2}-$1'}
                route: {receiver: a}
                receivers:
                - name: a
                  slack_configs:
                  - {channel: '#x', api_url_file: "${CREDENTIALS_DIRECTORY}/secret_slack", title: '{{ reReplaceAll "(?P<n>a)" "${n}" "b" }}'}
                """,
                "etc/jobs.yml": "scrape_configs: [{job_name: \"${DC}-job\"}]",
                "etc/rules.yml": """
                groups: [{name: g, rules: [{alert: A, expr: up, labels: {a: '${DC}'}, annotations: {b: '${NO}'}}]}]
                """,
            ],
            ["EVERY": "7s", "DC": "ber1", "LIMIT": "12", "HONOR": "yes", "CREDENTIALS_DIRECTORY": "/run/credentials/v"])
        #expect(settings.scrapeDefaults.interval == 7000)
        #expect(settings.externalLabels["dc"] == "ber1" && settings.externalLabels["team"] == "ops")
        #expect(settings.jobs.map(\.name) == ["a", "ber1-job"] && settings.jobs[0].timeout == 7000)
        #expect(settings.neededFiles.map(\.path) == ["/run/credentials/v/secret_slack"])
        #expect(settings.groups[0].rules[0].labels.map(\.text) == ["${DC}"])
        #expect(
            settings.variables.references.map(\.name)
                == ["EVERY", "DC", "TEAM", "EVERY", "LIMIT", "HONOR", "CREDENTIALS_DIRECTORY", "DC"])
    }

    @Test("an unset variable refuses the file by its place") func unset() {
        for (file, yaml) in [("vedette.yaml", "a: 1"), ("jobs.yml", "scrape_config_files: [jobs.yml]")] {
            let text = "scrape_configs:\n- job_name: ${JOB}"
            let error = #expect(throws: SettingsError.self) {
                try read(["etc/vedette.yaml": file == "jobs.yml" ? yaml : text, "etc/jobs.yml": text], [:])
            }
            #expect(
                error?.description
                    == "etc/\(file):2:13: the variable JOB is not set; set it, or write ${JOB:-default}")
        }
    }
}
