internal import Glibc

/// Memory for chunks, in a few sizes, carved from slabs: a chunk costs no header and no call of `malloc`.
///
/// Chunks grow through the sizes, those of one target together, so a slab whose every buffer was given back serves any
/// size again; when many lie idle the system gets their pages back.
///
/// Every buffer ends with eight bytes of slack, so that bits are written and read by whole words. It is not for
/// concurrent use; its owner locks.
@safe struct ChunkArena: ~Copyable {
    static let sizes: [Int] = [32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1088]
    static let slack = 8
    /// Slabs lie at multiples of their size, so that a buffer's address tells its slab.
    private static let slabBytes = 1 << 16
    private static let headerBytes = 64
    /// Address space that is taken from the system at once; a page counts as memory once it is written.
    private static let regionBytes = 1 << 20
    /// Idle slabs that keep their pages.
    private static let warmSlabs = 16

    /// What a slab begins with.
    @safe private struct Slab {
        /// The first of the buffers that were given back, each of which leads to the next.
        var free: UnsafeMutableRawPointer?
        /// Where what was never handed out begins.
        var unused = headerBytes
        /// Buffers that are handed out.
        var live: Int32 = 0
        /// Where it stands among the others with room.
        var place: Int32 = -1
        let sizeClass: UInt8
    }

    private var regions: [UnsafeMutableRawPointer]
    /// What of the last region was never used.
    private var fresh: Range<UInt> = 0..<0
    /// By size, the slab that is being filled, and the others that have room.
    private var current: [UnsafeMutablePointer<Slab>?]
    private var withRoom: [[UnsafeMutablePointer<Slab>]]
    /// Slabs that hold nothing: with their pages, and without.
    private var warm: [UnsafeMutableRawPointer], cold: [UnsafeMutableRawPointer]
    /// Bytes handed out and not given back.
    private(set) var usedBytes = 0
    /// Bytes of the slabs that have pages.
    private(set) var reservedBytes = 0

    init() {
        unsafe (regions, warm, cold) = ([], [], [])
        unsafe current = Array(repeating: nil, count: Self.sizes.count)
        unsafe withRoom = Array(repeating: [], count: Self.sizes.count)
    }

    deinit {
        unsafe regions.forEach { unsafe _ = munmap($0, Self.regionBytes) }
    }

    /// The smallest class that holds so many bytes and the slack.
    static func sizeClass(for bytes: Int) -> UInt8 {
        for (index, size) in sizes.enumerated() where size >= bytes + slack { return UInt8(index) }
        preconditionFailure("a chunk of \(bytes) bytes")
    }

    /// Bytes of a class without its slack.
    static func capacity(of sizeClass: UInt8) -> Int { sizes[Int(sizeClass)] - slack }

    /// A buffer; what is in it is left over from others.
    mutating func take(_ sizeClass: UInt8) -> UnsafeMutablePointer<UInt8> {
        let index = Int(sizeClass)
        let size = Self.sizes[index]
        var slab = unsafe current[index]
        if unsafe slab.map({ unsafe !hasRoom($0) }) ?? true {
            unsafe slab = fullest(of: index) ?? begin(sizeClass)
            unsafe current[index] = slab
        }
        let buffer: UnsafeMutableRawPointer
        let chosen = unsafe slab.unsafelyUnwrapped
        if let reused = unsafe chosen.pointee.free {
            unsafe buffer = reused
            unsafe chosen.pointee.free = reused.load(as: UnsafeMutableRawPointer?.self)
        } else {
            unsafe buffer = UnsafeMutableRawPointer(chosen) + chosen.pointee.unused
            unsafe chosen.pointee.unused += size
        }
        unsafe chosen.pointee.live += 1
        usedBytes += size
        return unsafe buffer.assumingMemoryBound(to: UInt8.self)
    }

