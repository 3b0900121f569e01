internal import Basics
internal import Model

/// How the process's memory stands towards what it may use: its control group's limit and how much tasks wait for
/// memory. Files that are not there, outside Linux and in old control groups, leave their figures out.
///
/// - SeeAlso: Linux, `Documentation/accounting/psi.rst` and `admin-guide/cgroup-v2.rst`.
struct MemoryState: Sendable, Hashable {
    /// Bytes that the control group uses and may use.
    var used: Int?, limit: Int?
    /// The share of the last minute in which some task waited for memory, 0 to 1: the control group's, else the
    /// machine's.
    var pressure: Double?

    /// From so much on freed memory is given back without waiting.
    static let tight = 0.1

    init(files: any FileSystem) {
        func text(_ path: String) -> String? {
            (try? files.contents(of: path)).map { String(decoding: $0, as: UTF8.self) }
        }
        let group = text("/proc/self/cgroup")?.split(separator: "\n").first { $0.hasPrefix("0::") }?.dropFirst(3)
        let folder = "/sys/fs/cgroup\(group == "/" ? "" : group ?? "")"
        used = text("\(folder)/memory.current").flatMap { Int($0.trimmed) }
        limit = text("\(folder)/memory.max").flatMap { Int($0.trimmed) }
        let stalls = text("\(folder)/memory.pressure") ?? text("/proc/pressure/memory")
        let some = stalls?.split(separator: "\n").first { $0.hasPrefix("some ") }
        pressure = some?.split(separator: " ").first { $0.hasPrefix("avg60=") }.flatMap { Double($0.dropFirst(6)) }
            .map { $0 / 100 }
    }

    func metrics() -> [MetricFamily] {
        var families: [MetricFamily] = []
        if let used {
            families.append(MetricFamily(.gauge, "vedette_memory_group_bytes", "Memory of the control group.", used))
        }
        if let limit {
            families.append(
                MetricFamily(.gauge, "vedette_memory_limit_bytes", "What the control group may use.", limit))
        }
        if let pressure {
            families.append(
                MetricFamily(
                    .gauge, "vedette_memory_pressure_ratio",
                    "The share of the last minute in which tasks waited for memory.", [(Labels(), pressure)]))
        }
        return families
    }
}
