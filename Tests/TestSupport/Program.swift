import Foundation

/// An outside program, or the daemon's own binary, run to its end.
public struct Program {
    public var path: String
    public struct Outcome {
        public var status: Int32
        public var output: String
        public var errors: String
    }

    /// A program in the PATH, nil when it is not installed.
    public static func installed(_ name: String) -> Program? {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        let found = folders.map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        return found.map { Program(path: $0) }
    }

    /// The `vedette` that was built with these tests; it stands beside the test bundle.
    public static var vedette: Program {
        var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        for argument in CommandLine.arguments where argument.contains(".xctest") {
            folder = URL(fileURLWithPath: argument).deletingLastPathComponent()
        }
        while folder.path != "/", !FileManager.default.isExecutableFile(atPath: folder.appending(path: "vedette").path)
        {
            folder = folder.deletingLastPathComponent()
        }
        return Program(path: folder.appending(path: "vedette").path)
    }

    public static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    public func run(_ arguments: [String], input: String = "", in folder: String = Program.root) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        let directory = FileManager.default.temporaryDirectory.appending(path: "vedette-run-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        // Files, not pipes: nothing can fill up and block.
        let (inputFile, outputFile, errorFile) = (
            directory.appending(path: "in"), directory.appending(path: "out"), directory.appending(path: "err")
        )
        try Data(input.utf8).write(to: inputFile)
        for file in [outputFile, errorFile] { try Data().write(to: file) }
        process.standardInput = try FileHandle(forReadingFrom: inputFile)
        process.standardOutput = try FileHandle(forWritingTo: outputFile)
        process.standardError = try FileHandle(forWritingTo: errorFile)
        try process.run()
        process.waitUntilExit()
        return Outcome(
            status: process.terminationStatus,
            output: String(decoding: try Data(contentsOf: outputFile), as: UTF8.self),
            errors: String(decoding: try Data(contentsOf: errorFile), as: UTF8.self))
    }
}

/// A folder that goes with the test.
public final class Folder {
    public let path: String

    public init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "vedette-test-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    public func put(_ name: String, _ text: String) throws -> String {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        return "\(path)/\(name)"
    }
}