    /// Takes a buffer back.
    mutating func give(_ buffer: UnsafeMutablePointer<UInt8>) {
        let offset = UInt(bitPattern: buffer) & UInt(Self.slabBytes - 1)
        let slab = unsafe UnsafeMutableRawPointer(buffer - Int(offset)).assumingMemoryBound(to: Slab.self)
        let index = unsafe Int(slab.pointee.sizeClass)
        usedBytes -= Self.sizes[index]
        unsafe UnsafeMutableRawPointer(buffer).storeBytes(of: slab.pointee.free, as: UnsafeMutableRawPointer?.self)
        unsafe slab.pointee.free = UnsafeMutableRawPointer(buffer)
        unsafe slab.pointee.live -= 1
        guard unsafe slab != current[index] else { return }
        if unsafe slab.pointee.place < 0 {
            unsafe slab.pointee.place = Int32(withRoom[index].count)
            unsafe withRoom[index].append(slab)
        }
        if unsafe slab.pointee.live == 0 { unsafe retire(slab) }
    }

    private func hasRoom(_ slab: UnsafeMutablePointer<Slab>) -> Bool {
        unsafe slab.pointee.free != nil
            || slab.pointee.unused + Self.sizes[Int(slab.pointee.sizeClass)] <= Self.slabBytes
    }

    /// A slab with room that is more than half full; those below mostly run empty, and are left to.
    private mutating func fullest(of index: Int) -> UnsafeMutablePointer<Slab>? {
        // A few of them tell enough.
        let best = unsafe withRoom[index].suffix(16).max { unsafe $0.pointee.live < $1.pointee.live }
        guard let best = unsafe best, unsafe 2 * Int(best.pointee.live) * Self.sizes[index] > Self.slabBytes else {
            return nil
        }
        unsafe leave(best)
        return unsafe best
    }

    /// Takes a slab out of those with room.
    private mutating func leave(_ slab: UnsafeMutablePointer<Slab>) {
        let (index, place) = unsafe (Int(slab.pointee.sizeClass), Int(slab.pointee.place))
        let last = unsafe withRoom[index].removeLast()
        if unsafe last != slab {
            unsafe withRoom[index][place] = last
            unsafe last.pointee.place = Int32(place)
        }
        unsafe slab.pointee.place = -1
    }

    /// A slab for buffers of a class: an idle one if there is one.
    private mutating func begin(_ sizeClass: UInt8) -> UnsafeMutablePointer<Slab> {
        let memory: UnsafeMutableRawPointer
        if let last = unsafe warm.popLast() {
            unsafe memory = last
        } else {
            unsafe memory = cold.popLast() ?? takeFresh()
            reservedBytes += Self.slabBytes
        }
        return unsafe memory.initializeMemory(as: Slab.self, to: Slab(sizeClass: sizeClass))
    }

    private mutating func takeFresh() -> UnsafeMutableRawPointer {
        if fresh.isEmpty {
            let region = unsafe mmap(nil, Self.regionBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            guard let region = unsafe region, unsafe region != MAP_FAILED else {
                preconditionFailure("no memory for chunks")
            }
            unsafe regions.append(region)
            let (start, mask) = (UInt(bitPattern: region), UInt(Self.slabBytes - 1))
            fresh = (start + mask) & ~mask..<(start + UInt(Self.regionBytes)) & ~mask
        }
        let slab = unsafe UnsafeMutableRawPointer(bitPattern: fresh.lowerBound).unsafelyUnwrapped
        fresh = fresh.lowerBound + UInt(Self.slabBytes)..<fresh.upperBound
        return unsafe slab
    }

    /// A slab that holds nothing is free for any size.
    private mutating func retire(_ slab: UnsafeMutablePointer<Slab>) {
        unsafe leave(slab)
        let memory = UnsafeMutableRawPointer(slab)
        guard unsafe warm.count >= Self.warmSlabs else { return unsafe warm.append(memory) }
        // Refused, the pages stay; nothing else comes of it.
        _ = unsafe madvise(memory, Self.slabBytes, MADV_DONTNEED)
        unsafe cold.append(memory)
        reservedBytes -= Self.slabBytes
    }
}
