import Basics
import Daemon
import Exposition
import Foundation
import Scraping
import Settings
import TestSupport
import Testing

/// Prometheus' own configuration files, as they are.
@Suite struct PrometheusConfigurationTests {
    /// Keys that are not offered, each with the good files that are refused for it; every other good file loads.
    private static let refused: [String: [String]] = [
        "azure_sd_configs": [
            "roundtrip"
        ],
        "convert_classic_histograms_to_nhcb": [
            "global_convert_classic_hist_to_nhcb",
            "local_convert_classic_hist_to_nhcb",
            "local_disable_convert_classic_hist_to_nhcb",
        ],
        "kubernetes_sd_configs": [
            "kubernetes_empty_apiserver",
            "kubernetes_kubeconfig_without_apiserver",
            "kubernetes_selectors_endpoints",
            "kubernetes_selectors_ingress",
            "kubernetes_selectors_node",
            "kubernetes_selectors_pod",
            "kubernetes_selectors_service",
        ],
        "otlp": [
            "otlp_allow_keep_identifying_resource_attributes",
            "otlp_allow_utf8",
            "otlp_convert_histograms_to_nhcb",
            "otlp_label_underscore_sanitization_defaults",
            "otlp_label_underscore_sanitization_disabled",
            "otlp_label_underscore_sanitization_enabled",
            "otlp_no_translation",
            "otlp_promote_scope_metadata",
            "otlp_sanitize_ignore_resource_attributes",
            "otlp_sanitize_promote_resource_attributes",
            "otlp_sanitize_resource_attributes_promote_all",
        ],
        "query_log_file": [
            "conf"
        ],
        "scrape_native_histograms": [
            "global_enable_scrape_native_hist",
            "global_enable_scrape_native_hist_and_scrape_protocols",
            "global_scrape_protocols_and_local_disable_scrape_native_hist",
            "local_disable_scrape_native_hist",
            "local_enable_scrape_native_hist",
            "local_enable_scrape_native_hist_and_scrape_protocols",
        ],
        "percentage": [
            "tsdb_retention_percentage_float"
        ],
        "xor2": [
            "tsdb_chunk_encoding_floats_xor2"
        ],
        "vultr_sd_configs": [
            "scrape_config_files_glob"
        ],
    ]
    /// Prometheus takes `localhost` for a scheme that it can never send to.
    private static let withoutScheme = ["remote_write_retry_on_rate_limit.good.yml"]
    /// Rule files that are not there: Prometheus looks for them later.
    private static let withoutFile = ["rules_abs_path.good.yml", "rules_abs_path_windows.good.yml"]

    private func load(_ url: URL) -> (settings: DaemonSettings?, problem: SettingsError?) {
        do throws(SettingsError) {
            return (
                try DaemonSettings(path: url.path, files: SystemFiles(), variables: { $0 == "TEST" ? "here" : nil }),
                nil
            )
        } catch {
            return (nil, error)
        }
    }

    @Test("each good file loads, or is refused by the name of the key that is not offered (peers)") func good() throws {
        guard let folder = Peers.file("prometheus/config") else { return }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
            $0.hasSuffix(".good.yml")
        }
        #expect(names.count == 54)
        for name in names.sorted() {
            let (_, problem) = load(folder.appendingPathComponent(name))
            let key = Self.refused.first { $0.value.contains(name.replacing(".good.yml", with: "")) }?.key
            if let key {
                #expect(
                    problem?.message.hasPrefix("\(key) is not offered; ") == true && (problem?.location.line ?? 0) > 0,
                    "\(name): \(problem?.description ?? "is read")")
            } else if Self.withoutScheme.contains(name) {
                #expect(problem?.message.hasPrefix("url: is no address; write http://") == true, "\(name)")
            } else if Self.withoutFile.contains(name) {
                #expect(problem?.message.hasPrefix("cannot be read: No such file") == true, "\(name)")
            } else {
                #expect(problem == nil, "\(name): \(problem?.description ?? "")")
            }
        }
        #expect(Set(Self.refused.values.joined()).isSubset(of: names.map { $0.replacing(".good.yml", with: "") }))
    }

    @Test("how names are checked and written follows from the file and from global (peers)") func names() throws {
        guard let folder = Peers.file("prometheus/config") else { return }
        let cases: [(String, isLegacy: Bool, EscapingScheme)] = [
            ("default_validation_mode", false, .allowUTF8), ("global_validation_mode", true, .dots),
            ("local_global_validation_mode", false, .dots), ("local_infer_escaping", true, .underscores),
            ("local_validation_mode", true, .values),
        ]
        for (name, isLegacy, escaping) in cases {
            let (settings, problem) = load(folder.appendingPathComponent("scrape_config_\(name).yml"))
            let job = try #require(settings?.jobs.first, "\(name): \(problem?.description ?? "")")
            #expect(job.page.isLegacy == isLegacy && job.page.escaping == escaping, "\(name)")
        }
    }

    @Test("each bad file is refused with place and cure (peers)") func bad() throws {
        guard let folder = Peers.file("prometheus/config") else { return }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".bad.yml") }
        #expect(names.count == 147)
        for name in names.sorted() {
            let (_, problem) = load(folder.appendingPathComponent(name))
            #expect(problem != nil, "\(name) is read")
            guard let problem else { continue }
            #expect(problem.location.line > 0 && problem.location.column > 0, "\(problem)")
            // What is wrong, and the cure or what was found there.
            #expect(problem.message.contains("; ") || problem.message.contains(", found "), "\(problem)")
        }
    }
}
