import Basics
import Model
import Templates
import TestSupport
import Testing

/// Go's template language on the cases whose results came from Go itself.
@Suite struct TemplatePeersTests {
    @Test("text and HTML cases answer as Go does") func engine() throws {
        guard let file = Peers.file("alertmanager/template/engine_cases.json") else { return }
        let cases = try #require(try JSON(parsing: Peers.bytes(file)).array)
        var passed = 0
        for entry in cases {
            let name = entry["name"]?.string ?? ""
            let text = entry["template"]?.string ?? ""
            do {
                let isHTML = entry["type"]?.string == "html"
                let result = try Template(parsing: text, name: "", functions: .builtins, isHTML: isHTML)
                    .render(value(entry["data"] ?? .null))
                #expect(result == entry["output"]?.string, "\(name): \(text)")
                if result == entry["output"]?.string { passed += 1 }
            } catch {
                #expect(error.description == entry["error"]?.string, "\(name): \(text)")
                if error.description == entry["error"]?.string { passed += 1 }
            }
        }
        print("engine_cases.json: \(passed) passed")
        #expect(passed == cases.count && passed >= 147)
    }

    /// JSON as those cases mean it: whole numbers are ints, unless a list mixes them with others.
    private func value(_ json: JSON, asFloat: Bool = false) -> TemplateValue {
        switch json {
        case .null: return .null
        case .bool(let value): return .bool(value)
        case .number(let value):
            return !asFloat && value == value.rounded() ? .int(Int(value)) : .double(value)
        case .string(let text): return .string(text)
        case .array(let items):
            let isFloat = items.contains { $0.number.map { $0 != $0.rounded() } ?? false }
            return .list(items.map { value($0, asFloat: isFloat) })
        case .object(let members):
            return .fields(Dictionary(members.map { ($0.name, value($0.value)) }, uniquingKeysWith: { $1 }))
        }
    }
}
