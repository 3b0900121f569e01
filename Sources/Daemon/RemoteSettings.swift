internal import Model
internal import Remote
internal import Scraping
internal import Settings

extension RemoteWriteSettings {
    /// Reads `remote_write`, of the whole file.
    static func all(from map: SettingsMap) throws(SettingsError) -> [RemoteWriteSettings] {
        var all: [RemoteWriteSettings] = []
        for part in try map.takeMaps("remote_write") {
            let rules = try RelabelRule.read("write_relabel_configs", from: part)
            let one = try RemoteWriteSettings(from: part, rules: rules)
            guard !all.contains(where: { $0.peer.name == one.peer.name }) else {
                throw part.error("name", "'\(one.peer.name)' is the name of two remote stores; give each its own")
            }
            all.append(one)
        }
        return all
    }
}
