import Basics
import TestSupport
import Testing

@testable import Templates

/// What a notification's templates see.
@Suite struct NotificationDataTests {
    @Test("label sets print and give their names in order") func labelSets() throws {
        let data = NotificationData(
            receiver: "r", alerts: [], groupLabels: ["d": "D", "b": "B", "alertname": "x", "a": "A"], externalURL: "")
        for (text, expected) in [
            ("{{ .GroupLabels.SortedPairs.Names }}", "[alertname a b d]"),
            ("{{ .GroupLabels }}", "alertname=x, a=A, b=B, d=D"), ("{{ .Status }}", "resolved"),
            ("{{ .GroupLabels.nothing }}|{{ len .GroupLabels }}", "|4"),
            ("{{ range $name, $value := .GroupLabels }}{{ $name }}{{ $value }} {{ end }}", "aA alertnamex bB dD "),
        ] {
            let template = try Template(parsing: text, name: "", functions: .alertmanager)
            #expect(try template.render(.object(data)) == expected, "\(text)")
        }
    }

    @Test(
        "moments in Go's layouts, there and back",
        arguments: [
            ("Mon Jan _2 15:04:05 2006", "Wed Nov 25 03:04:05 2026"), ("02.01.06 3:04pm", "25.11.26 3:04am"),
            ("Monday, 02-Jan-06 15:04:05 MST", "Wednesday, 25-Nov-26 03:04:05 UTC"),
            ("2006-01-02T15:04:05.000Z07:00", "2026-11-25T03:04:05.060Z"), ("2006-002", "2026-329"),
            ("Jan 2, 2006 at 15:04:05.999", "Nov 25, 2026 at 03:04:05.06"), ("January 03 PM", "November 03 AM"),
        ])
    func layouts(layout: String, expected: String) throws {
        let moment = try #require(Timestamp(rfc3339: "2026-11-25T03:04:05.060Z"))
        #expect(GoTime.format(ZonedTime(moment: moment), layout) == expected)
        let read = try GoTime.parse(expected, layout)
        #expect(GoTime.format(read, layout) == expected)
    }
}
