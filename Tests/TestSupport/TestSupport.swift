public import Basics

/// A moment in tests: seconds since the Unix epoch.
public func at(_ seconds: Double) -> Timestamp { Timestamp(seconds: seconds) }
