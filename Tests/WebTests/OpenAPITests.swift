import Basics
import Model
import SQL
import Settings
import TestSupport
import Testing
import Workloads

@testable import Web

struct OpenAPITests {
    /// Neither a path that is not written down, nor one that is not there.
    @Test func documentHasTheRoutesAndNothingElse() {
        let surface = Set(API.surface.map { "\($0.method) \($0.path)" })
        let written = OpenAPI.operations.filter { operation in
            !Forwarder.prefixes.contains(where: operation.path.hasPrefix)
        }
        #expect(surface.symmetricDifference(written.map(\.key)).sorted() == [])
        #expect(surface.count > 60)
    }

    /// What is passed on is what the workloads answer.
    @Test func documentHasTheWorkloadsPaths() {
        let (clock, files) = (StandingClock(), MemoryFiles())
        let database = SQLiteDatabase(path: "never-opened.db", clock: clock)
        let workloads: [any Workload] = [
            ChurnWorkload(
                ChurnSettings(), logDatabase: database, folder: "w", files: files, clock: clock, log: RecordingLog(),
                random: SharedRandom(seed: 1)),
            ImpactWorkload(ImpactSettings(), database: database, clock: clock),
        ]
        let own = WorkloadHost.ownPaths.filter { $0 != "/health" }.map { "GET \($0)" }
        let answered = own + workloads.flatMap(\.endpoints).map { "\($0.method) \($0.path)" }
        #expect(
            answered.allSatisfy { line in Forwarder.prefixes.contains { line.split(separator: " ")[1].hasPrefix($0) } })
        let written = OpenAPI.operations.filter { operation in
            Forwarder.prefixes.contains(where: operation.path.hasPrefix)
        }
        #expect(Set(answered).symmetricDifference(written.map(\.key)).sorted() == [])
    }

    @Test func operationsAreWrittenOnce() {
        #expect(Set(OpenAPI.operations.map(\.key)).count == OpenAPI.operations.count)
        #expect(Set(OpenAPI.operations.map(\.id)).count == OpenAPI.operations.count)
    }

    /// What a name in braces stands for is a parameter, and every schema that is named is there and is used.
    @Test func referencesHold() throws {
        for operation in OpenAPI.operations {
            let named = operation.path.split(separator: "/").filter { $0.hasPrefix("{") }.map {
                "\($0.dropFirst().dropLast())"
            }
            #expect(named == operation.parameters.filter { $0.place == .path }.map(\.name), "\(operation.key)")
        }
        let yaml = OpenAPI(server: "/", version: "1").yaml
        let parts = yaml.split(separator: "#/components/schemas/").dropFirst()
        let used = Set(parts.map { $0.prefix { $0.isLetter || $0.isNumber }.description })
        #expect(used == Set(OpenAPI.schemas.keys))
    }

    @Test func documentIsServed() async throws {
        let bench = try await WebBench()
        let answer = await bench.answer("/api/v1/openapi.yaml")
        #expect(answer.status == 200)
        #expect(answer.contentType == "application/yaml")
        let map = try SettingsDocument(String(decoding: answer.body, as: UTF8.self), file: "openapi.yaml").map()
        let version: String = try map.require("openapi")
        #expect(version == "3.1.0")
        let paths = try #require(try map.takeMap("paths"))
        #expect(Set(paths.keys) == Set(OpenAPI.operations.map(\.path)))
        var context = bench.api.context
        context.routePrefix = "/vedette"
        let moved = await API(context).answer(APIRequest(path: "/vedette/api/v1/openapi.yaml"))
        #expect(String(decoding: moved.body, as: UTF8.self).contains("servers:\n- url: /vedette\n"))
    }

    /// Every path takes what it is said to take, tells what it takes when asked, and refuses the rest with the list.
    @Test func methodsAreToldAndKept() async throws {
        let bench = try await WebBench()
        for (path, operations) in Dictionary(grouping: API.surface, by: \.path) {
            let asked = path.replacing("{silenceID}", with: "2f8c1f5e-0f8b-4b6e-9a53-0d4c6d6f7a11")
                .replacing("{name}", with: "a").replacing("{id}", with: "a")
            let allowed = API.allowed(operations.map(\.method))
            let told = await bench.api.answer(APIRequest(method: "OPTIONS", path: asked))
            #expect(told.status == 204, "\(path)")
            #expect(told.headers.first { $0.name == "Allow" }?.value == allowed, "\(path)")
            for method in ["PATCH", "TRACE", "get", "QUERY"] {
                let answer = await bench.api.answer(APIRequest(method: method, path: asked))
                #expect(answer.status == 405, "\(method) \(path)")
                #expect(answer.headers.first { $0.name == "Allow" }?.value == allowed, "\(path)")
            }
            let head = await bench.api.answer(APIRequest(method: "HEAD", path: asked))
            #expect((head.status == 405) == !operations.contains { $0.method == "GET" }, "\(path)")
        }
    }
}
