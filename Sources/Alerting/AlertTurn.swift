public import Model

/// An alert that began to fire, or is over: for the log.
public struct AlertTurn: Sendable, Hashable {
    /// As it was told.
    public var alert: Alert
    /// Whether it began.
    public var isFiring: Bool

    /// So many are kept between two looks; what is beyond them is not logged.
    static let limit = 1000
}
