internal import Basics
internal import Query
internal import Storage

extension API {
    /// What this server can do, under the names that Prometheus' answer has for it.
    func features() -> APIResponse {
        let options = context.engine.options
        var functions: [String: Bool] = [:]
        for function in Function.all.values {
            functions[function.name] = !function.isExperimental || options.allowsExperimental
        }
        var language = API.offered(
            "anchored at_modifier bool by duration_expr fill fill_left fill_right group_left group_right ignoring "
                + "negative_offset offset on per_query_lookback_delta per_step_stats smoothed subqueries without",
            not: "type_and_unit_labels")
        language["delayed_name_removal"] = options.delaysNameRemoval
        var interface = API.offered(
            "exclude_alerts label_values_match lifecycle query_stats query_warnings time_range_labels "
                + "time_range_series",
            not: "otlp_write_receiver search")
        interface["admin"] = context.allowsAdmin
        interface["remote_write_receiver"] = context.receiver() != nil
        var storage = API.offered("isolation", not: "native_histograms st_storage xor2_encoding")
        storage["exemplar_storage"] = context.storage?.keepsExemplars ?? false
        let categories: [String: [String: Bool]] = [
            "api": interface,
            "prometheus": API.offered("server_mode", not: "agent_mode auto_reload_config"),
            "promql": language,
            "promql_functions": functions,
            "promql_operators": API.offered(
                "!= !~ % * + - / < <= == =~ > >= @ ^ and atan2 avg bottomk count count_values group limit_ratio limitk "
                    + "max min or quantile stddev stdvar sum topk unless", not: "</ >/"),
            "rules": API.offered("keep_firing_for query_offset", not: "concurrent_rule_eval"),
            "scrape": API.offered(
                "extra_scrape_metrics", not: "start_timestamp_zero_ingestion type_and_unit_labels"),
            "service_discovery_providers": API.offered("dns file http static"),
            "templating_functions": API.offered(
                "args externalURL first graphLink humanize humanize1024 humanizeDuration humanizePercentage "
                    + "humanizeTimestamp label match now parseDuration pathPrefix query reReplaceAll safeHtml "
                    + "sortByLabel stripDomain stripPort strvalue tableLink title toDuration toLower toTime toUpper "
                    + "urlQueryEscape value"),
            "tsdb": storage,
        ]
        return .success(
            .object(
                categories.sorted { $0.key < $1.key }.map { name, features in
                    JSON.Member(
                        name,
                        .object(features.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .bool($0.value)) }))
                }))
    }

    private static func offered(_ names: String, not others: String = "") -> [String: Bool] {
        var features: [String: Bool] = [:]
        for name in names.split(separator: " ") { features[String(name)] = true }
        for name in others.split(separator: " ") { features[String(name)] = false }
        return features
    }
}
