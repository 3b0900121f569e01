internal import Basics
internal import Exposition
internal import Model
internal import Settings
internal import Transport

/// Why a source gave no targets.
struct DiscoveryError: Error, Hashable, CustomStringConvertible {
    let description: String
    init(_ reason: String) { description = reason }
}

/// What remote discovery needs from outside.
struct DiscoveryNetwork: Sendable {
    var transport: any HTTPTransport
    var resolver: any NameResolver
    var readFile: Secret.FileReader

    /// Asks a source once.
    func ask(_ remote: RemoteDiscovery) async -> Result<[TargetGroup], DiscoveryError> {
        do throws(DiscoveryError) {
            switch remote {
            case .http(let http): return .success(try await ask(http))
            case .dns(let dns): return .success(try await ask(dns))
            }
        } catch {
            return .failure(error)
        }
    }

    private func ask(_ source: HTTPDiscovery) async throws(DiscoveryError) -> [TargetGroup] {
        let name = RemoteDiscovery.http(source).name
        var request = HTTPRequest(
            url: source.url, timeout: min(source.refreshInterval, 60_000), maximumResponseBytes: 16 << 20)
        request.headers = [
            HTTPHeader("User-Agent", "Vedette"), HTTPHeader("Accept", "application/json"),
            HTTPHeader(
                "X-Prometheus-Refresh-Interval-Seconds", GoNumber.fixed(Double(source.refreshInterval) / 1000)),
        ]
        let response: HTTPResponse
        do {
            try source.client.apply(to: &request, reading: readFile)
            if let oauth2 = source.client.oauth2 {
                let answer = try await transport.send(oauth2.request(timeout: request.timeout, reading: readFile))
                let token = try oauth2.token(status: answer.status, body: answer.body)
                request.headers.append(HTTPHeader("Authorization", token.authorization))
            }
            response = try await transport.send(request)
        } catch {
            throw DiscoveryError("\(name): \(error)")
        }
        guard response.status == 200 else {
            throw DiscoveryError("\(name): server returned HTTP status \(response.status)")
        }
        let type = response.header("content-type") ?? ""
        guard type.prefix(while: { $0 != ";" }).trimmed.lowercased() == "application/json" else {
            throw DiscoveryError("\(name): the Content-Type is '\(type.prefix(64))'; let it be application/json")
        }
        let json: JSON
        do throws(JSONError) { json = try JSON(parsing: response.body) } catch {
            throw DiscoveryError("\(name):\(error)")
        }
        guard let items = json.array else { throw DiscoveryError("\(name): a list of target groups is expected") }
        var groups: [TargetGroup] = []
        for (index, item) in items.enumerated() {
            var group = try TargetGroup(json: item, at: "\(name): item \(index)")
            group.labels["__meta_url"] = source.url
            groups.append(group)
        }
        return groups
    }

    private func ask(_ source: DNSDiscovery) async throws(DiscoveryError) -> [TargetGroup] {
        var groups: [TargetGroup] = []
        for name in source.names {
            let records: [DNSRecord]
            do throws(ResolverError) { records = try await resolver.records(of: name, source.type) } catch {
                throw DiscoveryError("\(name): \(error)")
            }
            for record in records {
                let host = record.host.hasSuffix(".") ? String(record.host.dropLast()) : record.host
                let port = source.type == .srv ? record.port : source.port
                var labels = ["__meta_dns_name": name]
                switch source.type {
                case .srv:
                    labels["__meta_dns_srv_record_target"] = record.host
                    labels["__meta_dns_srv_record_port"] = "\(record.port)"
                case .mx: labels["__meta_dns_mx_record_target"] = record.host
                case .ns: labels["__meta_dns_ns_record_target"] = record.host
                case .a, .aaaa: break
                }
                groups.append(
                    TargetGroup(
                        addresses: [host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"], labels: labels,
                        location: SourceLocation(file: name)))
            }
        }
        return groups
    }
}

extension TargetGroup {
    /// Reads an item of an answer, as strictly as of a file.
    init(json: JSON, at place: String) throws(DiscoveryError) {
        guard let members = json.members else { throw DiscoveryError("\(place): a target group is expected") }
        for member in members where member.name != "targets" && member.name != "labels" {
            throw DiscoveryError("\(place): unknown key '\(member.name.prefix(64))'; known here: labels, targets")
        }
        let targets = json["targets"]?.array ?? []
        let addresses = targets.compactMap(\.string)
        let given = json["labels"]?.members ?? []
        let labels = json["labels"]?.strings ?? [:]
        guard addresses.count == targets.count, labels.count == given.count else {
            throw DiscoveryError("\(place): targets and the values of labels are texts")
        }
        for address in addresses where address.isEmpty || address.contains("/") || address.contains("@") {
            throw DiscoveryError("\(place): a target is no address; write host:port")
        }
        self.init(addresses: addresses, labels: labels, location: SourceLocation(file: place))
    }
}
