internal import Glibc

/// A variable of the process's environment; nil when it is not set. Whoever needs one gets this handed in.
public func environmentVariable(_ name: String) -> String? {
    // Nothing in the process sets variables, so that what `getenv` points to stays.
    unsafe getenv(name).map { unsafe String(cString: $0) }
}

/// The names of the process's environment, sorted.
public func environmentNames() -> [String] {
    var names: [String] = []
    var entry = unsafe environ
    while let text = unsafe entry.pointee {
        names.append(String(unsafe String(cString: text).prefix { $0 != "=" }))
        unsafe entry += 1
    }
    return names.sorted()
}
