public import Basics

/// A query's plan as a table, from the API's `stats=explain`: a row for each part, the parts it was made from below it.
public enum PlanTable {
    /// The lines of the table and the sums beneath it, without line ends.
    public static func lines(_ statistics: JSON) -> [String] {
        var rows = [["part", "series", "steps", "samples", "memory", "time", "own time"]]
        if let plan = statistics["plan"] { add(plan, lead: "", branch: "", to: &rows) }
        var lines = aligned(rows)
        let samples = statistics["samples"]
        let timings = statistics["timings"]
        lines.append(
            "samples: \(count(samples, "samplesRead")) read, \(count(samples, "totalQueryableSamples")) looked at, "
                + "at most \(count(samples, "peakSamples")) and \(bytes(samples?["peakBytes"]?.number ?? 0)) held")
        lines.append(
            "time: \(time(timings?["execTotalTime"]?.number ?? 0)), of it waiting "
                + "\(time(timings?["execQueueTime"]?.number ?? 0)), sorting \(time(timings?["resultSortTime"]?.number ?? 0))"
        )
        return lines
    }

    private static func add(_ node: JSON, lead: String, branch: String, to rows: inout [[String]]) {
        rows.append([
            lead + branch + (node["node"]?.string ?? ""), count(node, "series"), count(node, "steps"),
            count(node, "samples"), bytes(node["bytes"]?.number ?? 0), time(node["seconds"]?.number ?? 0),
            time(node["ownSeconds"]?.number ?? 0),
        ])
        let children = node["children"]?.array ?? []
        let under = lead + (branch.isEmpty ? "" : branch == "├─ " ? "│  " : "   ")
        for (number, child) in children.enumerated() {
            add(child, lead: under, branch: number == children.count - 1 ? "└─ " : "├─ ", to: &rows)
        }
    }

    /// The first column to the left, numbers to the right.
    private static func aligned(_ rows: [[String]]) -> [String] {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            zip(row, widths).enumerated().map { index, cell in
                let blanks = String(repeating: " ", count: cell.1 - cell.0.count)
                return index == 0 ? cell.0 + blanks : blanks + cell.0
            }.joined(separator: "  ")
        }
    }

    private static func count(_ node: JSON?, _ name: String) -> String {
        String(node?[name]?.integer ?? 0)
    }

    private static func bytes(_ count: Double) -> String {
        if count >= 1_048_576 { return "\(tenths(count / 1_048_576)) MiB" }
        return count >= 1024 ? "\(tenths(count / 1024)) KiB" : "\(Int(count)) B"
    }

    private static func time(_ seconds: Double) -> String {
        if seconds >= 1 { return "\(tenths(seconds)) s" }
        return seconds >= 1e-3 ? "\(tenths(seconds * 1e3)) ms" : "\(tenths(seconds * 1e6)) µs"
    }

    private static func tenths(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
