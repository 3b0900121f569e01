// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]

/// One room: target, tests, settings. `imports` names rooms listed above it, so this list is the architecture;
/// `TidyTests` holds every source file to it.
func room(
    _ name: String, imports: [Target.Dependency] = [], fixtures: [String] = []
) -> [Target] {
    [
        .target(name: name, dependencies: imports, swiftSettings: strict),
        .testTarget(
            name: "\(name)Tests", dependencies: [.target(name: name), "TestSupport", "CAllocations"], exclude: fixtures,
            swiftSettings: strict),
    ]
}

/// A module map and its shim over a C library of the system; imported by exactly one room.
func system(_ name: String, package: String? = nil, debian: String) -> Target {
    .systemLibrary(name: name, pkgConfig: package, providers: [.apt([debian])])
}

let server: [Target.Dependency] = [
    .product(name: "HummingbirdCore", package: "hummingbird"), .product(name: "HTTPTypes", package: "swift-http-types"),
    .product(name: "Logging", package: "swift-log"), .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOExtras", package: "swift-nio-extras"),
    .product(name: "NIOHTTPTypes", package: "swift-nio-extras"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
]
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

let libraries: [Target] = [
    system("CCurl", package: "libcurl", debian: "libcurl4-openssl-dev"),
    system("CSnappy", debian: "libsnappy-dev"),
    system("CZlib", package: "zlib", debian: "zlib1g-dev"),
    system("CCrypto", package: "libcrypto", debian: "libssl-dev"),
    system("CLinux", debian: "libc6-dev"),
    system("CHiredis", debian: "libhiredis-dev"),  // Its pkg-config file has a flag that SwiftPM warns about.
    system("CSQLite", package: "sqlite3", debian: "libsqlite3-dev"),
    system("CPostgres", package: "libpq", debian: "libpq-dev"),
    system("CSystemd", package: "libsystemd", debian: "libsystemd-dev"),
    .target(
        name: "CRE2", linkerSettings: [.linkedLibrary("re2"), .linkedLibrary("stdc++")]
    ),
]

let rooms =
    room("Basics", imports: ["CLinux", "CSnappy", "CZlib", "CCrypto"])
    + room("Model", imports: ["Basics", "CRE2"])
    + room("Settings", imports: ["Basics", "Yams"])
    + room("Statistics", imports: ["Basics"])
    + room("Transport", imports: ["Settings", "CCurl", "CHiredis"])
    + room("SQL", imports: ["Basics", "CSQLite", "CPostgres"])
    + room("Systemd", imports: ["Basics", "CSystemd"])
    + room("Exposition", imports: ["Model"])
    + room("Templates", imports: ["Model"])
    + room("Storage", imports: ["Model", "Settings"])
    + room("Query", imports: ["Model"], fixtures: ["Scripts"])
    + room("Scraping", imports: ["Exposition", "Transport", "SQL", "Systemd", "Settings"])
    + room("Rules", imports: ["Query", "Statistics", "Templates", "Settings"])
    + room("Alerting", imports: ["Model", "Settings"])
    + room("Rollback", imports: ["Query", "Transport", "Settings"])
    + room("Workloads", imports: ["Statistics", "Exposition", "SQL", "Settings"])
    + room("Backup", imports: ["Storage", "Exposition", "SQL"])
    + room("Remote", imports: ["Model", "Transport", protobuf])
    + room("Notifying", imports: ["Alerting", "Templates", "Transport"])
    + room(
        "Web",
        imports: ["Storage", "Query", "Scraping", "Rules", "Rollback", "Workloads", "Remote", "Notifying", "Systemd"]
            + server)
    + room("Replay", imports: ["Rules", "Notifying"])
    + room("Daemon", imports: ["Web", "Backup", lifecycle])

let package = Package(
    name: "vedette",
    products: [.executable(name: "vedette", targets: ["vedette"])],
    dependencies: [
        .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.2"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.34.1"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.2"),
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.39.0", traits: []),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
    ],
    targets: libraries + rooms + [
        .executableTarget(
            name: "vedette",
            dependencies: ["Daemon", "Replay", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
        .testTarget(name: "ProgramTests", dependencies: ["vedette", "Storage", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "SystemTests", dependencies: ["Daemon", "Rollback", "TestSupport"], swiftSettings: strict),
        .target(name: "CAllocations", path: "Tests/CAllocations"),
        // It looks into rooms as tests do, so that a release build of it needs `-enable-testing`.
        .executableTarget(
            name: "microbench", dependencies: ["Query", "Storage", "Scraping", "TestSupport", "CAllocations"],
            path: "Tests/Microbench", swiftSettings: strict),
        .target(
            name: "TestSupport", dependencies: ["Basics", "Model"], path: "Tests/TestSupport", swiftSettings: strict),
    ],
    cxxLanguageStandard: .cxx17
)
