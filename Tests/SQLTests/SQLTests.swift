import Testing

@testable import SQL

@Suite struct SQLTests {}
