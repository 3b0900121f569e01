import Basics
import TestSupport

/// A JSON file of the peers' Alertmanager data; nil, told on the console, when there is none.
func alertmanagerJSON(_ name: String) throws -> JSON? {
    try alertmanagerYAML(name).map { try JSON(parsing: $0) }
}

/// A YAML file's text of the peers' Alertmanager data; nil, told on the console, when there is none.
func alertmanagerYAML(_ name: String) throws -> [UInt8]? {
    try Peers.file("alertmanager/\(name)").map(Peers.bytes)
}
