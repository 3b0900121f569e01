import Basics
import Foundation
import TestSupport
import Testing

/// Programs that run on. Nothing here waits for a time to pass: each test waits for an end.
@Suite struct SystemProcessesTests {
    private func started(_ script: String, _ adjust: (inout ProcessRequest) -> Void = { _ in }) async throws
        -> any ChildProcess
    {
        var request = ProcessRequest(["sh", "-c", script])
        adjust(&request)
        return try await SystemProcesses().start(request).get()
    }

    @Test("its end is told, to all who wait and to who asks later", .timeLimit(.minutes(1))) func end() async throws {
        let child = try await started("exit 7")
        #expect(child.identifier > 1)
        async let one = child.end()
        async let two = child.end()
        #expect(await [one, two] == [.exited(7), .exited(7)])
        #expect(await child.end() == .exited(7))
        child.signal(9)  // Its number may be another's by now: nobody is hit.
        #expect(await child.end() == .exited(7))
    }

    @Test("a signal reaches it and all that it started", .timeLimit(.minutes(1))) func signal() async throws {
        let folder = try Folder()
        let (life, ready) = ("\(folder.path)/life", "\(folder.path)/ready")
        func run(_ arguments: String...) async -> ProcessEnd {
            await SystemProcesses().run(ProcessRequest(arguments), timeout: 20_000, outputLimit: 0).end
        }
        #expect(await run("mkfifo", life, ready) == .exited(0))
        // The reader ends once nobody holds the pipe open: neither the child nor what it started.
        async let reader = run("cat", life)
        let child = try await started("exec 3> \(life); sleep 1000 & echo > \(ready); wait")
        #expect(await run("cat", ready) == .exited(0))
        child.signal(15)
        #expect(await child.end() == .signalled(15))
        #expect(await reader == .exited(0))
    }

    @Test("a waiter that is cancelled goes, and the program runs on", .timeLimit(.minutes(1))) func cancelled()
        async throws
    {
        let child = try await started("exec sleep 1000")
        let seen = await withTaskGroup(of: ProcessEnd?.self) { group in
            group.addTask { await child.end() }
            group.cancelAll()
            return await group.next() ?? .exited(0)
        }
        #expect(seen == nil)
        child.signal(9)
        #expect(await child.end() == .signalled(9))
    }

    @Test("what cannot be started is told with its reason") func missing() async {
        func reason(_ request: ProcessRequest) async -> String {
            switch await SystemProcesses().start(request) {
            case .success(let child):
                child.signal(9)
                return "started"
            case .failure(let error): return error.description
            }
        }
        #expect(await reason(ProcessRequest(["/nowhere/program"])).hasPrefix("/nowhere/program: No such file"))
        #expect(await reason(ProcessRequest([])) == "there is no program to start")
        #expect(await reason(ProcessRequest([""])) == "there is no program to start")
        #expect(await reason(ProcessRequest(["/etc/passwd"])).contains("Permission denied"))
        #expect(await reason(ProcessRequest(["true"], directory: "/nowhere")).contains("No such file"))
    }

    @Test("environment, folder and limits are what was asked for", .timeLimit(.minutes(1))) func surroundings()
        async throws
    {
        let folder = try Folder()
        let request = ProcessRequest(
            ["sh", "-c", "echo $GREETING; pwd; ulimit -v; ulimit -n; nice; test -n \"$PATH\" && echo path"],
            environment: ["GREETING": "hello you"], directory: folder.path,
            limits: ProcessLimits(memoryBytes: 512 << 20, openFiles: 50, yields: true))
        let result = await SystemProcesses().run(request, timeout: 20_000, outputLimit: 4096)
        let lines = String(decoding: result.output, as: UTF8.self).split(separator: "\n").map(String.init)
        #expect(result.end == .exited(0))
        #expect(lines.count == 6)
        #expect(lines.first == "hello you" && lines.last == "path")
        #expect(lines.count > 4 && lines[4] == "19")
        #expect(lines.dropFirst(2).prefix(2) == ["\(512 << 10)", "50"])
        #expect(
            lines.dropFirst(1).first.map { URL(fileURLWithPath: $0).lastPathComponent }
                == URL(fileURLWithPath: folder.path).lastPathComponent)
    }

    @Test("the kernel ends it with its parent, when that was asked for", .timeLimit(.minutes(1)))
    func endsWithParent() async throws {
        // Told by the kernel: the signal that it gets when its parent ends, in its own status.
        for (isAsked, expected) in [(true, "9"), (false, "0")] {
            guard let python = Program.installed("python3") else { return }
            let code = """
                import ctypes
                signal = ctypes.c_int()
                ctypes.CDLL(None).prctl(2, ctypes.byref(signal))
                print(signal.value)
                """
            let result = await SystemProcesses().run(
                ProcessRequest([python.path, "-c", code], endsWithParent: isAsked), timeout: 20_000, outputLimit: 100)
            #expect(String(decoding: result.output, as: UTF8.self) == expected + "\n")
        }
        // It is the starting thread's end that counts to the kernel: that thread stays for as long as the child.
        let child = try await started("exec sleep 1000") { $0.endsWithParent = true }
        for _ in 0..<50 { _ = await SystemProcesses().run(ProcessRequest(["true"]), timeout: 20_000, outputLimit: 0) }
        child.signal(15)
        #expect(await child.end() == .signalled(15), "not 9: nothing ended it before")
    }
}
