public import Basics

/// Why the store does not open.
public enum StorageError: Error, Sendable, CustomStringConvertible {
    /// Another process has the directory.
    case locked(directory: String)
    /// The file system refuses.
    case file(FileError)

    /// One sentence with the cure.
    public var description: String {
        switch self {
        case .locked(let directory):
            "\(directory): another daemon uses this data directory; stop it or choose another --data-dir"
        case .file(let error):
            "\(error.path): cannot \(error.operation): \(error.reason); check the directory's owner, mode and free space"
        }
    }
}
