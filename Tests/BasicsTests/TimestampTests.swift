import Basics
import Testing

@Suite struct TimestampTests {
    @Test(
        "RFC 3339 both ways",
        arguments: [
            ("1970-01-01T00:00:00.000Z", 0), ("2026-11-20T03:04:05.678Z", 1_795_143_845_678),
            ("1969-12-31T23:59:59.999Z", -1), ("2024-02-29T12:00:00.000Z", 1_709_208_000_000),
        ])
    func roundTrip(text: String, milliseconds: Int64) {
        #expect(Timestamp(milliseconds: milliseconds).description == text)
        #expect(Timestamp(rfc3339: text)?.milliseconds == milliseconds)
    }

    @Test(
        "offsets and fractions are read",
        arguments: [
            ("2026-11-20T04:04:05+01:00", 1_795_143_845_000), ("2026-11-20T03:04:05.6789Z", 1_795_143_845_678),
        ])
    func offsets(text: String, milliseconds: Int64) {
        #expect(Timestamp(rfc3339: text)?.milliseconds == milliseconds)
    }

    @Test(
        "what is no RFC 3339 is refused",
        arguments: ["", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-20", "2026-11-20T00:00:00"])
    func refused(text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test(
        "durations in Prometheus' form",
        arguments: [
            ("15s", 15_000), ("1h30m", 5_400_000), ("0", 0), ("1d", 86_400_000), ("1y2w", 32_745_600_000),
            ("100ms", 100),
        ])
    func durations(text: String, expected: Milliseconds) {
        #expect(DurationText.parse(text) == expected)
    }

    @Test("a bad duration is refused", arguments: ["", "m", "1h1h", "5x", "1m1h", "-1s", "1.5h", "300y"])
    func badDurations(text: String) {
        #expect(DurationText.parse(text) == nil)
    }
}
