import Basics
import Testing

@testable import Systemd

@Suite struct ServiceStateTests {
    @Test("each state is told in sd_notify's lines") func lines() {
        #expect(ServiceState.ready.lines == ["READY=1"])
        #expect(ServiceState.stopping.lines == ["STOPPING=1"])
        #expect(ServiceState.alive.lines == ["WATCHDOG=1"])
        #expect(ServiceState.extending(5000).lines == ["EXTEND_TIMEOUT_USEC=5000000"])
    }

    @Test("a reload tells its moment in the same message, in microseconds") func reloading() {
        #expect(
            ServiceState.reloading(uptimeNanoseconds: 12_345_678_901).lines
                == ["RELOADING=1", "MONOTONIC_USEC=12345678"])
    }

    @Test("a status is one line: what stands in it adds no line to the message") func status() {
        #expect(ServiceState.status("2 down\nREADY=1").lines == ["STATUS=2 down READY=1"])
        #expect(ServiceState.status("2\0down").lines == ["STATUS=2 down"])
        // systemd takes 4 KiB at the most.
        #expect(ServiceState.status(String(repeating: "\u{1F514}", count: 9000)).lines[0].utf8.count < 3000)
    }

    @Test("an event has its kind's id, the runbook as documentation, and names that journald takes") func journal() {
        let event = LogEvent(
            .warning, "alert-firing", "WebSocketLatencyHigh fires",
            [("runbook", "https://runbooks/WebSocketLatencyHigh"), ("alert-name", "x=y"), ("empty", "")])
        let fields = JournalLog.fields(of: event)
        #expect(fields.contains("MESSAGE=WebSocketLatencyHigh fires"))
        #expect(fields.contains("PRIORITY=4"))
        #expect(fields.contains("DOCUMENTATION=https://runbooks/WebSocketLatencyHigh"))
        #expect(fields.contains("VEDETTE_ALERT_NAME=x=y"))
        #expect(!fields.contains { $0.hasPrefix("VEDETTE_EMPTY") })
        let id = JournalLog.messageID(of: "alert-firing")
        #expect(fields.contains("MESSAGE_ID=\(id)"))
        #expect(id.count == 32 && id.allSatisfy { $0.isHexDigit && !$0.isUppercase })
        #expect(id != JournalLog.messageID(of: "alert-resolved"))
    }
}
