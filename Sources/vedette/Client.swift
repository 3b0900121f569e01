internal import ArgumentParser
internal import Basics
internal import Settings
internal import Transport

/// Options of the commands that ask a running daemon.
struct Client: ParsableArguments {
    @Option(help: "The daemon's address, http(s)://HOST:PORT or unix:PATH; or the variable VEDETTE_URL.")
    var url = environment("VEDETTE_URL") ?? "http://127.0.0.1:9470"
    /// The same without a user and a password, to be told.
    var shownURL: String {
        guard let scheme = url.firstRange(of: "//"),
            let end = url[scheme.upperBound...].prefix(while: { $0 != "/" }).lastIndex(of: "@")
        else { return url }
        return String(url[..<scheme.upperBound] + url[url.index(after: end)...])
    }
    @Option(help: "A file with the token to show; or the variable VEDETTE_TOKEN_FILE.")
    var tokenFile: String?
    @Option(help: "A PEM file of the authority that signed the daemon's certificate.") var caFile: String?

    /// The `data` of an answer in Prometheus' envelope.
    func get(_ path: String, _ parameters: [(String, String)] = []) async throws -> JSON {
        let query = Client.form(parameters)
        return try await send(
            HTTPRequest(
                url: url + path + (query.isEmpty ? "" : "?\(query)"), timeout: 130_000,
                maximumResponseBytes: 256 << 20))
    }

    /// A document of the workloads, which have no envelope.
    func document(_ path: String, _ parameters: [(String, String)] = []) async throws -> JSON {
        let query = Client.form(parameters)
        let response = try await exchange(
            HTTPRequest(
                url: url + path + (query.isEmpty ? "" : "?\(query)"), timeout: 130_000, maximumResponseBytes: 64 << 20))
        guard let body = try? JSON(parsing: response.body) else {
            throw Refusal("\(shownURL) answers HTTP \(response.status), and not as a daemon does; check --url")
        }
        guard response.status == 200 else {
            let cure = body["cure"]?.string.map { "; \($0)" } ?? ""
            throw Refusal((body["error"]?.string ?? "HTTP \(response.status)") + cure)
        }
        return body
    }

    /// The `data` of the answer to a form.
    func post(_ path: String, _ parameters: [(String, String)]) async throws -> JSON {
        try await send(
            HTTPRequest(
                method: "POST", url: url + path,
                headers: [HTTPHeader("Content-Type", "application/x-www-form-urlencoded")],
                body: Array(Client.form(parameters).utf8), timeout: 130_000, maximumResponseBytes: 16 << 20))
    }

    /// The answer to JSON, without an envelope; an empty one is null.
    func exchange(_ path: String, _ body: JSON? = nil, method: String = "POST") async throws -> JSON {
        let response = try await exchange(
            HTTPRequest(
                method: method, url: url + path, headers: [HTTPHeader("Content-Type", "application/json")],
                body: body?.serialized() ?? [], timeout: 130_000, maximumResponseBytes: 16 << 20))
        // An empty body is no JSON.
        let answer = (try? JSON(parsing: response.body)) ?? .null
        guard (200..<300).contains(response.status) else {
            throw Refusal(
                answer.string ?? answer["message"]?.string ?? "\(shownURL)\(path) answers HTTP \(response.status)")
        }
        return answer
    }

    /// An answer that is no JSON, or an API's refusal, as text.
    func text(_ path: String, method: String = "GET") async throws -> (status: Int, text: String) {
        let response = try await exchange(HTTPRequest(method: method, url: url + path, timeout: 130_000))
        // Only a refusal is JSON.
        if let refusal = try? JSON(parsing: response.body), let message = refusal["error"]?.string {
            return (response.status, message)
        }
        return (response.status, String(decoding: response.body, as: UTF8.self))
    }

    /// Whether there is something under a path.
    func isFound(_ path: String) async throws -> Bool {
        let status = try await exchange(HTTPRequest(url: url + path, timeout: 130_000)).status
        return (200..<300).contains(status)
    }

    private static func form(_ parameters: [(String, String)]) -> String {
        parameters.map { "\($0.0)=\($0.1.percentEncoded)" }.joined(separator: "&")
    }

    /// The request with what the options add to it.
    private func addressed(_ request: HTTPRequest) throws -> HTTPRequest {
        var request = request
        request.options.certificateAuthorityFile = caFile
        if url.hasPrefix("unix:") {
            request.url = "http://localhost" + request.url.dropFirst(url.count)
            request.unixSocket = String(url.dropFirst(5))
        }
        if let tokenFile = tokenFile ?? environment("VEDETTE_TOKEN_FILE") {
            do {
                let token = try Secret(file: tokenFile).reveal { try SystemFiles().contents(of: $0) }
                request.headers.append(HTTPHeader("Authorization", "Bearer \(token)"))
            } catch {
                throw Refusal("--token-file: \(tokenFile) cannot be read: \(error)")
            }
        }
        return request
    }

    private func exchange(_ asked: HTTPRequest) async throws -> HTTPResponse {
        let request = try addressed(asked)
        let transport = CurlTransport(clock: SystemClock())
        defer { transport.stop() }
        do throws(TransportError) {
            return try await transport.send(request)
        } catch {
            throw Refusal(
                "no daemon answers at \(shownURL): \(error); start it with `vedette run` or name its address with --url"
            )
        }
    }

    private func send(_ request: HTTPRequest) async throws -> JSON {
        let response = try await exchange(request)
        guard let body = try? JSON(parsing: response.body), let status = body["status"]?.string else {
            throw Refusal("\(shownURL) answers HTTP \(response.status), and not as a daemon does; check --url")
        }
        guard status == "success", let data = body["data"] else {
            throw Refusal(body["error"]?.string ?? "HTTP \(response.status)")
        }
        return data
    }
}

/// How a command prints.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json, csv
}

/// Where commands print: results to standard output, problems to standard error.
enum Output {
    static func line(_ text: String) { print(text) }
    static func problem(_ text: String) { StandardError.write(text + "\n") }

    /// Rows under their titles, aligned, or as CSV (RFC 4180) or JSON objects.
    static func rows(_ titles: [String], _ unsafeRows: [[String]], _ format: OutputFormat) {
        // What others wrote must neither forge a row nor steer a terminal.
        let rows = format == .table ? unsafeRows.map { $0.map(shown) } : unsafeRows
        switch format {
        case .json:
            let objects = rows.map { row in JSON.object(zip(titles, row).map { JSON.Member($0, .string($1)) }) }
            line(JSON.array(objects).text)
        case .csv:
            for row in [titles] + rows { line(row.map(csv).joined(separator: ",")) }
        case .table:
            let widths = titles.indices.map { column in ([titles] + rows).map { $0[column].count }.max() ?? 0 }
            for row in [titles] + rows {
                let cells = zip(row, widths).map { $0 + String(repeating: " ", count: max(0, $1 - $0.count)) }
                var text = cells.joined(separator: "  ")
                while text.last == " " { text.removeLast() }
                line(text)
            }
        }
    }

    /// A text without control characters and without those that turn the direction of writing.
    static func shown(_ text: String) -> String {
        let isPlain = text.unicodeScalars.allSatisfy { !isSteering($0) }
        return isPlain
            ? text : String(String.UnicodeScalarView(text.unicodeScalars.map { isSteering($0) ? "\u{FFFD}" : $0 }))
    }

    private static func isSteering(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }

    private static func csv(_ text: String) -> String {
        text.contains { ",\"\n\r".contains($0) } ? "\"\(text.replacing("\"", with: "\"\""))\"" : text
    }
}
