import Basics
import Foundation

/// The folder of peers' data, which is no part of the repository; nil when it is not there.
private let peers: String? = {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    let candidates: [String?] = [
        ProcessInfo.processInfo.environment["VEDETTE_PEERS"],
        root.deletingLastPathComponent().appendingPathComponent("shared/peers").path,
    ]
    return candidates.compactMap(\.self).first { FileManager.default.fileExists(atPath: $0) }
}()

/// A JSON file of the peers' Alertmanager data; nil, told on the console, when there is none.
func alertmanagerJSON(_ name: String) throws -> JSON? {
    guard let peers else {
        print("skipped: \(name): peers' data is not there; set VEDETTE_PEERS to its folder")
        return nil
    }
    return try JSON(parsing: Array(try Data(contentsOf: URL(fileURLWithPath: "\(peers)/alertmanager/\(name)"))))
}

/// A YAML file's text of the peers' Alertmanager data; nil, told on the console, when there is none.
func alertmanagerYAML(_ name: String) throws -> [UInt8]? {
    guard let peers else {
        print("skipped: \(name): peers' data is not there; set VEDETTE_PEERS to its folder")
        return nil
    }
    return Array(try Data(contentsOf: URL(fileURLWithPath: "\(peers)/alertmanager/\(name)")))
}
