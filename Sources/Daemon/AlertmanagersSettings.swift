internal import Basics
internal import Model
internal import Notifying
internal import Scraping
internal import Settings
internal import Transport

extension AlertmanagerPeer {
    /// Reads `alerting`: who is told of our rules' alerts beside the receivers of this file.
    static func all(from map: SettingsMap) throws(SettingsError) -> [AlertmanagerPeer] {
        let common = try RelabelRule.read("alert_relabel_configs", from: map)
        var peers: [AlertmanagerPeer] = []
        for part in try map.takeMaps("alertmanagers") {
            let scheme = try part.take("scheme", default: "http")
            guard ["http", "https"].contains(scheme) else { throw part.error("scheme", "must be http or https") }
            let version = try part.take("api_version", default: "v2")
            guard version == "v2" else {
                throw part.error("api_version", "must be v2; Alertmanager has no v1 any more")
            }
            let path = try part.take("path_prefix", default: "/").split(separator: "/").joined(separator: "/")
            let timeout = try part.takeDuration("timeout", default: 10_000)
            let rules = common + (try RelabelRule.read("alert_relabel_configs", from: part))
            try part.refuse(
                part.keys.filter { $0.hasSuffix("_sd_configs") || $0 == "relabel_configs" }, "use static_configs")
            let http = try HTTPClientSettings(from: part)
            for group in try part.takeMaps("static_configs") {
                _ = try group.take("labels", default: [String: String]())
                for target in try group.take("targets", default: [String]()) {
                    guard !target.contains("/") else {
                        throw group.error(
                            "targets", "'\(target)' must be HOST:PORT; scheme and path have keys of their own")
                    }
                    var peer = AlertmanagerPeer(url: "\(scheme)://\(target)\(path.isEmpty ? "" : "/\(path)")")
                    (peer.timeout, peer.http, peer.relabelRules) = (timeout, http, rules)
                    peers.append(peer)
                }
                try group.finish()
            }
            try part.finish()
        }
        try map.finish()
        return peers
    }
}
