public import Basics
internal import Model

/// The settings in force in Alertmanager's grammar, as amtool reads them from the API.
extension AlertingSettings {
    /// `route`.
    public var effectiveRoute: JSON { route(0, isRoot: true) }

    private func route(_ place: Int, isRoot: Bool) -> JSON {
        let route = tree.routes[place]
        var members: [JSON.Member] = [JSON.Member("receiver", .string(route.receiver))]
        func add(_ name: String, _ texts: [String]) {
            if !texts.isEmpty { members.append(JSON.Member(name, .array(texts.map { .string($0) }))) }
        }
        add("group_by", route.groupsByAll ? ["..."] : route.groupBy.sorted())
        if !isRoot { add("matchers", route.matchers.map(\.alertmanagerText)) }
        add("mute_time_intervals", route.muteIntervals)
        add("active_time_intervals", route.activeIntervals)
        members.append(JSON.Member("continue", .bool(route.continues)))
        if !route.children.isEmpty {
            members.append(JSON.Member("routes", .array(route.children.map { self.route($0, isRoot: false) })))
        }
        for (name, length) in [
            ("group_wait", route.groupWait), ("group_interval", route.groupInterval),
            ("repeat_interval", route.repeatInterval),
        ] { members.append(JSON.Member(name, .string(DurationText.format(length)))) }
        return .object(members)
    }

    /// `inhibit_rules`.
    public var effectiveInhibitRules: JSON {
        .array(
            inhibitRules.map { rule in
                var members: [JSON.Member] = []
                for (name, texts) in [
                    ("source_matchers", rule.sources.map(\.alertmanagerText)),
                    ("target_matchers", rule.targets.map(\.alertmanagerText)), ("equal", rule.equal),
                ] where !texts.isEmpty { members.append(JSON.Member(name, .array(texts.map { .string($0) }))) }
                return .object(members)
            })
    }

    /// `time_intervals`, when there are any.
    public var effectiveIntervals: [JSON.Member] {
        guard !intervals.isEmpty else { return [] }
        let list = intervals.sorted { $0.key < $1.key }.map { name, intervals -> JSON in
            ["name": .string(name), "time_intervals": .array(intervals.map(\.json))]
        }
        return [JSON.Member("time_intervals", .array(list))]
    }
}
