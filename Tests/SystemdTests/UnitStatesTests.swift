import Basics
import Systemd
import Testing

@Suite struct UnitStatesTests {
    @Test("where there is no bus, that is what is said, at once") func absent() {
        let states = BusUnitStates(clock: SystemClock(), address: "unix:path=/nonexistent/bus")
        let error = #expect(throws: UnitError.self) { try states.properties(of: "a.service", timeout: 1000) }
        #expect(
            error?.description
                == "there is no system bus here (No such file or directory); systemd's units cannot be looked at")
        #expect(error?.isTimeout == false)
    }
}
