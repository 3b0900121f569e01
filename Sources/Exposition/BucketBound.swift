internal import Basics
public import Model

/// The bounds of classic histograms and summaries are numbers in texts: `le="1"` and `le="1.0"` are one series. On the
/// way in they get OpenMetrics' form.
///
/// - SeeAlso: Prometheus, `model/textparse/interface.go`, `normalizeFloatsInLabelValues`.
public enum BucketBound {
    /// Brings the bound among the labels of a sample below a TYPE line into its form; what is no number stays.
    public static func normalize(_ labels: inout [Label], of type: MetricType) {
        let name: String
        switch type {
        case .histogram: name = "le"
        case .summary: name = "quantile"
        default: return
        }
        guard let index = labels.firstIndex(where: { $0.name == name }),
            let bound = GoNumber.parse(labels[index].value)
        else { return }
        labels[index].value = text(bound)
    }

    /// A number as OpenMetrics writes it: `1.0`, `0.25`, `1e+06`, `+Inf`.
    public static func text(_ value: Double) -> String {
        let text = GoNumber.shortest(value)
        return value.isFinite && !text.utf8.contains(where: { $0 == 0x2E || $0 == 0x65 }) ? text + ".0" : text
    }
}
