public import Basics

/// A file of `NAME=value` lines, as `.env` files are written.
///
/// `export` before a name, empty lines and `#` comments are passed over. A value may stand in single quotes, which take
/// all as it is, or in double ones, where `\n`, `\r`, `\t`, `\"`, `\\` and `\$` mean what they do in a shell; both may
/// go over lines. An unquoted one ends at the line's end or before ` #`. Nothing is expanded.
///
/// - SeeAlso: Docker Compose, `.env` file syntax.
public struct EnvironmentFile: Sendable {
    /// One variable of the file.
    public struct Entry: Sendable {
        /// The variable's name.
        public var name: String
        /// Its value.
        public var value: String
        /// Where its name stands.
        public var location: SourceLocation
    }

    /// In the order of the file; each name once.
    public private(set) var entries: [Entry] = []

    /// Reads a file's bytes. What is wrong is told by its place; no value stands in a message.
    public init(_ bytes: [UInt8], file: String) throws(SettingsError) {
        var reader = Reader(file: SettingsFile(name: file, bytes: bytes, ignoresUnknownKeys: true))
        var known: [String: SourceLocation] = [:]
        while let entry = try reader.next() {
            if let first = known.updateValue(entry.location, forKey: entry.name) {
                throw SettingsError(
                    entry.location, "\(entry.name) is already given in line \(first.line); keep one of the two")
            }
            entries.append(entry)
        }
    }

    private struct Reader {
        let file: SettingsFile
        var place = 0

        private var byte: UInt8? { place < file.bytes.count ? file.bytes[place] : nil }
        private func error(_ offset: Int, _ message: String) -> SettingsError {
            SettingsError(file.location(offset: offset), message)
        }
        private mutating func skipBlanks() { while byte == 0x20 || byte == 0x09 { place += 1 } }
        private mutating func skipLine() {
            while let byte, byte != 0x0A { place += 1 }
        }

        mutating func next() throws(SettingsError) -> Entry? {
            while let byte {
                if byte.isBlank {
                    place += 1
                } else if byte == 0x23 {
                    skipLine()
                } else {
                    return try entry()
                }
            }
            return nil
        }

        private mutating func name() -> String {
            let start = place
            while let byte, byte.isNamePart(first: place == start) { place += 1 }
            return String(decoding: file.bytes[start..<place], as: UTF8.self)
        }

        private mutating func entry() throws(SettingsError) -> Entry {
            var start = place
            var name = name()
            if name == "export", byte == 0x20 || byte == 0x09 {
                skipBlanks()
                start = place
                name = self.name()
            }
            guard !name.isEmpty else {
                throw error(place, "a line begins with the name of a variable: letters, digits and _, no digit first")
            }
            guard byte == 0x3D else {
                throw error(
                    place, "a = must stand right behind \(name.count > 40 ? "the name" : name); write NAME=value")
            }
            place += 1
            let value = try value()
            return Entry(name: name, value: value, location: file.location(offset: start))
        }

        private mutating func value() throws(SettingsError) -> String {
            skipBlanks()
            guard byte == 0x27 || byte == 0x22 else { return plain() }
            let value = try quoted()
            skipBlanks()
            guard byte == nil || byte == 0x0A || byte == 0x0D || byte == 0x23 else {
                throw error(place, "the line goes on behind the closing quote; quote the whole value")
            }
            skipLine()
            return value
        }

        private mutating func plain() -> String {
            let start = place
            var end = start
            while let byte, byte != 0x0A {
                if byte == 0x23, place == start || file.bytes[place - 1] == 0x20 || file.bytes[place - 1] == 0x09 {
                    break
                }
                place += 1
                if !byte.isBlank { end = place }
            }
            skipLine()
            return String(decoding: file.bytes[start..<end], as: UTF8.self)
        }

        private mutating func quoted() throws(SettingsError) -> String {
            let (start, quote) = (place, byte)
            var value: [UInt8] = []
            place += 1
            while let byte {
                place += 1
                if byte == quote { return String(decoding: value, as: UTF8.self) }
                guard byte == 0x5C, quote == 0x22, let next = self.byte else {
                    value.append(byte)
                    continue
                }
                place += 1
                switch next {
                case 0x6E: value.append(0x0A)
                case 0x72: value.append(0x0D)
                case 0x74: value.append(0x09)
                case 0x22, 0x5C, 0x24: value.append(next)
                default: value += [byte, next]
                }
            }
            throw error(start, "the quote is not closed; write its twin at the end of the value")
        }
    }
}
