internal import Basics
internal import Model
internal import Storage

extension API {
    /// Deletes samples in `[start, end]` of the series that a `match[]` selects.
    func deleteSeries(_ request: APIRequest) throws(APIError) -> APIResponse {
        let storage = try administered()
        let lists = try matchers(request)
        guard !lists.isEmpty else { throw .badData("no match[] parameter provided") }
        let (from, through) = try window(request)
        do throws(StorageError) {
            for matchers in lists { try storage.delete(matchers, from: from, through: through) }
        } catch {
            if case .replaying = error { throw .unavailable(error.description) }
            throw APIError(status: 500, type: "internal", message: error.description)
        }
        return .nothing
    }

    /// Gives back what deleted samples take in memory and on disk.
    func cleanTombstones() throws(APIError) -> APIResponse {
        let storage = try administered()
        do throws(StorageError) {
            try storage.cleanTombstones()
        } catch {
            throw APIError(status: 500, type: "internal", message: error.description)
        }
        return .nothing
    }

    private func administered() throws(APIError) -> SeriesStore {
        guard context.allowsAdmin, let storage = context.storage else { throw .unavailable("admin APIs disabled") }
        return storage
    }
}
