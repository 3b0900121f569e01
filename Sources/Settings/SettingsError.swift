public import Basics

/// A mistake in a file that a person wrote; reads `vedette.yaml:12:5: unknown key 'fro'; did you mean 'for'?`
public struct SettingsError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Where the mistake is.
    public var location: SourceLocation
    /// What is wrong and how to cure it. Never holds a secret's value.
    public var message: String

    /// A mistake by its parts.
    public init(_ location: SourceLocation, _ message: String) { (self.location, self.message) = (location, message) }

    /// `file:line:column: what; cure`.
    public var description: String { "\(location): \(message)" }
}
