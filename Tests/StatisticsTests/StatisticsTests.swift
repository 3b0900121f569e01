import Testing

@testable import Statistics

@Suite struct StatisticsTests {}
