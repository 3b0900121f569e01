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

    /// Makes a folder with everything as blocks.
    func snapshot(_ request: APIRequest) throws(APIError) -> APIResponse {
        let storage = try administered()
        let skips: [String: Bool] = [
            "": false, "0": false, "false": false, "f": false, "1": true, "true": true, "t": true,
        ]
        guard let skipHead = skips[(request.parameter("skip_head") ?? "").lowercased()] else {
            throw .badData("unable to parse boolean 'skip_head' argument")
        }
        do throws(StorageError) {
            return .success(["name": .string(try storage.snapshot(skipHead: skipHead))])
        } catch {
            if case .replaying = error { throw .unavailable(error.description) }
            throw APIError(status: 500, type: "internal", message: error.description)
        }
    }

    /// Makes the consistent part of a backup, which `vedette backup create` puts into an archive.
    func stageBackup() async throws(APIError) -> APIResponse {
        guard let stage = context.stageBackup else { throw .unavailable("there is no data directory to back up") }
        do {
            let (name, path) = try await stage()
            return .success(["name": .string(name), "path": .string(path)])
        } catch {
            throw APIError(status: 500, type: "internal", message: "\(error)")
        }
    }

    /// Removes what `stageBackup` made.
    func removeBackup(_ name: String) throws(APIError) -> APIResponse {
        do { try context.removeBackup(name) } catch { throw .notFound("\(error)") }
        return .nothing
    }

    private func administered() throws(APIError) -> SeriesStore {
        guard context.allowsAdmin, let storage = context.storage else { throw .unavailable("admin APIs disabled") }
        return storage
    }
}
