import Alerting
import Basics
import Model
import Settings
import Testing

@Suite struct RouteTests {
    @Test(
        "a mistake in a route names its place and cure",
        arguments: [
            ("route: {}", "a.yaml:1:8: the root route must name its receiver; add 'receiver: NAME'"),
            ("route: {receiver: db}", "a.yaml:1:19: receiver: there is no receiver 'db'; add it under 'receivers'"),
            ("route: {receiver: pagr}", "a.yaml:1:19: receiver: there is no receiver 'pagr'; did you mean 'page'?"),
            (
                "route: {receiver: page, match: {a: b}}",
                "a.yaml:1:32: match: the root route takes every alert, always; move this to a child under 'routes'"
            ),
            ("route: {receiver: page, group_interval: 0s}", "a.yaml:1:41: group_interval: must be above 0"),
            (
                "route: {receiver: page, group_by: ['...', a]}",
                "a.yaml:1:35: group_by: '...' means every label; keep it alone"
            ),
            ("route: {receiver: page, groupby: [a]}", "a.yaml:1:25: unknown key 'groupby'; did you mean 'group_by'?"),
            (
                "route:\n  receiver: page\n  routes:\n  - matchers: [ok=1, 'a=~(']",
                "a.yaml:4:22: matchers: bad regular expression \"(\": missing ): ("
            ),
            (
                "route: {receiver: page, routes: [{mute_time_intervals: [nigt]}]}\n"
                    + "time_intervals: [{name: night}]",
                "a.yaml:1:56: mute_time_intervals: undefined time interval \"nigt\" used in route; "
                    + "did you mean 'night'?"
            ),
            (
                "time_intervals: [{name: n, time_intervals: [{weekdays: [mnday]}]}]\nroute: {receiver: page}",
                "a.yaml:1:57: weekdays: mnday is not a valid weekday"
            ),
            (
                "inhibit_rules: [{source_match: {a: b}, equal: ['']}]\nroute: {receiver: page}",
                "a.yaml:1:47: equal: invalid label name \"\" in equal list; give it a name"
            ),
        ])
    func mistakes(text: String, message: String) {
        let error = #expect(throws: SettingsError.self) {
            try alerting(text, receivers: ["page"])
        }
        #expect(error?.description == message)
    }

    @Test("Alertmanager's route cases: who matches, by which options and key") func peersTrees() throws {
        guard let data = try alertmanagerData("route_cases.yaml") else { return }
        var passed = 0
        for entry in try data.takeMaps("trees") {
            let tree = try tree(try entry.require("route"))
            for test in try entry.takeMaps("cases") {
                let labels = Labels(try test.take("labels", default: [String: String]()))
                let found = tree.matches(labels)
                let wanted = try test.takeMaps("matches")
                #expect(found.count == wanted.count, "\(labels)")
                for (route, want) in zip(found, wanted) {
                    #expect(route.key == (try want.require("key") as String))
                    #expect(route.receiver == (try want.require("receiver") as String))
                    #expect(route.groupBy == Set(try want.take("group_by", default: [String]())))
                    #expect(route.groupsByAll == (try want.require("group_by_all") as Bool))
                    #expect(route.groupWait == (try want.takeDuration("group_wait")))
                    #expect(route.groupInterval == (try want.takeDuration("group_interval")))
                    #expect(route.repeatInterval == (try want.takeDuration("repeat_interval")))
                    passed += 1
                }
            }
        }
        print("route_cases.yaml: \(passed) matches")
        #expect(passed >= 24)
    }

    @Test("Alertmanager's route ids and group labels") func peersIDs() throws {
        guard let data = try alertmanagerData("route_cases.yaml") else { return }
        let ids = try #require(try data.takeMap("ids"))
        let tree = try tree(try ids.require("route"))
        #expect(Set(tree.routes.map(\.id)) == Set(try ids.take("ids", default: [String]())))
        #expect(tree.routes.count == 12)
        for test in try data.takeMaps("group_labels") {
            var route = tree.routes[0]
            route.groupBy = Set(try test.take("group_by", default: [String]()))
            route.groupsByAll = try test.take("group_by_all", default: false)
            let labels = Labels(try test.take("labels", default: [String: String]()))
            #expect(route.groupLabels(of: labels) == Labels(try test.take("group_labels", default: [String: String]())))
        }
        let empty = try #require(try data.takeMap("group_by_empty_override"))
        #expect(
            try AlertingTests.tree(try empty.require("route")).routes.map(\.groupBy) == [["alertname", "cluster"], []])
    }

    @Test(
        "Alertmanager's matcher cases: what is read and what is refused",
        arguments: [
            "utf8_matchers", "classic_matchers", "fallback_matchers",
        ])
    func peersMatchers(list: String) throws {
        guard let data = try alertmanagerData("matcher_cases.yaml") else { return }
        var passed = 0
        for test in try data.takeMaps(list) {
            let input: String = try test.require("input")
            let found = Result { () throws -> [Matcher] in
                switch list {
                case "utf8_matchers": try MatcherParser.utf8(input)
                case "classic_matchers": try MatcherParser.classic(input)
                default: try MatcherParser.matchers(input)
                }
            }
            if test.has("error") {
                #expect((try? found.get()) == nil, "\(input) must be refused")
            } else {
                let wanted = try test.takeMaps("matchers").map { map in
                    let operation = try #require(Matcher.Operation(rawValue: try map.require("op")))
                    return try Matcher(try map.require("name"), operation, try map.take("value", default: ""))
                }
                #expect((try? found.get()) == wanted, "\(input): \(found)")
            }
            passed += 1
        }
        print("matcher_cases.yaml: \(list): \(passed) cases")
        #expect(passed > 4)
    }

    @Test("Alertmanager's matcher cases: agreement, single ones, names, matching, texts") func peersMatcherRest() throws
    {
        guard let data = try alertmanagerData("matcher_cases.yaml") else { return }
        var passed = 0
        func wanted(_ test: SettingsMap) throws -> [Matcher] {
            try test.takeMaps("matchers").map { map in
                let operation = try #require(Matcher.Operation(rawValue: try map.require("op")))
                return try Matcher(try map.require("name"), operation, try map.take("value", default: ""))
            }
        }
        // The grammar itself takes braces around one matcher; a filter does not.
        let readers: [String: (String) throws -> Matcher?] = [
            "utf8_single": { text in
                let found = try MatcherParser.utf8(text)
                return found.count == 1 ? found.first : nil
            }, "fallback_single": { try MatcherMode.fallback.matcher($0) },
        ]
        for (key, read) in readers {
            for test in try data.takeMaps(key) {
                let input: String = try test.require("input")
                let found = try? read(input)
                let matchers = test.has("error") ? [] : try wanted(test)
                #expect(found.map { [$0] } ?? [] == matchers, "\(key): \(input)")
                passed += 1
            }
        }
        #expect((try? MatcherMode.fallback.matcher("{a=b}")) == nil)
        for test in try data.takeMaps("agreement") {
            let input: String = try test.require("input")
            switch try test.require("utf8") as String {
            case "reject":
                #expect((try? MatcherParser.matchers(input)) == nil, "\(input)")
                #expect((try? MatcherParser.utf8(input)) == nil, "\(input)")
            case "same":
                #expect(try MatcherParser.matchers(input) == wanted(test), "\(input)")
                #expect(try MatcherParser.utf8(input) == wanted(test), "\(input)")
            default: #expect(try MatcherParser.matchers(input) == wanted(test), "\(input)")
            }
            passed += 1
        }
        for test in try data.takeMaps("label_names") {
            let name: String = try test.take("name", default: "")
            #expect(MatcherMode.classic.takes(labelName: name) == (try test.require("classic") as Bool), "\(name)")
            #expect(MatcherMode.fallback.takes(labelName: name) == (try test.require("utf8") as Bool), "\(name)")
            passed += 1
        }
        for test in try data.takeMaps("matching") {
            let operation = try #require(Matcher.Operation(rawValue: try test.require("op")))
            let pattern = try test.take("pattern", default: "")
            let matcher = try MatcherMode.fallback.matcher("a\(operation.rawValue)\(pattern.goQuoted)")
            #expect(matcher.matches(try test.take("value", default: "")) == (try test.require("match") as Bool))
            passed += 1
        }
        for test in try data.takeMaps("to_string") {
            let operation = try #require(Matcher.Operation(rawValue: try test.require("op")))
            let matcher = try Matcher(try test.require("name"), operation, try test.take("value", default: ""))
            #expect(matcher.alertmanagerText == (try test.require("string") as String))
            passed += 1
        }
        for test in try data.takeMaps("inhibit_equal") {
            let names = try test.take("equal", default: [String]()).map(\.goQuoted).joined(separator: ", ")
            let text = "route: {receiver: page}\ninhibit_rules: [{equal: [\(names)]}]"
            for (mode, key) in [(MatcherMode.classic, "classic"), (.fallback, "utf8")] {
                let isTaken = (try? alerting(text, receivers: ["page"], mode: mode)) != nil
                #expect(isTaken == (try test.require(key) as String == "accept"), "\(names) \(key)")
            }
            passed += 1
        }
        print("matcher_cases.yaml: \(passed) more cases")
        #expect(passed >= 100)
    }
}
