import Foundation
import Testing

/// The architecture as a table: which room may see which. It agrees with `Package.swift`; the compiler's own check lets
/// through what is transitively visible, this one does not let through what the table does not name.
enum ImportTable {
    /// Each room with the rooms it stands on; it also sees what those see. From the ground up.
    static let rooms: [(name: String, standsOn: [String])] = [
        ("Basics", []),
        ("Model", ["Basics"]),
        ("Settings", ["Basics"]),
        ("Statistics", ["Basics"]),
        ("Transport", ["Settings"]),
        ("SQL", ["Basics"]),
        ("Systemd", ["Basics"]),
        ("Exposition", ["Model"]),
        ("Templates", ["Model"]),
        ("Storage", ["Model", "Settings"]),
        ("Query", ["Model"]),
        ("Scraping", ["Exposition", "Transport", "SQL", "Systemd", "Settings"]),
        ("Rules", ["Query", "Statistics", "Templates", "Settings"]),
        ("Alerting", ["Model", "Settings"]),
        ("Rollback", ["Query", "Transport", "Settings"]),
        ("Workloads", ["Statistics", "Exposition", "SQL", "Settings"]),
        ("Backup", ["Storage", "Exposition", "SQL"]),
        ("Remote", ["Model", "Transport"]),
        ("Notifying", ["Alerting", "Templates", "Transport"]),
        ("Web", ["Storage", "Query", "Scraping", "Rules", "Rollback", "Workloads", "Remote", "Notifying", "Systemd"]),
        ("Replay", ["Rules", "Notifying"]),
        ("Daemon", ["Web", "Backup"]),
        ("vedette", ["Daemon", "Replay"]),
    ]

    /// Each C library with the one room where its pointers end.
    static let libraries = [
        "CLinux": "Basics", "CSnappy": "Basics", "CZlib": "Basics", "CCrypto": "Basics", "CRE2": "Model",
        "CCurl": "Transport",
        "CHiredis": "Transport", "CSQLite": "SQL", "CPostgres": "SQL", "CSystemd": "Systemd",
    ]

    /// Rooms that share a C module all the same, with the reason.
    static let sharedLibraries: [String: [String: String]] = [
        "CLinux": ["Transport": "epoll under libcurl's multi handle: system calls, no library with pointers to end"]
    ]

    /// Each package's modules with the one room that may import them; `NIO*` belongs to Web as well.
    static let packages = [
        "Yams": "Settings", "CYaml": "Settings", "HummingbirdCore": "Web", "HTTPTypes": "Web",
        "SwiftProtobuf": "Remote", "ServiceLifecycle": "Daemon", "UnixSignals": "Daemon", "ArgumentParser": "vedette",
    ]

    /// What any room may import.
    static let everywhere: Set<String> = [
        "Glibc", "Synchronization", "FoundationEssentials", "Logging", "Collections", "DequeModule", "HeapModule",
        "OrderedCollections", "BasicContainers",
    ]

    /// The hot rooms that do without Foundation's types altogether.
    static let withoutFoundation: Set<String> = ["Model", "Storage", "Query"]

    /// Files that import full Foundation, or Dispatch, with the reason.
    static let foundation = [
        "Sources/Remote/Wire/remote.pb.swift": "generated, and full Foundation only where there is no other"
    ]

    /// All rooms a room may import.
    static func visible(from room: String) -> Set<String> {
        var seen: Set<String> = []
        var open = rooms.first { $0.name == room }?.standsOn ?? []
        while let next = open.popLast() {
            guard seen.insert(next).inserted else { continue }
            open += rooms.first { $0.name == next }?.standsOn ?? []
        }
        return seen
    }

    /// Why a module may not be imported by a file of a room; nil when it may.
    static func objection(to module: String, in file: SourceFile) -> String? {
        let room = file.room
        if rooms.contains(where: { $0.name == module }) {
            if visible(from: room).contains(module) { return nil }
            return "\(room) does not stand on \(module); imports go down only, see the table in ImportTableTests"
        }
        if let owner = libraries[module] {
            if owner == room || sharedLibraries[module]?[room] != nil { return nil }
            return "\(module) ends in \(owner); give \(room) what it needs through a seam"
        }
        if module == "Foundation" || module == "Dispatch" {
            return foundation[file.path] == nil ? "\(module) is heavy; use FoundationEssentials or Glibc" : nil
        }
        if module == "FoundationEssentials", withoutFoundation.contains(room) {
            return "\(room) does without Foundation; use Basics"
        }
        if everywhere.contains(module) { return nil }
        let owner = module.hasPrefix("NIO") ? "Web" : packages[module]
        guard let owner else {
            return "\(module) is in no table; add it to ImportTableTests with the room it belongs to"
        }
        return owner == room ? nil : "\(module) belongs to \(owner)"
    }
}

