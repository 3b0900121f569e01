public import Foundation

/// Other projects' test data, kept beside the repository and never in it.
public enum Peers {
    /// The folder `shared/peers` beside the package, or the one named by `VEDETTE_PEERS`; nil when there is none.
    public static func folder(_ name: String, file: String = #filePath) -> URL? {
        var candidates: [URL] = []
        if let path = ProcessInfo.processInfo.environment["VEDETTE_PEERS"] {
            candidates.append(URL(fileURLWithPath: path))
        }
        let root = URL(fileURLWithPath: file).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        candidates.append(root.deletingLastPathComponent().appendingPathComponent("shared/peers"))
        return candidates.map { $0.appendingPathComponent(name) }
            .first { FileManager.default.fileExists(atPath: $0.path) }
    }

    /// The text of a file.
    public static func text(_ url: URL) throws -> String { try String(contentsOf: url, encoding: .utf8) }
}
