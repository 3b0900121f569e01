internal import Basics
public import Exposition
public import Model

/// What a job says of its targets' pages.
public struct PageSettings: Sendable, Hashable {
    /// `honor_labels`: whether a scraped label wins over the target's; else it becomes `exported_NAME`.
    public var honorsLabels = false
    /// `honor_timestamps`: whether a timestamp on the page counts.
    public var honorsTimestamps = true
    /// `track_timestamps_staleness`: whether a series with timestamps of its own is marked stale when it goes.
    public var tracksTimestamped = false
    /// `scrape_protocols`, what is asked for, the best first.
    public var protocols: [ScrapeProtocol] = [.openMetrics1, .openMetrics0, .text1, .text0]
    /// `fallback_scrape_protocol`: how a page without a usable `Content-Type` is read. Without it that scrape fails.
    public var fallback: ScrapeProtocol?
    /// `metric_name_validation_scheme: legacy`: names beyond `[a-zA-Z_:][a-zA-Z0-9_:]*` fail the scrape.
    public var isLegacy = false
    /// `metric_name_escaping_scheme`: how the target is to write names that not everybody reads.
    public var escaping = EscapingScheme.allowUTF8
    /// `metric_relabel_configs`.
    public var rules: [RelabelRule] = []
    /// `sample_limit`: a page with more samples behind `rules` fails. The default is 500,000, as 0 is.
    public var sampleLimit = ScrapeJob.defaultSampleLimit
    /// `label_limit`, `label_name_length_limit`, `label_value_length_limit`, lengths in bytes: a series beyond one of
    /// them fails the scrape. 0: no limit but that of a page's line.
    public var labelLimit = 0, labelNameLimit = 0, labelValueLimit = 0
    /// `extra_scrape_metrics`: three more series about the target.
    public var hasExtraMetrics = false

    /// Prometheus' defaults.
    public init() {}
}

extension PageSettings {
    /// Lays the target's labels over a line's, relabels them and holds them to the limits; false where the series is
    /// dropped.
    func complete(_ scraped: inout [Label], with target: Labels) throws(PageError) -> Bool {
        for label in scraped where label.value.utf8.count + label.name.utf8.count > ScrapeJob.labelBytesLimit {
            throw PageError(
                .labelLimit, column: 1,
                "the label '\(label.name.prefix(64))' is longer than \(ScrapeJob.labelBytesLimit) bytes")
        }
        merge(&scraped, with: target)
        if !rules.isEmpty {
            guard RelabelRule.apply(rules, to: &scraped) else { return false }
            // Without a name there is nothing to store it under.
            guard let name = scraped.first(where: { $0.name == Labels.nameLabel }), !name.value.isEmpty else {
                throw PageError(
                    .format, column: 1, "metric_relabel_configs leave the series no name; keep __name__, or drop it")
            }
        }
        try check(scraped)
        return true
    }

    private func merge(_ scraped: inout [Label], with target: Labels) {
        for label in target.sorted {
            if let index = scraped.firstIndex(where: { $0.name.isSame(as: label.name) }) {
                if honorsLabels { continue }
                var name = "exported_" + label.name
                while scraped.contains(where: { $0.name.isSame(as: name) }) || !target[name].isEmpty {
                    name = "exported_" + name
                }
                scraped[index].name = name
            }
            scraped.append(label)
        }
    }

    private func check(_ labels: [Label]) throws(PageError) {
        if labelLimit > 0, labels.count > labelLimit {
            throw PageError(
                .labelLimit, column: 1,
                "the series has \(labels.count) labels, above label_limit, \(labelLimit); raise it or drop some")
        }
        guard isLegacy || labelNameLimit > 0 || labelValueLimit > 0 else { return }
        for label in labels {
            let shown = label.name.prefix(64)
            if labelNameLimit > 0, label.name.utf8.count > labelNameLimit {
                throw PageError(
                    .labelLimit, column: 1,
                    "the label's name '\(shown)' is longer than label_name_length_limit, \(labelNameLimit)")
            }
            if labelValueLimit > 0, label.value.utf8.count > labelValueLimit {
                throw PageError(
                    .labelLimit, column: 1,
                    "the value of the label '\(shown)' is longer than label_value_length_limit, \(labelValueLimit)")
            }
            let isName = label.name == Labels.nameLabel
            if isLegacy, !label.name.isLegacyLabelName || (isName && !label.value.isLegacyMetricName) {
                throw PageError(
                    .format, column: 1,
                    "the name '\(isName ? label.value.prefix(64) : shown)' is not allowed by "
                        + "metric_name_validation_scheme: legacy")
            }
        }
    }
}
