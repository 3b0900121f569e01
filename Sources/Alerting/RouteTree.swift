public import Basics
public import Model

/// Where alerts go: Alertmanager's routing tree, flattened, parents before children.
public struct RouteTree: Sendable, Hashable {
    /// The nodes; the root is the first.
    public private(set) var routes: [Route]

    /// A tree whose root takes everything for one receiver, with Alertmanager's defaults.
    public init(receiver: String) { routes = [Route(receiver: receiver)] }

    init(_ routes: [Route]) { self.routes = routes }

    /// The routes that take an alert: depth first; a matched child stops its siblings unless it says `continue`; a
    /// node takes what none of its children takes.
    public func matches(_ labels: Labels) -> [Route] { places(labels).map { routes[$0] } }

    /// The same by their places in `routes`.
    func places(_ labels: Labels) -> [Int] {
        var found: [Int] = []
        _ = visit(0, labels, &found)
        return found
    }

    private func visit(_ index: Int, _ labels: Labels, _ found: inout [Int]) -> Bool {
        guard routes[index].matchers.allSatisfy({ $0.matches(labels) }) else { return false }
        let before = found.count
        for child in routes[index].children {
            if visit(child, labels, &found), !routes[child].continues { break }
        }
        if found.count == before { found.append(index) }
        return true
    }
}

/// One node with all that it inherited.
public struct Route: Sendable, Hashable {
    /// Alertmanager's key: the matchers of the path, `{}/{severity="critical"}`.
    public var key = "{}"
    /// Unique in the tree: the key with each node's index among its siblings.
    public var id = "{}"
    /// All of them must hold.
    public var matchers: [Matcher] = []
    /// Whose channels are told.
    public var receiver: String
    /// The labels that alerts of one group have in common.
    public var groupBy: Set<String> = []
    /// Whether every label counts, `group_by: ['...']`.
    public var groupsByAll = false
    /// How long a new group waits for more alerts. Default: 30 s.
    public var groupWait: Milliseconds = 30_000
    /// How long a group waits between two flushes. Default: 5 min.
    public var groupInterval: Milliseconds = 300_000
    /// After what time an unchanged group is told again; looked at in flushes only. Default: 4 h.
    public var repeatInterval: Milliseconds = 14_400_000
    /// Names of time intervals: within the first nothing is told, outside the second neither. Not inherited.
    public var muteIntervals: [String] = [], activeIntervals: [String] = []
    /// Labels for the notifications: templates. Inherited.
    public var labels: [String: String] = [:]
    /// Whether later siblings are tried too.
    public var continues = false
    /// Places in `RouteTree.routes`.
    public var children: [Int] = []

    init(receiver: String) { self.receiver = receiver }

    /// The labels that make an alert's group.
    public func groupLabels(of labels: Labels) -> Labels { groupsByAll ? labels : labels.keeping(groupBy) }

    /// Alertmanager's group key, `{}/{severity="critical"}:{alertname="X"}`.
    public func groupKey(_ groupLabels: Labels) -> String { "\(key):\(groupLabels.alertmanagerText)" }
}

extension Labels {
    /// As Alertmanager prints a label set: `{a="1", b="2"}`.
    public var alertmanagerText: String {
        "{" + sorted.map { "\($0.name)=\($0.value.goQuoted)" }.joined(separator: ", ") + "}"
    }
}
