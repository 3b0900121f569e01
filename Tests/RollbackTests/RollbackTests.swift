import Testing

@testable import Rollback

@Suite struct RollbackTests {}
