public import Basics
internal import Settings

/// Who is told when a receiver cannot be reached, and how long that is waited for.
public struct Fallback: Sendable, Hashable {
    /// The other receiver's name.
    public var receiver: String
    /// How long a page may wait, from its decision, until it is handed over; nil: failures alone count, `0s` in the
    /// file. Default: 5 min, nil when `failures` is given.
    public var after: Milliseconds? = 300_000
    /// After how many failed tries it is handed over, should that be sooner; nil: the time alone counts. Default: nil.
    public var failures: Int?

    /// The defaults.
    public init(receiver: String) { self.receiver = receiver }

    init(from map: SettingsMap) throws(SettingsError) {
        receiver = try map.require("receiver")
        failures = try map.take("failures")
        if let failures, failures < 1 { throw map.error("failures", "must be 1 or more; leave it out for no bound") }
        after = try map.takeDuration("after") ?? (failures == nil ? after : 0)
        if after == 0 { after = nil }
        guard after != nil || failures != nil else {
            throw map.error("after", "must be above 0 without 'failures'; the default is 5m")
        }
        try map.finish()
    }
}

extension NotifyingSettings {
    /// Refuses a fallback that reaches nobody: unknown, without channels, or one that comes back to its beginning.
    static func check(_ receivers: [String: Receiver], _ maps: [String: SettingsMap]) throws(SettingsError) {
        for (name, map) in maps.sorted(by: { $0.key < $1.key }) {
            guard let receiver = receivers[name], let fallback = receiver.fallback else { continue }
            guard !receiver.channels.isEmpty else {
                throw map.error("fallback", "'\(name)' has no channel that could fail; leave the fallback out")
            }
            guard let other = receivers[fallback.receiver] else {
                throw map.error("fallback", "no receiver is called '\(fallback.receiver)'; name one of 'receivers'")
            }
            guard !other.channels.isEmpty else {
                throw map.error("fallback", "'\(other.name)' has no channels and would tell nobody; name another one")
            }
            var way = [name]
            var next = Optional(fallback.receiver)
            while let step = next {
                guard !way.contains(step) else {
                    let text = (way + [step]).joined(separator: " → ")
                    throw map.error("fallback", "leads in a circle, \(text); end it at a receiver without a fallback")
                }
                way.append(step)
                next = receivers[step]?.fallback?.receiver
            }
        }
    }
}
