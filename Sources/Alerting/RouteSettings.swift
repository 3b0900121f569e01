internal import Basics
internal import Model
public import Settings

extension RouteTree {
    /// Reads `route` of the daemon's file, Alertmanager's grammar; without one, everything goes to `fallback`.
    ///
    /// Sections of Alertmanager that are not offered yet are refused by name. `receivers` are the known names.
    public init(from root: SettingsMap, receivers: Set<String>, fallback: String) throws(SettingsError) {
        try root.refuse(["inhibit_rules"], "group related alerts in one route, or add 'unless' to their expressions")
        try root.refuse(
            ["time_intervals", "mute_time_intervals"],
            "restrict the alert's expression by hour() and day_of_week(), or leave the interval out")
        guard let map = try root.takeMap("route") else {
            guard receivers.isEmpty else {
                throw root.error("receivers are given, but no route; add 'route: {receiver: …}'")
            }
            self.init(receiver: fallback)
            return
        }
        guard map.has("receiver") else {
            throw map.error("the root route must name its receiver; add 'receiver: NAME'")
        }
        for key in ["matchers", "match", "match_re", "continue"] where map.has(key) {
            throw map.error(key, "the root route takes every alert; move this to a child under 'routes'")
        }
        var reader = RouteReader(receivers: receivers)
        _ = try reader.read(map, inheriting: Route(receiver: ""), index: nil, depth: 0)
        self.init(reader.routes)
    }
}

private struct RouteReader {
    let receivers: Set<String>
    var routes: [Route] = []

    mutating func read(_ map: SettingsMap, inheriting parent: Route, index: Int?, depth: Int) throws(SettingsError)
        -> Int
    {
        guard depth <= 32 else { throw map.error("routes are nested more than 32 levels deep") }
        var route = parent
        (route.children, route.matchers) = ([], [])
        try map.refuse(
            ["mute_time_intervals", "active_time_intervals"],
            "restrict the alert's expression by hour() and day_of_week()")
        try map.refuse(["labels"], "set labels in the rules")
        if let receiver: String = try map.take("receiver") {
            guard receivers.contains(receiver) else {
                let near = receiver.nearest(among: receivers).map { "did you mean '\($0)'?" }
                throw map.error("receiver", "there is no receiver '\(receiver)'; \(near ?? "add it under 'receivers'")")
            }
            route.receiver = receiver
        }
        try readGroupBy(map, into: &route)
        route.groupWait = try map.takeDuration("group_wait", default: route.groupWait)
        route.groupInterval = try map.takeDuration("group_interval", default: route.groupInterval)
        route.repeatInterval = try map.takeDuration("repeat_interval", default: route.repeatInterval)
        for (key, value) in [("group_interval", route.groupInterval), ("repeat_interval", route.repeatInterval)]
        where value <= 0 { throw map.error(key, "must be above 0") }
        route.continues = try map.take("continue", default: false)
        if let index {
            var texts: [String] = []
            (route.matchers, texts) = try readMatchers(map)
            route.key = "\(parent.key)/{\(texts.joined(separator: ","))}"
            route.id = "\(parent.id)/{\(texts.joined(separator: ","))}/\(index)"
        }
        let place = routes.count
        routes.append(route)
        var children: [Int] = []
        for (number, child) in try map.takeMaps("routes").enumerated() {
            children.append(try read(child, inheriting: route, index: number, depth: depth + 1))
        }
        routes[place].children = children
        try map.finish()
        return place
    }

    private func readGroupBy(_ map: SettingsMap, into route: inout Route) throws(SettingsError) {
        guard let names: [String] = try map.take("group_by") else { return }
        if names.contains("...") {
            guard names.count == 1 else { throw map.error("group_by", "'...' means every label; keep it alone") }
            (route.groupBy, route.groupsByAll) = ([], true)
            return
        }
        guard Set(names).count == names.count else { throw map.error("group_by", "a label is named twice") }
        guard !names.contains("") else { throw map.error("group_by", "a label's name is empty") }
        (route.groupBy, route.groupsByAll) = (Set(names), false)
    }

    /// The matchers in the order of Alertmanager's keys, each with its text in them.
    private func readMatchers(_ map: SettingsMap) throws(SettingsError) -> ([Matcher], [String]) {
        var found: [(matcher: Matcher, text: String)] = []
        for item in try map.takeList("matchers") {
            do {
                found += try MatcherParser.matchers(try item.text()).map { ($0, $0.alertmanagerText) }
            } catch let failure as MatcherParser.Failure {
                throw item.error("matchers: \(failure)")
            } catch let error as SettingsError {
                throw error
            } catch {
                throw item.error("matchers: \(error)")
            }
        }
        for (name, value) in try map.take("match", default: [String: String]()) {
            let matcher = Matcher(name, equals: value)
            found.append((matcher, matcher.alertmanagerText))
        }
        for (name, value) in try map.take("match_re", default: [String: String]()) {
            do {
                let matcher = try Matcher(name, .matches, value)
                let shown = try Matcher(name, .matches, "^(?:\(value))$")
                found.append((matcher, shown.alertmanagerText))
            } catch {
                throw map.error("match_re", "\(error)")
            }
        }
        let order: [Matcher.Operation] = [.equal, .notEqual, .matches, .matchesNot]
        found.sort { one, other in
            if one.matcher.name != other.matcher.name { return one.matcher.name.isBefore(other.matcher.name) }
            if one.matcher.value != other.matcher.value { return one.matcher.value.isBefore(other.matcher.value) }
            let places = (order.firstIndex(of: one.matcher.operation), order.firstIndex(of: other.matcher.operation))
            return (places.0 ?? 0) < (places.1 ?? 0)
        }
        return (found.map(\.matcher), found.map(\.text))
    }
}
