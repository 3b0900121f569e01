import Testing

@testable import Workloads

@Suite struct WorkloadsTests {}
