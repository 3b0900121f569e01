internal import ArgumentParser
internal import Backup
internal import Basics
internal import Exposition
internal import Storage

/// `vedette import`: samples from elsewhere as blocks of a data directory.
struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Put samples from elsewhere into a data directory.",
        discussion: """
            A daemon may be running on the directory: blocks appear there whole, and it serves them within a minute. \
            What is older than its retention_time it removes then; raise that first.
            """,
        subcommands: [ImportOpenMetrics.self, ImportPrometheus.self])
}

/// `vedette import openmetrics FILE|-`.
struct ImportOpenMetrics: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "openmetrics", abstract: "Import OpenMetrics text, each sample with its time in seconds.")
    @Argument(help: "The file, or - for standard input.") var file: String
    @Option(help: "The data directory; a daemon may be running on it.") var dataDir: String

    func run() throws {
        let name = file == "-" ? "stdin" : file
        do {
            let blocks = try BlockImport(into: dataDir, files: SystemFiles(), clock: SystemClock())
            do {
                try read(into: blocks)
                ImportText.tell(try blocks.finish())
            } catch {
                blocks.cancel()
                throw error
            }
        } catch let error as ExpositionError {
            throw Refusal("\(name):\(error)")
        } catch let error as FileError {
            throw Refusal("\(error.path): cannot \(error.operation): \(error.reason); name a file that can be read")
        } catch {
            throw Refusal("\(error)")
        }
    }

    private func read(into blocks: BlockImport) throws {
        var text = OpenMetricsImport(into: blocks)
        if file == "-" {
            while case let piece = try StandardInput.piece(), !piece.isEmpty { try text.read(piece) }
        } else {
            let input = try SystemFiles().open(file, .read)
            var offset = 0
            while case let piece = try input.read(at: offset, count: 1 << 20), !piece.isEmpty {
                try text.read(piece)
                offset += piece.count
            }
        }
        try text.end()
    }
}

/// `vedette import prometheus DIR`.
struct ImportPrometheus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prometheus",
        abstract: "Import the data directory of a Prometheus that is stopped, or a snapshot, or one of vedette.")
    @Argument(help: "The directory; it is not changed.") var directory: String
    @Option(help: "The data directory to put it into; a daemon may be running on it.") var dataDir: String

    func run() throws {
        do {
            ImportText.tell(
                try BlockImport(into: dataDir, files: SystemFiles(), clock: SystemClock()).take(over: directory))
        } catch {
            throw Refusal("\(error)")
        }
    }
}

/// What an import says at its end.
enum ImportText {
    static func tell(_ report: ImportReport) {
        for remark in report.remarks { Output.problem(remark) }
        if report.known > 0 { Output.line("\(report.known) blocks were there already") }
        guard let oldest = report.oldest, let newest = report.newest else { return Output.line("nothing was imported") }
        Output.line("\(report.samples) samples in \(report.blocks) blocks, from \(oldest) to \(newest)")
    }
}
