public import Basics
public import Model
internal import NIOCore
internal import NIOSSL
internal import Synchronization

/// The listener's certificate and key, read from their files and read again when these change. TLS 1.2 at the least.
public final class TLSCertificates: Sendable {
    private struct State {
        var settings: WebSettings.TLS
        var context: NIOSSLContext
        /// The bytes that the context was made of.
        var contents: [[UInt8]]
        var expiry: Double
        var isRefused = false
    }
    private let state: Mutex<State>
    private let files: any FileSystem

    /// Reads the files; throws what is wrong with them.
    public init(_ settings: WebSettings.TLS, files: any FileSystem) throws(TLSError) {
        let contents = try TLSCertificates.contents(settings, files)
        let (context, expiry) = try TLSCertificates.context(settings, contents)
        state = Mutex(State(settings: settings, context: context, contents: contents, expiry: expiry))
        self.files = files
    }

    /// Reads the files again when they changed, for the connections to come. Throws when they cannot be used: those
    /// read before go on. Answers whether anything changed.
    public func refresh(_ settings: WebSettings.TLS? = nil) throws(TLSError) -> Bool {
        do throws(TLSError) {
            let isFresh = try exchange(settings)
            state.withLock { $0.isRefused = false }
            return isFresh
        } catch {
            state.withLock { $0.isRefused = true }
            throw error
        }
    }

    private func exchange(_ settings: WebSettings.TLS?) throws(TLSError) -> Bool {
        let wanted = settings ?? state.withLock { $0.settings }
        let contents = try TLSCertificates.contents(wanted, files)
        guard state.withLock({ $0.contents != contents || $0.settings != wanted }) else { return false }
        let (context, expiry) = try TLSCertificates.context(wanted, contents)
        state.withLock {
            $0 = State(settings: wanted, context: context, contents: contents, expiry: expiry)
        }
        return true
    }

    /// When the first certificate of the chain ends, in seconds since the epoch.
    var expiry: Double { state.withLock { $0.expiry } }

    func handler() -> NIOSSLServerHandler { NIOSSLServerHandler(context: state.withLock { $0.context }) }

    private static func contents(_ settings: WebSettings.TLS, _ files: any FileSystem) throws(TLSError) -> [[UInt8]] {
        var all: [[UInt8]] = []
        for path in [settings.certificate, settings.key, settings.clientAuthority].compactMap(\.self) {
            do throws(FileError) {
                all.append(try files.contents(of: path, limit: 1 << 20))
            } catch {
                throw TLSError("\(path) cannot be read: \(error.reason); mend web.tls or the file")
            }
        }
        return all
    }

    private static func context(
        _ settings: WebSettings.TLS, _ contents: [[UInt8]]
    ) throws(TLSError) -> (NIOSSLContext, expiry: Double) {
        let chain: [NIOSSLCertificate]
        do {
            chain = try NIOSSLCertificate.fromPEMBytes(contents[0])
        } catch {
            throw TLSError("\(settings.certificate) holds no certificate in PEM; mend cert_file")
        }
        let key: NIOSSLPrivateKey
        do {
            key = try NIOSSLPrivateKey(bytes: contents[1], format: .pem)
        } catch {
            throw TLSError("\(settings.key) holds no private key in PEM without a password; mend key_file")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = settings.isModern ? .tlsv13 : .tlsv12
        if settings.clientAuthority != nil {
            do {
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(contents[2]))
            } catch {
                throw TLSError("\(settings.clientAuthority ?? "") holds no certificate in PEM; mend client_ca_file")
            }
            configuration.certificateVerification = .noHostnameVerification
        }
        do {
            let ends = chain.map { Double($0.notValidAfter) }
            return (try NIOSSLContext(configuration: configuration), ends.min() ?? 0)
        } catch {
            throw TLSError("\(settings.certificate) and \(settings.key) are no pair; mend cert_file or key_file")
        }
    }
}

extension TLSCertificates: MetricsSource {
    /// The certificate's end, and whether what stands in the files now is refused.
    public func metrics() -> [MetricFamily] {
        [
            MetricFamily(
                .gauge, "vedette_certificate_expiry_timestamp_seconds", "When the listener's certificate ends.",
                [(Labels(), expiry)]),
            MetricFamily(
                .gauge, "vedette_certificate_refused",
                "Whether the certificate's files cannot be used, so that the one read before is in force.",
                state.withLock { $0.isRefused } ? 1 : 0),
        ]
    }
}

/// Files that TLS cannot use.
public struct TLSError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One sentence with the cure.
    public let description: String
    init(_ description: String) { self.description = description }
}
