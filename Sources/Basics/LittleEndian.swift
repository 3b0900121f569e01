extension [UInt8] {
    /// Appends a number, its lowest byte first.
    public mutating func appendLittleEndian(_ number: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: 0, to: number.bitWidth, by: 8) {
            append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    /// Appends a number, its highest byte first.
    public mutating func appendBigEndian(_ number: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: number.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}

extension RandomAccessCollection<UInt8> where Index == Int {
    /// The number whose lowest byte stands at `offset`; the bytes must be there.
    @inlinable
    public func littleEndian<Number: FixedWidthInteger & UnsignedInteger>(at offset: Int, as: Number.Type) -> Number {
        var number: Number = 0
        for index in stride(from: Number.bitWidth / 8 - 1, through: 0, by: -1) {
            number = number << 8 | Number(self[offset + index])
        }
        return number
    }

    /// The number whose highest byte stands at `offset`; the bytes must be there.
    @inlinable
    public func bigEndian<Number: FixedWidthInteger & UnsignedInteger>(at offset: Int, as: Number.Type) -> Number {
        var number: Number = 0
        for index in 0..<Number.bitWidth / 8 { number = number << 8 | Number(self[offset + index]) }
        return number
    }
}
