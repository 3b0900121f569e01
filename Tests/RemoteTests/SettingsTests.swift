import Basics
import Model
import Settings
import Testing
import Transport

@testable import Remote

@Suite struct SettingsTests {
    private func read(_ yaml: String) throws -> RemoteWriteSettings {
        try RemoteWriteSettings(from: SettingsDocument(Array(yaml.utf8), file: "v.yaml").map(), rules: [])
    }

    @Test("Prometheus' keys are read, with its defaults") func reads() throws {
        let settings = try read(
            """
            url: https://far.example.org/api/v1/push
            name: far
            remote_timeout: 7s
            headers: {X-Scope-OrgID: "7"}
            send_exemplars: true
            protobuf_message: prometheus.WriteRequest
            authorization: {credentials: x}
            tls_config: {insecure_skip_verify: true}
            proxy_url: http://proxy:1
            queue_config: {capacity: 5, max_shards: 4, min_shards: 2, max_samples_per_send: 3, batch_send_deadline: 1s,
              min_backoff: 10ms, max_backoff: 1m, retry_on_http_429: false, sample_age_limit: 1h}
            metadata_config: {send: false, send_interval: 2m, max_samples_per_send: 9}
            """)
        #expect(settings.peer.name == "far" && settings.peer.timeout == 7000 && settings.sendsExemplars)
        #expect(settings.peer.headers == [HTTPHeader("X-Scope-OrgID", "7")])
        #expect(settings.peer.http.options.insecureSkipVerify && settings.peer.http.options.proxy == "http://proxy:1")
        let queue = settings.queue
        #expect((queue.capacity, queue.maximumShards, queue.minimumShards, queue.samplesPerSend) == (5, 4, 2, 3))
        #expect((queue.deadline, queue.minimumBackoff, queue.maximumBackoff) == (1000, 10, 60_000))
        #expect(!queue.retriesLimited && queue.ageLimit == 3_600_000)
        #expect(!settings.metadata.isSent && settings.metadata.interval == 120_000 && settings.metadata.perSend == 9)
        let plain = try read("url: http://far/write")
        #expect(plain.peer.name.count == 6 && plain.peer.timeout == 30_000 && plain.queue == .init())
        #expect(plain.metadata == .init() && !plain.sendsExemplars)
        #expect(try read("url: http://far/other").peer.name != plain.peer.name)
    }

    @Test(
        "what is wrong or not offered is refused with its place and the cure",
        arguments: [
            ("{}", "v.yaml:1:1: url is missing"), ("url: far", "v.yaml:1:6: url: is no address; write http"),
            ("url: 'http://'", "url: is no address"), ("url: ftp://far", "url: is no address"),
            ("url: 'http://f r'", "url: is no address"), ("url: http://f\nurll: 1", "did you mean 'url'"),
            ("url: http://f\nsigv4: {region: x}", "sigv4 is not offered; use authorization"),
            ("url: http://f\nazuread: {cloud: x}", "azuread is not offered"),
            ("url: http://f\ngoogle_iam: {a: x}", "google_iam is not offered"),
            ("url: http://f\nprotobuf_message: io.prometheus.write.v2.Request", "is not offered; leave it out"),
            ("url: http://f\nprotobuf_message: x", "'x' is no message"),
            ("url: http://f\nsend_native_histograms: true", "send_native_histograms: is not offered"),
            ("url: http://f\nround_robin_dns: true", "round_robin_dns: is not offered"),
            ("url: http://f\nheaders: {Authorization: x}", "Authorization is a header of its own meaning"),
            ("url: http://f\nheaders: {'X y': x}", "'X y' is no header's name"),
            ("url: http://f\nremote_timeout: 0s", "remote_timeout: must be above 0"),
            ("url: http://f\nqueue_config: {capacity: 0}", "capacity: is out of bounds; write a number from 1 to"),
            ("url: http://f\nqueue_config: {min_shards: 9, max_shards: 4}", "min_shards: is above max_shards"),
            ("url: http://f\nqueue_config: {min_backoff: 9s}", "min_backoff: is above max_backoff, 5s"),
            ("url: http://f\nmetadata_config: {send_interval: 0s}", "send_interval: must be above 0"),
            ("url: http://f\nbasic_auth: {username: a}\nauthorization: {credentials: b}", "only one of basic_auth"),
        ])
    func refuses(yaml: String, message: String) {
        #expect {
            try read(yaml)
        } throws: { error in
            "\(error)".contains(message)
        }
    }

    private func sources(_ yaml: String) throws -> [RemotePeer] {
        try RemotePeer.querySources(from: SettingsDocument(Array("query_sources: \(yaml)".utf8), file: "v.yaml").map())
    }

    @Test("query sources have names, and no slash at their end") func querySources() throws {
        let found = try sources("[{name: a, url: 'http://a/x/', timeout: 3s}, {name: b, url: 'https://b'}]")
        #expect(found.map(\.url) == ["http://a/x", "https://b"] && found.map(\.timeout) == [3000, 10_000])
        let bare = try #require(RemotePeer(address: "https://u:hunter22@c/"))
        #expect(bare.name == "https://c" && bare.url == "https://u:hunter22@c" && bare.timeout == 10_000)
        #expect(RemotePeer(address: "mimir") == nil)
    }

    @Test(
        "a source that cannot be told apart or asked is refused",
        arguments: [
            ("[{url: 'http://a'}]", "name is missing"), ("[{name: local, url: 'http://a'}]", "give it another"),
            ("[{name: http-a, url: 'http://a'}]", "give it another"), ("[{name: a}]", "url is missing"),
            ("[{name: a, url: 'http://a'}, {name: a, url: 'http://b'}]", "'a' is the name of two sources"),
            ("[{name: a, url: 'http://a', timeout: 2m}]", "timeout: must be 1m at the most"),
            ("[{name: a, url: 'http://a', tmeout: 2m}]", "did you mean 'timeout'"),
        ])
    func refusesSources(yaml: String, message: String) {
        #expect {
            try sources(yaml)
        } throws: { error in
            "\(error)".contains(message)
        }
    }
}
