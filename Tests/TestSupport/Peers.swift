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

    /// A file there; nil, told on the console, when it is not there.
    public static func file(_ name: String, file: String = #filePath) -> URL? {
        let url = folder(name, file: file)
        if url == nil { print("skipped: \(name): peers' data is not there; set VEDETTE_PEERS to its folder") }
        return url
    }

    /// The bytes of a file.
    public static func bytes(_ url: URL) throws -> [UInt8] { Array(try Data(contentsOf: url)) }

    /// The text of a file.
    public static func text(_ url: URL) throws -> String { try String(contentsOf: url, encoding: .utf8) }
}
