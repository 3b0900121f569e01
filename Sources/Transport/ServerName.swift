/// How a request asks for another name in the server's certificate than the URL's host: libcurl asks for and checks the
/// name that stands in the URL, so the name goes there, and the connection to where the URL said.
struct ServerName: Hashable {
    /// The URL with the name as its host.
    var url: String
    /// The `Host` header: the URL's own host and port.
    var host: String
    /// libcurl's detour, `NAME:PORT:HOST:PORT`. It holds for this name and port alone, so a redirect to another host
    /// goes there.
    ///
    /// - SeeAlso: libcurl, `CURLOPT_CONNECT_TO`.
    var connectTo: String

    private static let ports = ["https": 443, "smtp": 25, "smtps": 465]

    /// Nil where no certificate is checked, as for `http://`, and for a URL without a host.
    init?(_ name: String, for url: String) {
        let scheme = String(url.prefix { $0 != ":" })
        guard let usualPort = ServerName.ports[scheme.lowercased()], url.dropFirst(scheme.count).hasPrefix("://") else {
            return nil
        }
        let rest = url.dropFirst(scheme.count + 3)
        let authority = rest.prefix { !"/?#".contains($0) }
        let user = authority.lastIndex(of: "@").map { authority[...$0] } ?? ""
        let place = authority.dropFirst(user.count)
        // The colons of an IPv6 address stand in brackets.
        let hostEnd = place.lastIndex(of: "]").map { place.index(after: $0) } ?? place.firstIndex(of: ":")
        let host = hostEnd.map { place[..<$0] } ?? place
        let port = place.dropFirst(host.count)
        guard !host.isEmpty else { return nil }
        let number = port.count > 1 ? String(port.dropFirst()) : "\(usualPort)"
        self.url = "\(scheme.lowercased())://\(user)\(name)\(port)\(rest.dropFirst(authority.count))"
        self.host = String(place)
        connectTo = "\(name):\(number):\(host):\(number)"
    }
}
