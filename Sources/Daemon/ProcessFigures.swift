internal import Basics
internal import Glibc
internal import Model

/// The process as Linux sees it, under the names that every exporter uses.
enum ProcessFigures {
    static func metrics(files: any FileSystem, startedAt: Timestamp) -> [MetricFamily] {
        var families: [MetricFamily] = []
        // Outside Linux, and under simulation, there is no /proc: the families are left out.
        if let stat = text("/proc/self/stat", files)?.split(separator: ")").last?.split(separator: " "), stat.count > 21
        {
            let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
            let cpu = ((Double(stat[11]) ?? 0) + (Double(stat[12]) ?? 0)) / ticks
            families += [
                MetricFamily(.counter, "process_cpu_seconds_total", "CPU time, user and system.", [(Labels(), cpu)]),
                MetricFamily(.gauge, "process_virtual_memory_bytes", "Virtual memory.", Int(stat[20]) ?? 0),
                MetricFamily(
                    .gauge, "process_resident_memory_bytes", "Resident memory.",
                    (Int(stat[21]) ?? 0) * sysconf(Int32(_SC_PAGESIZE))),
                MetricFamily(.gauge, "process_threads", "Threads.", Int(stat[17]) ?? 0),
            ]
            // In a sandbox that hides it, the daemon's own beginning is close enough.
            var startTime = startedAt.seconds
            if let boot = text("/proc/stat", files)?.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }),
                let bootTime = Double(boot.dropFirst(6))
            {
                let start = bootTime + (Double(stat[19]) ?? 0) / ticks
                startTime = start
            }
            families.append(
                MetricFamily(
                    .gauge, "process_start_time_seconds", "Start, in seconds since the Unix epoch.",
                    [(Labels(), startTime)]))
        }
        if let open = try? files.list("/proc/self/fd") {
            families.append(MetricFamily(.gauge, "process_open_fds", "Open file descriptors.", open.count))
        }
        let limits = text("/proc/self/limits", files)?.split(separator: "\n").first { $0.hasPrefix("Max open files") }
        if let limit = limits?.split(separator: " ").dropFirst(3).first.flatMap({ Int($0) }) {
            families.append(MetricFamily(.gauge, "process_max_fds", "File descriptors allowed.", limit))
        }
        return families
    }

    /// Threads of this process; 0 where nothing tells.
    static func threads(files: any FileSystem) -> Int {
        let line = text("/proc/self/status", files)?.split(separator: "\n").first { $0.hasPrefix("Threads:") }
        return line?.split(whereSeparator: { $0 == "\t" || $0 == " " }).last.flatMap { Int($0) } ?? 0
    }

    /// The machine's name; empty where nothing tells.
    static func hostname(files: any FileSystem) -> String {
        text("/proc/sys/kernel/hostname", files)?.split(separator: "\n").first.map(String.init) ?? ""
    }

    private static func text(_ path: String, _ files: any FileSystem) -> String? {
        (try? files.contents(of: path)).map { String(decoding: $0, as: UTF8.self) }
    }
}
