internal import Basics
internal import Notifying

/// Other daemons that are given the same alerts.
extension API {
    /// Takes what a peer told and its silences, and answers with ours that it does not know.
    func exchangeWithPeer(_ request: APIRequest) async throws -> APIResponse {
        // A page in a browser may post texts and forms to any address, but no JSON.
        if let type = request.contentType, type.prefix(while: { $0 != ";" }).lowercased().trimmed != "application/json"
        {
            throw APIError(status: 415, type: "bad_data", message: "the body must be application/json")
        }
        do throws(PeerRefusal) {
            return APIResponse(
                contentType: "application/json", body: try await context.dispatcher.exchange(request.body))
        } catch {
            let types = [400: "bad_data", 403: "forbidden", 404: "not_found", 409: "conflict"]
            throw APIError(status: error.status, type: types[error.status] ?? "internal", message: error.description)
        }
    }
}
