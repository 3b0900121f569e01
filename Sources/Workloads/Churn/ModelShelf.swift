internal import Basics

/// The versions of a model on the disk.
///
/// `v000001/model.json` with its checksum and `v000001/reference.json`, what its features looked like; beside them
/// `current.json`, which names the version in use, and a copy of its reference under the stable name `reference.json`,
/// which drift rules read. Each file is put in its place whole; `current.json` comes last.
struct ModelShelf: Sendable {
    let folder: String
    let files: any FileSystem
    /// How many versions are kept.
    let kept: Int

    /// What a look at the disk found.
    struct Found {
        /// The version that `current.json` names; nil when there is none yet.
        var newest: Int?
        /// The newest that can be used.
        var model: ChurnModel?
        /// What is wrong with those above it.
        var problems: [String] = []
    }

    private func path(_ version: Int) -> String {
        let digits = String(version)
        return "\(folder)/v" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
    }

    /// The numbers of the versions there, ascending.
    func versions() -> [Int] {
        let names = (try? files.list(folder)) ?? []
        return names.compactMap { $0.hasPrefix("v") ? Int($0.dropFirst()) : nil }.sorted()
    }

    /// Reads one version, its checksum included.
    func model(_ version: Int) throws(WorkloadRefusal) -> ChurnModel {
        let path = "\(path(version))/model.json"
        let cure = "restore the file, or train again"
        let bytes: [UInt8]
        do throws(FileError) { bytes = try files.contents(of: path, limit: 1 << 20) } catch {
            throw WorkloadRefusal(409, "\(path) cannot be read: \(error.reason)", cure: cure)
        }
        let json: JSON
        do throws(JSONError) { json = try JSON(parsing: bytes) } catch {
            throw WorkloadRefusal(409, "\(path):\(error)", cure: cure)
        }
        guard let content = json["model"], let checksum = json["sha256"]?.string,
            checksum == Digest.hexadecimal(of: content.text, .sha256)
        else { throw WorkloadRefusal(409, "\(path) is damaged: its checksum does not fit", cure: cure) }
        guard let model = ChurnModel(content), model.version == version else {
            throw WorkloadRefusal(409, "\(path) is no churn model of this program", cure: cure)
        }
        return model
    }

    /// The newest usable version.
    func find() -> Found {
        var found = Found()
        if let bytes = try? files.contents(of: "\(folder)/current.json", limit: 1 << 16) {
            found.newest = (try? JSON(parsing: bytes))?["version"]?.integer
            if found.newest == nil { found.problems.append("\(folder)/current.json is damaged") }
        }
        // Above the current one only a training that was cut short can stand: it was never in use.
        let candidates = versions().filter { $0 <= found.newest ?? .max }
        if found.newest == nil, !candidates.isEmpty { found.newest = candidates.last }
        if let newest = found.newest, candidates.last != newest {
            found.problems.append("version \(newest) is missing")
        }
        for version in candidates.reversed() {
            do throws(WorkloadRefusal) {
                found.model = try model(version)
                return found
            } catch { found.problems.append(error.message) }
        }
        return found
    }

    /// The number for the next version: above all that are there, used or not.
    func nextVersion() -> Int { max(versions().last ?? 0, find().newest ?? 0) + 1 }

    /// Puts a version in use; nothing is in use before all of it is on the disk.
    func publish(_ model: ChurnModel, reference: JSON) throws(FileError) {
        let path = path(model.version)
        let content = model.document
        let whole: JSON = ["sha256": .string(Digest.hexadecimal(of: content.text, .sha256)), "model": content]
        try files.createDirectory(path)
        try files.replace("\(path)/reference.json", with: reference.serialized())
        try files.replace("\(path)/model.json", with: whole.serialized())
        try files.replace("\(folder)/reference.json", with: reference.serialized())
        try files.replace(
            "\(folder)/current.json", with: (["version": .number(Double(model.version))] as JSON).serialized())
        let old = versions().filter { $0 <= model.version }.dropLast(kept)
        for version in old {
            for name in ["model.json", "reference.json"] { try? files.remove("\(self.path(version))/\(name)") }
            try? files.remove(self.path(version))
        }
    }

    /// Gives the stable name the reference of the version in use, if a crash left another's there.
    func restoreReference(of version: Int) {
        guard let wanted = try? files.contents(of: "\(path(version))/reference.json", limit: 1 << 20) else { return }
        let there = try? files.contents(of: "\(folder)/reference.json", limit: 1 << 20)
        if there != wanted { try? files.replace("\(folder)/reference.json", with: wanted) }
    }
}
