public import Basics
public import Model
internal import Settings
internal import Synchronization
public import Transport

/// Sends the log on to every store of `remote_write`, each at its own pace and with a place of its own in the log.
///
/// What was not taken is sent after a restart. After a kill one request of each shard is sent once more, the same as it
/// was; after a loss of power perhaps some more.
public actor RemoteWriter: MetricsSource {
    private let context: WriteContext
    private nonisolated let queues = Mutex<[WriteQueue]>([])
    private let started: AsyncStream<WriteQueue>
    private let starter: AsyncStream<WriteQueue>.Continuation
    /// Queues that were told to stop: a queue of the same name begins when they have ended.
    private var ending: [String: CheckedContinuation<Void, Never>?] = [:]

    /// A writer without stores; `update` gives it some.
    ///
    /// - Parameters:
    ///   - directory: Where each store's place in the log is kept; made when there is a store.
    ///   - metadata: What targets say of their metrics now, each metric once.
    public init(
        tail: any LogTail, transport: any HTTPTransport, clock: any TimeSource, files: any FileSystem,
        log: any LogSink, directory: String, externalLabels: Labels,
        metadata: @escaping @Sendable () -> [MetricMetadata]
    ) {
        context = WriteContext(
            tail: tail, transport: transport, clock: clock, files: files, log: log, directory: directory,
            externalLabels: externalLabels, metadata: metadata)
        (started, starter) = AsyncStream.makeStream(of: WriteQueue.self)
    }

    /// Runs all queues until it is cancelled; call it once.
    public func run() async {
        await withDiscardingTaskGroup { tasks in
            for await queue in started {
                tasks.addTask { [self] in
                    await queue.run()
                    await ended(queue)
                }
            }
            tasks.cancelAll()
        }
    }

    private func ended(_ queue: WriteQueue) {
        let name = queue.settings.placeName
        if let waiting = ending.removeValue(forKey: name) { waiting?.resume() }
    }

    /// Puts these stores in place of the present ones. A store whose settings are the same goes on undisturbed; one
    /// that changed goes on where it was, by its name; one that is no more loses its place.
    public func update(to settings: [RemoteWriteSettings]) async {
        let present = queues.withLock { $0 }
        let kept = present.filter { queue in settings.contains(queue.settings) }
        queues.withLock { $0 = kept }
        for queue in present where !settings.contains(queue.settings) { await end(queue) }
        if settings.isEmpty { return forgetPlaces(except: []) }
        do throws(FileError) {
            try context.files.createDirectory(context.directory)
        } catch {
            tell("\(error.path): cannot \(error.operation): \(error.reason); nothing is sent")
            return
        }
        forgetPlaces(except: Set(settings.map(\.placeName)))
        for one in settings where !kept.contains(where: { $0.settings == one }) {
            do throws(FileError) {
                let queue = try WriteQueue(one, context)
                queues.withLock { $0.append(queue) }
                starter.yield(queue)
            } catch {
                tell(
                    "remote_write '\(one.peer.name)': \(error.path): cannot \(error.operation): \(error.reason); "
                        + "nothing is sent")
            }
        }
    }

    private func end(_ queue: WriteQueue) async {
        let name = queue.settings.placeName
        ending[name] = .some(nil)
        queue.stop()
        await withCheckedContinuation { continuation in
            if ending[name] == nil { continuation.resume() } else { ending[name] = continuation }
        }
        context.tail.holdLog(from: nil, for: name)
    }

    private func forgetPlaces(except names: Set<String>) {
        // A folder that is not there has none.
        for name in (try? context.files.list(context.directory)) ?? [] where !names.contains(name) {
            // One that stays would be taken up by a store of that name, and does no harm.
            try? context.files.remove("\(context.directory)/\(name)")
        }
    }

    private func tell(_ message: String) { context.log.write(LogEvent(.error, "remote-write-broken", message)) }

    /// Every store's figures, under Prometheus' names.
    public nonisolated func metrics() -> [MetricFamily] {
        writeFamilies(
            queues.withLock { $0 }.map { ($0.settings, $0.figures) }, newestStored: context.tail.newestSampleTime)
    }
}
