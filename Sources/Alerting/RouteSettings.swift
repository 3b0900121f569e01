internal import Basics
internal import Model
internal import Settings

extension RouteTree {
    /// Reads `route` of the daemon's file, Alertmanager's grammar; without one, everything goes to `fallback`.
    ///
    /// `receivers` and `intervals` are the known names.
    init(
        from root: SettingsMap, receivers: Set<String>, intervals: Set<String>, fallback: String, mode: MatcherMode
    ) throws(SettingsError) {
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
        for key in ["matchers", "match", "match_re", "continue", "mute_time_intervals", "active_time_intervals"]
        where map.has(key) {
            // `continue: false` and an empty list say what is so.
            if key == "continue", (try? map.take(key, default: true)) == false { continue }
            if let list = try? map.takeList(key), list.isEmpty { continue }
            throw map.error(key, "the root route takes every alert, always; move this to a child under 'routes'")
        }
        var reader = RouteReader(receivers: receivers, intervals: intervals, mode: mode)
        _ = try reader.read(map, inheriting: Route(receiver: ""), index: nil, depth: 0)
        self.init(reader.routes)
    }
}

private struct RouteReader {
    let receivers: Set<String>, intervals: Set<String>
    let mode: MatcherMode
    var routes: [Route] = []

    mutating func read(_ map: SettingsMap, inheriting parent: Route, index: Int?, depth: Int) throws(SettingsError)
        -> Int
    {
        guard depth <= 32 else { throw map.error("routes are nested more than 32 levels deep") }
        var route = parent
        (route.children, route.matchers) = ([], [])
        (route.muteIntervals, route.activeIntervals) = (
            try readIntervals(map, "mute_time_intervals"), try readIntervals(map, "active_time_intervals")
        )
        for (name, text) in try map.take("labels", default: [String: String]()) {
            guard name.isLegacyLabelName else {
                throw map.error("labels", "invalid label name \"\(name)\" in route labels; use letters, digits and _")
            }
            route.labels[name] = text
        }
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
            let found = try map.takeMatchers(matchers: "matchers", equal: "match", regular: "match_re", mode: mode)
            (route.matchers, texts) = (found.map(\.matcher), found.map(\.text))
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
        for name in names where !mode.takes(labelName: name) {
            throw map.error("group_by", "invalid label name \"\(name)\" in group_by list; \(mode.cure)")
        }
        (route.groupBy, route.groupsByAll) = (Set(names), false)
    }

    private func readIntervals(_ map: SettingsMap, _ key: String) throws(SettingsError) -> [String] {
        let names = try map.take(key, default: [String]())
        for name in names where !intervals.contains(name) {
            let near = name.nearest(among: intervals).map { "did you mean '\($0)'?" }
            throw map.error(
                key,
                "undefined time interval \"\(name)\" used in route; \(near ?? "define it under 'time_intervals'")")
        }
        return names
    }
}

extension SettingsMap {
    /// Matchers of the newer and both older forms, in the order of Alertmanager's keys, each with its text in them.
    func takeMatchers(
        matchers: String, equal: String, regular: String, mode: MatcherMode
    ) throws(SettingsError) -> [(matcher: Matcher, text: String)] {
        var found: [(matcher: Matcher, text: String)] = []
        for item in try takeList(matchers) {
            do {
                found += try mode.matchers(try item.text()).map { ($0, $0.alertmanagerText) }
            } catch let failure as MatcherParser.Failure {
                throw item.error("\(matchers): \(failure)")
            } catch let error as SettingsError {
                throw error
            } catch {
                throw item.error("\(matchers): \(error)")
            }
        }
        for (name, value) in try take(equal, default: [String: String]()) {
            guard name.isLegacyLabelName else { throw badName(name, equal) }
            let matcher = Matcher(name, equals: value)
            found.append((matcher, matcher.alertmanagerText))
        }
        if let map = try takeMap(regular), let empty = map.keys.first(where: { !map.has($0) }) {
            throw map.error(empty, "no regular expression for the label \(empty); write one")
        }
        for (name, value) in try take(regular, default: [String: String]()) {
            guard name.isLegacyLabelName else { throw badName(name, regular) }
            do {
                let matcher = try Matcher(name, .matches, value, dotMatchesLineEnd: false)
                let shown = try Matcher(name, .matches, "^(?:\(value))$")
                found.append((matcher, shown.alertmanagerText))
            } catch {
                throw self.error(regular, "\(name): \(error)")
            }
        }
        let order: [Matcher.Operation] = [.equal, .notEqual, .matches, .matchesNot]
        found.sort { one, other in
            if one.matcher.name != other.matcher.name { return one.matcher.name.isBefore(other.matcher.name) }
            if one.matcher.value != other.matcher.value { return one.matcher.value.isBefore(other.matcher.value) }
            let places = (order.firstIndex(of: one.matcher.operation), order.firstIndex(of: other.matcher.operation))
            return (places.0 ?? 0) < (places.1 ?? 0)
        }
        return found
    }

    private func badName(_ name: String, _ key: String) -> SettingsError {
        error(key, "invalid label name \"\(name)\"; use 'matchers' for such names")
    }
}
