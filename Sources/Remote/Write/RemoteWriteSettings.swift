public import Basics
public import Model
public import Settings
internal import Transport

/// An entry of `remote_write`: a store that all samples are sent to.
///
/// - SeeAlso: Prometheus, "Configuration", `<remote_write>`.
public struct RemoteWriteSettings: Sendable, Hashable {
    /// `queue_config`: how much is sent at once, and how often it is tried.
    public struct Queue: Sendable, Hashable {
        /// Samples that wait in one shard; the log is read no further while they do.
        public var capacity = 10_000
        /// How many requests may be under way at once.
        public var minimumShards = 1, maximumShards = 50
        /// Samples of one request.
        public var samplesPerSend = 2000
        /// A request that is not full goes out after so long.
        public var deadline: Milliseconds = 5000
        /// Between two tries, doubling.
        public var minimumBackoff: Milliseconds = 30, maximumBackoff: Milliseconds = 5000
        /// Whether 429 is tried again. Default: true; Prometheus' is false, and drops.
        public var retriesLimited = true
        /// Samples older than this are not sent; 0: all are.
        public var ageLimit: Milliseconds = 0

        /// The defaults.
        public init() {}
    }
    /// `metadata_config`: types, help and units of metrics.
    public struct Metadata: Sendable, Hashable {
        /// Whether they are sent, and how often. Default: each minute.
        public var isSent = true, interval: Milliseconds = 60_000
        /// Metrics of one request.
        public var perSend = 2000

        /// The defaults.
        public init() {}
    }

    /// Where the samples go.
    public var peer: RemotePeer
    /// `write_relabel_configs`, behind the external labels.
    public var rules: [RelabelRule]
    /// How much at once.
    public var queue = Queue()
    /// Types, help and units.
    public var metadata = Metadata()
    /// Whether exemplars are sent.
    public var sendsExemplars = false

    /// Settings by the peer, with the defaults.
    public init(peer: RemotePeer, rules: [RelabelRule] = []) { (self.peer, self.rules) = (peer, rules) }

    /// Reads one entry; `rules` are its `write_relabel_configs`, which another room reads.
    public init(from map: SettingsMap, rules: [RelabelRule]) throws(SettingsError) {
        try map.refuse(
            ["sigv4", "azuread", "google_iam"], "use authorization, basic_auth or oauth2, or a proxy that signs")
        if let message: String = try map.take("protobuf_message"), message != "prometheus.WriteRequest" {
            guard message == "io.prometheus.write.v2.Request" else {
                throw map.error("protobuf_message", "'\(message)' is no message; write prometheus.WriteRequest")
            }
            throw map.error(
                "protobuf_message", "\(message) is not offered; leave it out, every receiver takes version 1.0")
        }
        if try map.take("send_native_histograms", default: false) {
            throw map.error("send_native_histograms", "is not offered, none are stored; leave it out")
        }
        if try map.take("round_robin_dns", default: false) {
            throw map.error("round_robin_dns", "is not offered; leave it out, or name a balancer")
        }
        let url: String = try map.require("url")
        let given = try map.take("name", default: "")
        // Of an address alone, as in Prometheus, a short hash is the name.
        let name = given.isEmpty ? String(Digest.hexadecimal(of: url, .md5).prefix(6)) : given
        peer = try RemotePeer(from: map, name: name, timeoutKey: "remote_timeout", timeout: 30_000)
        self.rules = rules
        sendsExemplars = try map.take("send_exemplars", default: false)
        if let part = try map.takeMap("queue_config") { queue = try Queue(from: part) }
        if let part = try map.takeMap("metadata_config") { metadata = try Metadata(from: part) }
        try map.finish()
    }
}

extension RemoteWriteSettings.Queue {
    init(from map: SettingsMap) throws(SettingsError) {
        capacity = try map.take("capacity", default: capacity)
        maximumShards = try map.take("max_shards", default: maximumShards)
        minimumShards = try map.take("min_shards", default: minimumShards)
        samplesPerSend = try map.take("max_samples_per_send", default: samplesPerSend)
        deadline = try map.takeDuration("batch_send_deadline", default: deadline)
        minimumBackoff = try map.takeDuration("min_backoff", default: minimumBackoff)
        maximumBackoff = try map.takeDuration("max_backoff", default: maximumBackoff)
        retriesLimited = try map.take("retry_on_http_429", default: retriesLimited)
        ageLimit = try map.takeDuration("sample_age_limit", default: ageLimit)
        for (key, value, most) in [
            ("capacity", capacity, 10_000_000), ("max_shards", maximumShards, 1000),
            ("min_shards", minimumShards, 1000), ("max_samples_per_send", samplesPerSend, 1_000_000),
        ] {
            guard (1...most).contains(value) else {
                throw map.error(key, "is out of bounds; write a number from 1 to \(most)")
            }
        }
        guard minimumShards <= maximumShards else {
            throw map.error("min_shards", "is above max_shards, \(maximumShards); lower it or raise that")
        }
        guard deadline > 0 else { throw map.error("batch_send_deadline", "must be above 0") }
        guard minimumBackoff > 0 else { throw map.error("min_backoff", "must be above 0") }
        guard minimumBackoff <= maximumBackoff else {
            throw map.error(
                "min_backoff", "is above max_backoff, \(DurationText.format(maximumBackoff)); lower it or raise that")
        }
        try map.finish()
    }
}

extension RemoteWriteSettings.Metadata {
    init(from map: SettingsMap) throws(SettingsError) {
        isSent = try map.take("send", default: isSent)
        interval = try map.takeDuration("send_interval", default: interval)
        perSend = try map.take("max_samples_per_send", default: perSend)
        guard interval > 0 else { throw map.error("send_interval", "must be above 0") }
        guard (1...1_000_000).contains(perSend) else {
            throw map.error("max_samples_per_send", "is out of bounds; write a number from 1 to 1000000")
        }
        try map.finish()
    }
}
