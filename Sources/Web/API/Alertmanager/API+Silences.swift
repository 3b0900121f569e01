internal import Alerting
internal import Basics
internal import Model
internal import Notifying

extension API {
    /// Silences: active ones by their ends, pending ones by their beginnings, expired ones the latest first.
    func silenceList(_ request: APIRequest) async throws -> APIResponse {
        let (alerting, now) = (await context.dispatcher.alerting(), context.clock.now())
        let matchers = try matchers(request, "filter", alerting.settings)
        var wanted: Set<Silence.State> = []
        for state in Silence.State.allCases where try flag(request, state.rawValue) { wanted.insert(state) }
        let shown = alerting.silences.all.values.filter { silence in
            // As in Alertmanager: each filter is one of the silence's own matchers, by name, operation and value.
            wanted.contains(silence.state(at: now)) && matchers.allSatisfy(silence.matchers.contains)
        }
        let order: [Silence.State] = [.active, .pending, .expired]
        let sorted = shown.sorted { one, other in
            let (state, otherState) = (one.state(at: now), other.state(at: now))
            if state != otherState {
                return (order.firstIndex(of: state) ?? 0) < (order.firstIndex(of: otherState) ?? 0)
            }
            return switch state {
            case .active: (one.endsAt, one.id) < (other.endsAt, other.id)
            case .pending: (one.startsAt, one.id) < (other.startsAt, other.id)
            case .expired: (other.endsAt, one.id) < (one.endsAt, other.id)
            }
        }
        return .json(.array(sorted.map { $0.alertmanagerJSON(at: now) }))
    }

    func oneSilence(_ request: APIRequest, _ id: String) async throws -> APIResponse {
        guard id.isUUID else {
            throw AlertmanagerError.schema(601, "silenceID in path must be of type uuid: \(id.goQuoted)")
        }
        let missing = APIResponse(status: 404, contentType: "application/json", body: [])
        guard request.method == "DELETE" else {
            guard let silence = await context.dispatcher.alerting().silences.all[id.lowercased()] else {
                return missing
            }
            return .json(silence.alertmanagerJSON(at: context.clock.now()))
        }
        do throws(SilenceError) {
            try await context.dispatcher.expireSilence(id.lowercased())
        } catch {
            return missing
        }
        return APIResponse(contentType: "application/json", body: [])
    }

    func postSilence(_ request: APIRequest) async throws -> APIResponse {
        let silence = try await readSilence(request.body)
        do throws(SilenceError) {
            return .json(["silenceID": .string(try await context.dispatcher.setSilence(silence))])
        } catch {
            throw AlertmanagerError(status: error == .notFound ? 404 : 400, message: error.description)
        }
    }

    private func readSilence(_ body: [UInt8]) async throws -> Silence {
        let json: JSON
        do {
            json = try JSON(parsing: body)
        } catch {
            throw AlertmanagerError(
                status: 400, code: 400, message: "parsing silence body from \"\" failed, because \(error)")
        }
        func required(_ key: String) throws -> JSON {
            guard let value = json[key], value != .null else {
                throw AlertmanagerError.schema(602, "\(key) in body is required")
            }
            return value
        }
        func text(_ key: String) throws -> String {
            let value = try required(key)
            guard let text = value.string else {
                throw AlertmanagerError.unreadable("silence", value, key, "string")
            }
            return text
        }
        func moment(_ key: String) throws -> Timestamp {
            guard let moment = Timestamp(openAPI: try text(key)) else {
                throw AlertmanagerError.schema(601, "\(key) in body must be of type date-time: \"\"")
            }
            return moment
        }
        let (comment, author) = (try text("comment"), try text("createdBy"))
        _ = try required("endsAt")
        let list = try required("matchers").array ?? []
        guard json["startsAt"] != nil || !list.isEmpty else {
            throw AlertmanagerError.schema(612, "matchers in body should have at least 1 items")
        }
        guard !list.isEmpty else {
            throw AlertmanagerError.schema(612, "matchers in body should have at least 1 items")
        }
        let (start, end) = (try moment("startsAt"), try moment("endsAt"))
        let (settings, zones) = await context.dispatcher.silencing()
        let matchers = try list.enumerated().map { try API.matcher($1, $0, settings.matcherMode) }
        let id = json["id"].map { $0 == .null } ?? true ? "" : try text("id").lowercased()
        var annotations = json["annotations"]?.strings
        if let value = json["annotations"], value != .null {
            let other = value.members.map { $0.first { $0.value.string == nil }?.value } ?? value
            if let other { throw AlertmanagerError.unreadable("silence", other, "annotations", "string") }
        }
        // A client that knows no annotations must not take away when a silence recurs by changing its comment.
        if annotations == nil { annotations = await context.dispatcher.alerting().silences.all[id]?.annotations }
        do throws(SilenceError) {
            return try Silence(
                id: id, matchers: matchers, startsAt: start, endsAt: end, createdBy: author, comment: comment,
                annotations: annotations ?? [:], zones: zones)
        } catch {
            throw AlertmanagerError.bad(error.description)
        }
    }

