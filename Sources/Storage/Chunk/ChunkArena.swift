/// Memory for chunks, in a few sizes, carved from slabs: a chunk costs no header and no call of `malloc`.
///
/// Every buffer ends with eight bytes of slack, so that bits are written and read by whole words. It is not for
/// concurrent use; its owner locks.
@safe struct ChunkArena: ~Copyable {
    static let sizes: [Int] = [32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1088]
    static let slack = 8
    private static let slabBytes = 1 << 16

    private var free: [UnsafeMutablePointer<UInt8>?]
    private var slabs: [UnsafeMutablePointer<UInt8>]
    private var unused: [(next: UnsafeMutablePointer<UInt8>, left: Int)?]
    /// Bytes handed out and not given back.
    private(set) var usedBytes = 0
    /// Bytes taken from the system.
    private(set) var reservedBytes = 0

    init() {
        unsafe slabs = []
        unsafe free = Array(repeating: nil, count: Self.sizes.count)
        unsafe unused = Array(repeating: nil, count: Self.sizes.count)
    }

    deinit {
        unsafe slabs.forEach { unsafe $0.deallocate() }
    }

    /// The smallest class that holds so many bytes and the slack.
    static func sizeClass(for bytes: Int) -> UInt8 {
        for (index, size) in sizes.enumerated() where size >= bytes + slack { return UInt8(index) }
        preconditionFailure("a chunk of \(bytes) bytes")
    }

    /// Bytes of a class without its slack.
    static func capacity(of sizeClass: UInt8) -> Int { sizes[Int(sizeClass)] - slack }

    /// A zeroed buffer.
    mutating func take(_ sizeClass: UInt8) -> UnsafeMutablePointer<UInt8> {
        let index = Int(sizeClass)
        let size = Self.sizes[index]
        usedBytes += size
        let buffer: UnsafeMutablePointer<UInt8>
        if let reused = unsafe free[index] {
            unsafe buffer = reused
            unsafe free[index] = UnsafeRawPointer(reused).load(as: UnsafeMutablePointer<UInt8>?.self)
        } else {
            if unsafe unused[index].map({ unsafe $0.left < size }) ?? true {
                let slab = UnsafeMutablePointer<UInt8>.allocate(capacity: Self.slabBytes)
                unsafe slabs.append(slab)
                reservedBytes += Self.slabBytes
                unsafe unused[index] = unsafe (next: slab, left: Self.slabBytes)
            }
            unsafe buffer = unused[index]!.next
            unsafe unused[index]!.next += size
            unsafe unused[index]!.left -= size
        }
        unsafe buffer.initialize(repeating: 0, count: size)
        return unsafe buffer
    }

    /// Takes a buffer back.
    mutating func give(_ buffer: UnsafeMutablePointer<UInt8>, _ sizeClass: UInt8) {
        usedBytes -= Self.sizes[Int(sizeClass)]
        unsafe UnsafeMutableRawPointer(buffer).storeBytes(
            of: free[Int(sizeClass)], as: UnsafeMutablePointer<UInt8>?.self)
        unsafe free[Int(sizeClass)] = buffer
    }
}
