public import Basics
public import Settings
public import Transport

/// `alerting.peers`: other daemons that are given the same alerts, and share with us what was told and the silences.
public struct PeerSettings: Sendable, Hashable {
    /// Ours, as the others have it among their members.
    public var name: String
    /// How the others reach us, when we are among the members that are listed.
    public private(set) var address = ""
    /// The others, sorted by name.
    public var members: [PeerMember]
    /// How long each waits for those before it, and after what time without a word one counts as gone.
    public var timeout: Milliseconds = 15_000

    /// Settings by their parts; an entry of our own name is left out.
    public init(name: String, members: [PeerMember]) {
        self.name = name
        address = members.first { $0.name == name }?.address ?? ""
        self.members = members.filter { $0.name != name }.sorted { $0.name.isBefore($1.name) }
    }

    /// Reads the section.
    ///
    ///     peers:
    ///       name: ${HOSTNAME}
    ///       members:
    ///         - {name: a, url: "https://a:9090", authorization: {credentials_file: /etc/vedette/peer.token}}
    ///         - {name: b, url: "https://b:9090", authorization: {credentials_file: /etc/vedette/peer.token}}
    ///
    /// - Parameter hostname: Our name where the section gives none.
    public init(from map: SettingsMap, hostname: String) throws(SettingsError) {
        let name = try map.take("name", default: hostname)
        guard !name.isEmpty, name.utf8.count <= PeerSettings.longestName else {
            throw map.error("name", "must have 1 to \(PeerSettings.longestName) bytes; give this daemon a name")
        }
        var members: [PeerMember] = []
        for part in try map.takeMaps("members") {
            let member = try PeerMember(from: part)
            guard !members.contains(where: { $0.name == member.name }) else {
                throw part.error("name", "'\(member.name)' is the name of two members; rename one")
            }
            members.append(member)
        }
        self.init(name: name, members: members)
        timeout = try map.takeDuration("timeout", default: timeout)
        try map.finish()
        guard !self.members.isEmpty else {
            throw map.error("members", "names no other daemon than '\(name)'; add one, or leave peers out")
        }
        guard self.members.count <= PeerSettings.mostMembers else {
            throw map.error("members", "must be \(PeerSettings.mostMembers) at the most, beside this one")
        }
        guard (1000...600_000).contains(timeout) else {
            throw map.error("timeout", "must be from 1s to 10m; 15s is good")
        }
    }

    static let longestName = 100
    static let mostMembers = 8
}

/// Another daemon.
public struct PeerMember: Sendable, Hashable {
    /// As it names itself.
    public var name: String
    /// `https://host:9090`, with the prefix of its paths if it has one.
    public var url: String
    /// Who to be, TLS, proxy.
    public var http = HTTPClientSettings()

    /// A member with the defaults.
    public init(name: String, url: String) { (self.name, self.url) = (name, url) }

    init(from map: SettingsMap) throws(SettingsError) {
        name = try map.require("name")
        guard !name.isEmpty, name.utf8.count <= PeerSettings.longestName else {
            throw map.error("name", "must have 1 to \(PeerSettings.longestName) bytes; write what it names itself")
        }
        url = try map.require("url")
        let host = url.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2).first ?? ""
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), !host.isEmpty, !host.contains("@"),
            !url.contains(where: \.isWhitespace)
        else { throw map.error("url", "is no address; write http://HOST:PORT or https://HOST:PORT") }
        while url.hasSuffix("/") { url.removeLast() }
        http = try HTTPClientSettings(from: map)
        try map.finish()
    }

    /// Host and port.
    var address: String {
        String(url.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2).first ?? "")
    }
}
