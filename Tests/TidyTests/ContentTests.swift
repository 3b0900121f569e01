import Foundation
import Testing

/// An alerting rule as it stands in a rule file: its name, its place and its lines.
struct RuleText {
    let name: String
    let place: String
    let lines: [String]

    /// The value of `key:` in the rule, without quotes.
    subscript(key: String) -> String? {
        let line = lines.first { $0.hasPrefix("\(key): ") }
        return line?.dropFirst(key.count + 2).trimmingCharacters(in: CharacterSet(charactersIn: "\""))
    }

    /// The alerts of a rule file. Rules begin with `- alert:`, `- drift:` or `- record:`, groups with `- name:`.
    static func alerts(in path: String) throws -> [RuleText] {
        var alerts: [RuleText] = []
        var current: (name: String, place: String, lines: [String])?
        for (index, raw) in try Tree.text(path).components(separatedBy: "\n").enumerated() {
            let line = raw.trimmingCharacters(in: .whitespaces)
            if line.hasPrefix("- ") {
                if let done = current { alerts.append(RuleText(name: done.name, place: done.place, lines: done.lines)) }
                current = nil
            }
            if line.hasPrefix("- alert: ") || line.hasPrefix("- drift: ") {
                current = (name: String(line.dropFirst(9)), place: "\(path):\(index + 1)", lines: [])
            } else {
                current?.lines.append(line)
            }
        }
        if let done = current { alerts.append(RuleText(name: done.name, place: done.place, lines: done.lines)) }
        return alerts
    }
}

@Suite struct ContentTests {
    static let ruleFiles = Tree.names(in: "rules").filter { $0.hasSuffix(".yml") }.map { "rules/\($0)" }

    /// Pages that no rule fires: a rollback announces its turns itself, with a page to go by all the same.
    static let announced: Set = [
        "Rollback", "VedettePageRefused", "VedettePagesNotDelivered", "VedetteRuleEvaluationFailing",
    ]

    private func alerts() throws -> [RuleText] { try ContentTests.ruleFiles.flatMap { try RuleText.alerts(in: $0) } }

    @Test("the rules are found") func found() throws {
        #expect(
            ContentTests.ruleFiles == ["rules/demo.yml", "rules/drift.yml", "rules/services.yml", "rules/vedette.yml"])
        #expect(try alerts().count > 40)
    }

    @Test("every alert says how bad it is, what is wrong and what to do") func complete() throws {
        let severities = ["critical", "high", "warning", "info"]
        for alert in try alerts() {
            let name = "\(alert.place): \(alert.name)"
            if !severities.contains(alert["severity"] ?? "") {
                report(["\(name) has no severity; give it one of \(severities.joined(separator: ", "))"])
            }
            for key in ["summary", "description"] where (alert[key] ?? "").isEmpty {
                report(["\(name) has no \(key); add the annotation"])
            }
            if alert["runbook_url"] != "runbooks/\(alert.name).md" {
                report(["\(name) does not point to its page; set runbook_url: runbooks/\(alert.name).md"])
            }
        }
    }

    @Test("every alert has its page, and every page its alert") func runbooks() throws {
        let names = Set(try alerts().map(\.name)).union(ContentTests.announced)
        let pages = Set(Tree.names(in: "runbooks").filter { $0.hasSuffix(".md") }.map { String($0.dropLast(3)) })
        for name in names.subtracting(pages).sorted() { report(["runbooks/\(name).md:1: is missing; write it"]) }
        for page in pages.subtracting(names).sorted() {
            report(["runbooks/\(page).md:1: belongs to no alert; remove it, or name it after one"])
        }
        let sections = ["Meaning", "Impact", "First steps", "Likely causes", "Over when", "Escalation"]
        for page in pages.sorted() {
            let lines = try Tree.text("runbooks/\(page).md").components(separatedBy: "\n")
            if lines.first != "# \(page)" { report(["runbooks/\(page).md:1: begins otherwise; begin with # \(page)"]) }
            if lines.filter({ $0.hasPrefix("## ") }) != sections.map({ "## \($0)" }) {
                report(["runbooks/\(page).md:1: has other sections; it has \(sections.joined(separator: ", "))"])
            }
        }
    }

    @Test("the demo has the services' alerts") func demo() throws {
        func outline(_ path: String) throws -> [String] {
            try RuleText.alerts(in: path).map { alert in
                "\(alert.name) \(alert["severity"] ?? "") \(alert["level"] ?? "") \(alert["component"] ?? "")"
            }
        }
        let services = try outline("rules/services.yml")
        #expect(!services.isEmpty)
        #expect(try outline("rules/demo.yml") == services)
    }

    @Test("the dashboards are JSON with panels that ask something") func dashboards() throws {
        let names = Tree.names(in: "dashboards")
        #expect(names == ["services.json", "vedette.json"])
        var identifiers: Set<String> = []
        for name in names {
            let data = Data(try Tree.text("dashboards/\(name)").utf8)
            let board = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
            let identifier = try #require(board["uid"] as? String)
            #expect(identifiers.insert(identifier).inserted, "\(name) has another dashboard's uid")
            let panels = try #require(board["panels"] as? [[String: Any]])
            for panel in panels where panel["type"] as? String != "row" {
                let title = panel["title"] as? String ?? "?"
                let targets = panel["targets"] as? [[String: Any]] ?? []
                #expect(!targets.isEmpty, "\(name): the panel \(title) asks nothing")
                #expect(targets.allSatisfy { ($0["expr"] as? String)?.isEmpty == false }, "\(name): \(title)")
            }
        }
    }
}
