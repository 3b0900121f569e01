/// A statement's text for PostgreSQL: `?` becomes `$1`, `$2`, …, except in quotes and comments. O(*n*).
///
/// PostgreSQL's own operators with `?` cannot be written; its functions such as `jsonb_exists` say the same.
func numberedPlaceholders(_ sql: String) -> String {
    let bytes = Array(sql.utf8)
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count + 16)
    var (index, number) = (0, 0)
    while index < bytes.count {
        let byte = bytes[index]
        let next = index + 1 < bytes.count ? bytes[index + 1] : 0
        switch byte {
        case UInt8(ascii: "?"):
            number += 1
            output += "$\(number)".utf8
            index += 1
            continue
        case UInt8(ascii: "'"), UInt8(ascii: "\""):
            // A doubled quote ends one text and begins the next: the same to us.
            let end = bytes[(index + 1)...].firstIndex(of: byte) ?? bytes.count - 1
            output += bytes[index...end]
            index = end + 1
            continue
        case UInt8(ascii: "-") where next == byte:
            let end = bytes[index...].firstIndex(of: 0x0A) ?? bytes.count
            output += bytes[index..<end]
            index = end
            continue
        case UInt8(ascii: "/") where next == UInt8(ascii: "*"):
            var end = index + 2
            while end < bytes.count, !(bytes[end - 1] == UInt8(ascii: "*") && bytes[end] == byte && end > index + 2) {
                end += 1
            }
            end = min(end + 1, bytes.count)
            output += bytes[index..<end]
            index = end
            continue
        default: output.append(byte)
        }
        index += 1
    }
    return String(decoding: output, as: UTF8.self)
}

/// Whether a name of a table or a column may stand in a statement as it is: `[a-z_][a-z0-9_]*`, at most 63 letters.
public func isSQLIdentifier(_ name: String) -> Bool {
    guard let first = name.utf8.first, name.utf8.count <= 63 else { return false }
    let isLetter = { (byte: UInt8) in (0x61...0x7A).contains(byte) || byte == 0x5F }
    return isLetter(first) && name.utf8.allSatisfy { isLetter($0) || (0x30...0x39).contains($0) }
}
