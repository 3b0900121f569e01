public import Basics

/// Why the store does not open, or does not delete.
public enum StorageError: Error, Sendable, CustomStringConvertible {
    /// Another process has the directory.
    case locked(directory: String)
    /// The file system refuses.
    case file(FileError)
    /// A block cannot be read or written: the file, the place, the reason.
    case block(String)
    /// Another import into the directory is under way.
    case importing(String)
    /// A daemon writes to the directory that is to be imported.
    case inUse(String)
    /// The log of earlier runs is not read to its end.
    case replaying
    /// The log cannot be written, and what is not in it would be back after a restart.
    case logRefused

    /// One sentence with the cure.
    public var description: String {
        switch self {
        case .locked(let directory):
            "\(directory): another daemon uses this data directory; stop it or choose another --data-dir"
        case .file(let error):
            "\(error.path): cannot \(error.operation): \(error.reason); check the directory's owner, mode and free space"
        case .block(let text): "\(text); make room or repair the disk and try again"
        case .importing(let directory):
            "\(directory): another import into this directory is under way; wait for its end"
        case .inUse(let directory):
            "\(directory): a running daemon uses this directory; stop it, or import a snapshot of it"
        case .replaying: "the log of earlier runs is still being read; try again when it is done"
        case .logRefused:
            "the disk refuses the log, and a restart may bring back what is deleted; make room and try again"
        }
    }
}
