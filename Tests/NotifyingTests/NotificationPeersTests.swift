import Basics
import Foundation
import Settings
import Templates
import TestSupport
import Testing

/// Alertmanager's functions and built-in templates, with what Alertmanager itself makes of them.
@Suite struct NotificationPeersTests {
    // MARK: Golden output

    @Test(
        "the built-in templates of Alertmanager give what amtool gives",
        arguments: [
            "all_resolved", "empty_group_labels", "markup_and_utf8", "one_firing", "two_firing_one_resolved",
        ])
    func golden(name: String) throws {
        guard let folder = Peers.folder("alertmanager/template") else { return }
        var library: [Template] = []
        for file in ["default.tmpl", "email.tmpl"] {
            let text = try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
            library.append(try Template(parsing: text, name: file, functions: .alertmanager))
        }
        let data = try notification(Peers.bytes(folder.appendingPathComponent("data/\(name).json")))
        let golden = try JSON(parsing: Peers.bytes(folder.appendingPathComponent("golden/\(name).json")))
        var passed = 0
        for member in golden.members ?? [] {
            let template = try Template(
                parsing: "{{ template \"\(member.name)\" . }}", name: "", functions: .alertmanager, library: library,
                isHTML: member.name == "email.default.html")
            do {
                let output = try template.render(.object(data))
                #expect(output == member.value.string, "\(member.name)")
                if output == member.value.string { passed += 1 }
            } catch {
                // The place is that of the library's file there, and moments have offsets and nanoseconds.
                let theirs = member.value["error"]?.string ?? ""
                let message = error.message.split(separator: "[").first.map(String.init) ?? error.message
                #expect(theirs.contains(message), "\(member.name): \(error) \(theirs)")
                if theirs.contains(message) { passed += 1 }
            }
        }
        print("golden/\(name).json: \(passed) passed")
        #expect(passed == 62)
    }

    private func strings(_ json: JSON?) -> [String: String]? {
        json?.members.map { members in
            Dictionary(members.map { ($0.name, $0.value.string ?? "") }, uniquingKeysWith: { $1 })
        }
    }

    private func notification(_ bytes: [UInt8]) throws -> NotificationData {
        let json = try JSON(parsing: bytes)
        func moment(_ json: JSON?) -> Timestamp { json?.string.flatMap { Timestamp(rfc3339: $0) } ?? .goZero }
        let items = (json["alerts"]?.array ?? []).map { alert in
            NotificationData.Item(
                status: alert["status"]?.string ?? "", labels: strings(alert["labels"]),
                annotations: strings(alert["annotations"]), startsAt: moment(alert["startsAt"]),
                endsAt: moment(alert["endsAt"]), generatorURL: alert["generatorURL"]?.string ?? "",
                fingerprint: alert["fingerprint"]?.string ?? "")
        }
        var data = NotificationData(
            receiver: json["receiver"]?.string ?? "", alerts: items, groupLabels: strings(json["groupLabels"]) ?? [:],
            externalURL: json["externalURL"]?.string ?? "")
        data.reason = json["notification_reason"]?.string ?? ""
        #expect(data.status == json["status"]?.string)
        #expect(data.commonLabels == strings(json["commonLabels"]))
        #expect(data.commonAnnotations == strings(json["commonAnnotations"]))
        return data
    }

    // MARK: Functions

    private static let now = 1_790_000_000.0

    @Test("Alertmanager's functions") func functions() throws {
        guard let file = Peers.file("alertmanager/template_cases.yaml") else { return }
        let root = try SettingsDocument(Peers.bytes(file), file: "template_cases.yaml").root
        let cases = try json(root)["functions"]?.array ?? []
        var passed = 0
        for entry in cases {
            let text = entry["in"]?.string ?? ""
            let output = result(of: entry)
            switch (output, entry["error"]) {
            case (.success(let output), nil):
                // The present second: what it is has no place in a table.
                let expected =
                    entry["out"]?.string ?? (text.contains("now") ? "2026-09-21T14:13:20+0000" : "")
                #expect(output == expected, "\(text)")
                if output == expected { passed += 1 }
            case (.failure(let error), .string(let expected)):
                #expect(error.description == expected, "\(text)")
                if error.description == expected { passed += 1 }
            case (.failure, .some): passed += 1
            case (let output, let expected):
                Issue.record("\(text): \(output), not \(expected?.text ?? entry["out"]?.text ?? "")")
            }
        }
        print("template_cases.yaml: \(passed) of \(cases.count) functions passed")
        #expect(passed == cases.count && passed >= 54)
    }

    /// YAML as JSON; what is quoted is a text.
    private func json(_ node: SettingsNode) throws -> JSON {
        if node.isNull { return .null }
        if let value = try? Bool.read(node) { return .bool(value) }
        if let value = try? Double.read(node) { return .number(value) }
        if let text = try? node.text() { return .string(text) }
        if let map = try? node.map() {
            return .object(try map.keys.map { JSON.Member($0, try map.takeNode($0).map(json) ?? .null) })
        }
        return .array(try node.list().map(json))
    }

    private func result(of entry: JSON) -> Result<String, TemplateError> {
        var environment = TemplateEnvironment()
        environment.now = NotificationPeersTests.now
        environment.zone = { CivilZone($0, files: SystemFiles()) }
        let isHTML = entry["html"] == true
        do throws(TemplateError) {
            let template = try Template(
                parsing: entry["in"]?.string ?? "", name: "", functions: .alertmanager, isHTML: isHTML)
            return .success(try template.render(dot(entry), in: environment))
        } catch {
            return .failure(error)
        }
    }

    private func dot(_ entry: JSON) -> TemplateValue {
        if let time = entry["time"]?.string {
            let hour = Timestamp(seconds: NotificationPeersTests.now - 3600)
            return .time(Timestamp(rfc3339: time) ?? hour)
        }
        let data = entry["data"] ?? .null
        guard entry["notification"] == true else { return value(data) }
        let items = (data["Alerts"]?.array ?? []).map {
            NotificationData.Item(
                status: $0["Status"]?.string ?? "", labels: strings($0["Labels"]),
                annotations: strings($0["Annotations"]))
        }
        var notification = NotificationData(
            receiver: "", alerts: items, groupLabels: strings(data["GroupLabels"]) ?? [:], externalURL: "")
        if let labels = strings(data["CommonLabels"]) { notification.commonLabels = labels }
        return .object(notification)
    }

    private func value(_ json: JSON, asFloat: Bool = false) -> TemplateValue {
        switch json {
        case .null: return .null
        case .bool(let value): return .bool(value)
        case .number(let value): return !asFloat && value == value.rounded() ? .int(Int(value)) : .double(value)
        case .string(let text): return .string(text)
        case .array(let items):
            let isFloat = items.contains { $0.number.map { $0 != $0.rounded() } ?? false }
            return .list(items.map { value($0, asFloat: isFloat) })
        case .object(let members):
            return .fields(Dictionary(members.map { ($0.name, value($0.value)) }, uniquingKeysWith: { $1 }))
        }
    }
}
