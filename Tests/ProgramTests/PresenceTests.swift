import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct PresenceTests {
    /// `make test` installs what the suites run; where it may, a suite that is skipped for want of it is a failure.
    @Test(
        "where programs can be installed, none is missing", .enabled(if: geteuid() == 0, "not root: it may be missing"))
    func present() {
        for name in ["promtool"] where FileManager.default.fileExists(atPath: "/usr/bin/apt-get") {
            #expect(Program.installed(name) != nil, "\(name) is missing; run: make setup-tests")
        }
    }
}
