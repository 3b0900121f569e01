internal import Basics
public import Model

/// Counts of all scrape loops.
public final class ScrapeFigures: Sendable, MetricsSource {
    let scrapes = Counter(), missed = Counter(), samples = Counter(), parsedLines = Counter()
    let refusedSeries = Counter(), duplicates = Counter(), outOfOrder = Counter(), outOfBounds = Counter()
    let failures = LabelledCounter(known: ScrapeFailure.allCases.map(\.rawValue))
    let checks = Counter(), failedChecks = Counter()
    let checkFailures = LabelledCounter(known: HealthReason.allCases.map(\.rawValue))
    let discoveryFailures = Counter()

    /// All zero.
    public init() {}

    /// See `MetricsSource`.
    public func metrics() -> [MetricFamily] {
        let counters: [(String, String, Counter)] = [
            ("scrapes_total", "Fetches of targets that ended.", scrapes),
            (
                "scrapes_missed_total",
                "Slots that passed without a fetch, since the one before still ran or the machine was late.", missed
            ),
            ("scrape_samples_total", "Samples read from pages.", samples),
            ("scrape_lines_parsed_total", "Lines that were not on the target's previous page.", parsedLines),
            ("scrape_series_dropped_total", "Lines whose series the store refused at its limit.", refusedSeries),
            (
                "scrape_samples_duplicate_total", "Scraped samples refused: another value at the same moment.",
                duplicates
            ),
            (
                "scrape_samples_out_of_order_total", "Scraped samples refused: before the newest of the series.",
                outOfOrder
            ),
            ("scrape_samples_out_of_bounds_total", "Scraped samples refused: too old or too far ahead.", outOfBounds),
            ("health_checks_total", "Health checks that ended.", checks),
            ("health_checks_failed_total", "Health checks with an expectation that was not fulfilled.", failedChecks),
            (
                "discovery_failures_total", "Discovery files that could not be read; their last good content stays.",
                discoveryFailures
            ),
        ]
        let failed = failures.values.map { (Labels(["reason": $0.name]), Double($0.count)) }
        let unhealthy = checkFailures.values.map { (Labels(["reason": $0.name]), Double($0.count)) }
        return counters.map { MetricFamily(.counter, "vedette_\($0)", $1, $2.value) }
            + [MetricFamily(.counter, "vedette_scrapes_failed_total", "Fetches that failed, by reason.", failed)]
            + [
                MetricFamily(
                    .counter, "vedette_health_check_failures_total", "Reasons for which health checks failed.",
                    unhealthy)
            ]
    }
}

/// Why a scrape failed.
enum ScrapeFailure: String, CaseIterable {
    case unreachable, lookup, interrupted, timeout, status, bodyLimit = "body_limit", format, sampleLimit =
        "sample_limit"
    case request, contentType = "content_type", labelLimit = "label_limit", targetLimit = "target_limit"
}