/// The modules a file imports, with their 1-based lines.
func imports(of file: SourceFile) -> [(module: String, line: Int)] {
    let access: Set<Substring> = ["public", "package", "internal", "fileprivate", "private"]
    let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "typealias", "func", "let", "var"]
    var found: [(module: String, line: Int)] = []
    for (index, code) in file.code.enumerated() where code.contains("import ") {
        var words = code.split(separator: " ")[...]
        while let word = words.first, word.hasPrefix("@") || access.contains(word) { words = words.dropFirst() }
        guard words.first == "import" else { continue }
        words = words.dropFirst()
        if let word = words.first, kinds.contains(word) { words = words.dropFirst() }
        guard let module = words.first?.prefix(while: { $0 != "." && $0 != ";" }) else { continue }
        found.append((module: String(module), line: index + 1))
    }
    return found
}

@Suite struct ImportTableTests {
    @Test("a file imports only what the table grants its room") func imported() {
        for file in Tree.sources {
            for (module, line) in imports(of: file) {
                guard let objection = ImportTable.objection(to: module, in: file) else { continue }
                report(["\(file.path):\(line): import \(module): \(objection)"])
            }
        }
    }

    @Test("every folder of Sources stands in the table") func rooms() {
        let known = Set(ImportTable.rooms.map { $0.name }).union(ImportTable.libraries.keys)
        for name in Tree.names(in: "Sources") where !known.contains(name) {
            report(["Sources/\(name):1: is in no table; add it to ImportTableTests where it stands"])
        }
    }

    @Test("a room stands on rooms above it in the table only") func order() {
        var above: Set<String> = []
        for (name, standsOn) in ImportTable.rooms {
            #expect(above.isSuperset(of: standsOn), "\(name) stands on a room that comes after it")
            above.insert(name)
        }
    }

    @Test("every C module is imported, and by its own room") func libraries() {
        for (library, owner) in ImportTable.libraries.sorted(by: { $0.key < $1.key }) {
            let users = Set(Tree.sources.filter { imports(of: $0).contains { $0.module == library } }.map(\.room))
            #expect(users.contains(owner), "no file of \(owner) imports \(library); remove it")
            for room in ImportTable.sharedLibraries[library, default: [:]].keys {
                #expect(users.contains(room), "\(room) no longer imports \(library); remove its entry")
            }
        }
    }

    @Test("Package.swift says the same") func manifest() throws {
        var declared: [String: Set<String>] = [:]
        // A room may take several lines.
        for call in try Tree.text("Package.swift").components(separatedBy: "room(").dropFirst() {
            guard call.drop(while: \.isWhitespace).first == "\"",
                let head = call.prefix(while: { $0 != ")" }).components(separatedBy: "fixtures:").first
            else { continue }
            let names = head.components(separatedBy: "\"").enumerated().filter { $0.offset % 2 == 1 }.map { $0.element }
            declared[names[0]] = Set(names.dropFirst())
        }
        #expect(!declared.isEmpty)
        for (name, standsOn) in ImportTable.rooms where name != "vedette" {
            let owned = ImportTable.libraries.filter { $0.value == name }.keys
            let expected = Set(standsOn).union(owned)
            let found = declared[name, default: []].subtracting(ImportTable.packages.keys)
            #expect(found == expected, "Package.swift and ImportTableTests differ on \(name)")
        }
    }

    @Test(
        "imports are read whatever stands before them",
        arguments: [
            ("import A", ["A"]), ("public import A", ["A"]), ("@testable import A", ["A"]),
            ("@preconcurrency internal import A", ["A"]), ("import struct A.B", ["A"]), ("// import A", []),
            ("let important = 1", []), ("import A\ninternal import B", ["A", "B"]),
        ] as [(String, [String])])
    func read(text: String, expected: [String]) {
        #expect(imports(of: SourceFile(path: "Sources/X/X.swift", text: text)).map { $0.module } == expected)
    }

    @Test(
        "the table objects",
        arguments: [
            ("Sources/Query/A.swift", "Storage"), ("Sources/Model/A.swift", "Query"), ("Sources/Query/A.swift", "CRE2"),
            ("Sources/Rules/A.swift", "Yams"), ("Sources/Scraping/A.swift", "NIOCore"),
            ("Sources/Web/A.swift", "Dispatch"),
            ("Sources/Storage/A.swift", "FoundationEssentials"), ("Sources/Web/A.swift", "Unheard"),
            ("Sources/Alerting/A.swift", "Foundation"),
        ])
    func objects(path: String, module: String) {
        #expect(ImportTable.objection(to: module, in: SourceFile(path: path, text: "")) != nil)
    }

    @Test(
        "the table grants",
        arguments: [
            ("Sources/Query/A.swift", "Basics"), ("Sources/Daemon/A.swift", "Alerting"),
            ("Sources/Web/A.swift", "NIOCore"),
            ("Sources/Model/A.swift", "CRE2"), ("Sources/Rules/A.swift", "Model"), ("Sources/Settings/A.swift", "Yams"),
        ])
    func grants(path: String, module: String) {
        #expect(ImportTable.objection(to: module, in: SourceFile(path: path, text: "")) == nil)
    }
}