    private static func matcher(_ json: JSON, _ place: Int, _ mode: MatcherMode) throws -> Matcher {
        func required(_ key: String) throws -> JSON {
            guard let value = json[key], value != .null else {
                throw AlertmanagerError.schema(602, "matchers.\(place).\(key) in body is required")
            }
            return value
        }
        func flag(_ key: String, _ value: JSON) throws -> Bool {
            guard let flag = value.bool else { throw AlertmanagerError.unreadable("silence", value, key, "bool") }
            return flag
        }
        func text(_ key: String) throws -> String {
            let value = try required(key)
            guard let text = value.string else { throw AlertmanagerError.unreadable("silence", value, key, "string") }
            return text
        }
        let isRegex = try flag("isRegex", required("isRegex"))
        let (name, value) = (try text("name"), try text("value"))
        guard mode.takes(labelName: name) else {
            throw AlertmanagerError.bad(
                "invalid silence: invalid label matcher \(place) in set 0: invalid label name \(name.goQuoted)")
        }
        let isEqual = try json["isEqual"].map { $0 == .null ? true : try flag("isEqual", $0) } ?? true
        do throws(PatternError) {
            return try Matcher(
                name, isRegex ? (isEqual ? .matches : .matchesNot) : (isEqual ? .equal : .notEqual), value,
                dotMatchesLineEnd: false)
        } catch {
            throw AlertmanagerError.bad(
                "invalid silence: invalid label matcher \(place) in set 0: invalid regular expression "
                    + "\(value.goQuoted): \(AlertmanagerError.expression(error))")
        }
    }
}

extension Silence {
    /// As Alertmanager shows it.
    func alertmanagerJSON(at now: Timestamp) -> JSON {
        var members: [JSON.Member] = [
            JSON.Member("id", .string(id)), JSON.Member("status", ["state": .string(state(at: now).rawValue)]),
            JSON.Member("updatedAt", .string(updatedAt.rfc3339())),
        ]
        if !annotations.isEmpty { members.append(JSON.Member("annotations", JSON(annotations))) }
        members += [
            JSON.Member("comment", .string(comment)), JSON.Member("createdBy", .string(createdBy)),
            JSON.Member("endsAt", .string(endsAt.rfc3339())),
            JSON.Member(
                "matchers",
                .array(
                    matchers.map {
                        [
                            "isEqual": .bool($0.operation == .equal || $0.operation == .matches),
                            "isRegex": .bool($0.pattern != nil), "name": .string($0.name), "value": .string($0.value),
                        ]
                    })), JSON.Member("startsAt", .string(startsAt.rfc3339())),
        ]
        return .object(members)
    }
}

extension String {
    /// Whether it has the form of a UUID (RFC 9562).
    var isUUID: Bool {
        let parts = split(separator: "-", omittingEmptySubsequences: false)
        return parts.map(\.utf8.count) == [8, 4, 4, 4, 12] && parts.allSatisfy { $0.allSatisfy(\.isHexDigit) }
    }
}
