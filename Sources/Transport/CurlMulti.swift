internal import Basics
internal import CCurl
internal import CLinux
internal import Glibc
internal import Settings

/// libcurl's multi interface over epoll, for one thread: many transfers, kept connections, reused buffers.
@safe final class CurlMulti {
    /// One easy handle with its request; used again and again for the same target.
    @safe final class Transfer {
        let easy: UnsafeMutableRawPointer
        var body: [UInt8] = []
        var headers: [HTTPHeader] = []
        let limitBytes: Int
        private let wantsStatusAlone: Bool
        let collectsHeaders: Bool
        private let purpose: HTTPRequest.Purpose
        private var headerBytes = 0
        var isTooLarge = false
        var isRunning = false
        private let acceptsGzip: Bool
        /// While a gzip body comes. libcurl's own would take a body that is cut off for a whole one.
        private var gzip: GzipReader?
        private var isBroken = false
        /// The caller's own number for it.
        var tag = 0
        private let list: UnsafeMutablePointer<curl_slist>?
        private let detours: UnsafeMutablePointer<curl_slist>?
        private let proxyHeaders: UnsafeMutablePointer<curl_slist>?
        private let requestBody: [UInt8]
        /// Of a mail: what is said, and how much of the message libcurl has taken.
        private(set) var dialogue: MailDialogue?
        private var uploaded = 0
        private var lastContentType = ""
        /// Where libcurl says what went wrong, in more words than its code has.
        private let problem: UnsafeMutablePointer<CChar>

        init(_ request: HTTPRequest, collectsHeaders: Bool) throws(TransportError) {
            // A line's end in a value would begin a header of its own.
            for header in request.headers + request.options.proxyHeaders
            where (header.name + header.value).utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) {
                throw .invalid("the header \(header.name.goQuoted) holds a control character; take it out")
            }
            guard let easy = unsafe curl_easy_init() else { throw .invalid("libcurl has no memory") }
            unsafe self.easy = easy
            limitBytes = request.maximumResponseBytes
            wantsStatusAlone = request.wantsStatusAlone
            self.collectsHeaders = collectsHeaders
            purpose = request.purpose
            requestBody = request.body
            acceptsGzip = request.options.acceptCompression
            unsafe problem = .allocate(capacity: Int(CURL_ERROR_SIZE))
            unsafe problem.pointee = 0
            var list: UnsafeMutablePointer<curl_slist>?
            var detours: UnsafeMutablePointer<curl_slist>?
            var (url, headers) = (request.url, request.headers)
            if let name = request.options.serverName, let detour = ServerName(name, for: url) {
                url = detour.url
                headers.append(HTTPHeader("Host", detour.host))
                unsafe detours = unsafe curl_slist_append(nil, detour.connectTo)
            }
            if acceptsGzip, !headers.contains(where: { $0.name.lowercased() == "accept-encoding" }) {
                headers.append(HTTPHeader("Accept-Encoding", "gzip"))
            }
            for header in headers {
                unsafe list = unsafe curl_slist_append(list, "\(header.name): \(header.value)")
            }
            // No 100-continue: a page is small, and some receivers do not know it.
            unsafe list = unsafe curl_slist_append(list, "Expect:")
            var proxyHeaders: UnsafeMutablePointer<curl_slist>?
            for header in request.options.proxyHeaders {
                unsafe proxyHeaders = unsafe curl_slist_append(proxyHeaders, "\(header.name): \(header.value)")
            }
            unsafe self.proxyHeaders = unsafe proxyHeaders
            unsafe self.list = unsafe list
            unsafe self.detours = unsafe detours
            unsafe configure(request, url, list)
        }

        /// A mail, by one of its ways to authenticate.
        init(_ mail: Mail, _ credentials: MailCredentials.Way?) throws(TransportError) {
            guard let easy = unsafe curl_easy_init() else { throw .invalid("libcurl has no memory") }
            unsafe self.easy = easy
            (limitBytes, collectsHeaders, requestBody, acceptsGzip) = (64 << 10, false, mail.message, false)
            wantsStatusAlone = false
            purpose = .answer
            unsafe problem = .allocate(capacity: Int(CURL_ERROR_SIZE))
            unsafe problem.pointee = 0
            var url = mail.url
            var list: UnsafeMutablePointer<curl_slist>?
            var detours: UnsafeMutablePointer<curl_slist>?
            if let name = mail.options.serverName, let detour = ServerName(name, for: url) {
                url = detour.url
                unsafe detours = unsafe curl_slist_append(nil, detour.connectTo)
            }
            for recipient in mail.recipients { unsafe list = unsafe curl_slist_append(list, "<\(recipient)>") }
            unsafe self.list = unsafe list
            unsafe self.detours = unsafe detours
            unsafe proxyHeaders = nil
            dialogue = MailDialogue(recipients: mail.recipients)
            set(CURLOPT_URL, url)
            set(CURLOPT_NOSIGNAL, 1)
            set(CURLOPT_PROTOCOLS_STR, "smtp,smtps")
            set(CURLOPT_TIMEOUT_MS, Int(mail.timeout))
            // Also bounds the good-bye, for which libcurl waits.
            set(CURLOPT_SERVER_RESPONSE_TIMEOUT, Int(max(1, min(mail.timeout, 30_000) / 1000)))
            set(CURLOPT_FORBID_REUSE, 1)
            set(CURLOPT_FRESH_CONNECT, 1)
            set(CURLOPT_PROXY, "")
            setTLS(mail.options)
            set(CURLOPT_USE_SSL, mail.security == .plain ? 0 : 3)  // CURLUSESSL_NONE, CURLUSESSL_ALL
            set(CURLOPT_MAIL_FROM, "<\(mail.sender)>")
            unsafe vedette_curl_set_list(easy, CURLOPT_MAIL_RCPT, list)
            unsafe vedette_curl_set_list(easy, CURLOPT_CONNECT_TO, detours)
            unsafe vedette_curl_allow_refused_recipients(easy)
            if let credentials {
                set(CURLOPT_USERNAME, credentials.username)
                set(CURLOPT_PASSWORD, credentials.password)
                set(CURLOPT_LOGIN_OPTIONS, credentials.mechanisms.map { "AUTH=\($0)" }.joined(separator: ";"))
                if !credentials.identity.isEmpty { set(CURLOPT_SASL_AUTHZID, credentials.identity) }
            }
            set(CURLOPT_UPLOAD, 1)
            let context = unsafe Unmanaged.passUnretained(self).toOpaque()
            unsafe vedette_curl_set_size(easy, CURLOPT_INFILESIZE_LARGE, curl_off_t(mail.message.count))
            unsafe vedette_curl_set_pointer(easy, CURLOPT_ERRORBUFFER, UnsafeMutableRawPointer(problem))
            unsafe vedette_curl_set_pointer(easy, CURLOPT_PRIVATE, context)
            unsafe vedette_curl_set_pointer(easy, CURLOPT_READDATA, context)
            unsafe vedette_curl_set_data_callback(easy, CURLOPT_READFUNCTION, onUpload)
            unsafe vedette_curl_set_pointer(easy, CURLOPT_WRITEDATA, context)
            unsafe vedette_curl_set_data_callback(easy, CURLOPT_WRITEFUNCTION, onBody)
            unsafe vedette_curl_set_debug_callback(easy, onDialogue, context)
        }

        deinit {
            unsafe curl_easy_cleanup(easy)
            unsafe curl_slist_free_all(list)
            unsafe problem.deallocate()
            unsafe curl_slist_free_all(detours)
            unsafe curl_slist_free_all(proxyHeaders)
        }

        private func configure(
            _ request: HTTPRequest, _ url: String, _ headers: UnsafeMutablePointer<curl_slist>?
        ) {
            let options = request.options
            set(CURLOPT_URL, url)
            set(CURLOPT_NOSIGNAL, 1)
            set(CURLOPT_PROTOCOLS_STR, "http,https")
            set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https")
            set(CURLOPT_TIMEOUT_MS, Int(request.timeout))
            set(CURLOPT_BUFFERSIZE, request.purpose == .answer ? 256 << 10 : 16 << 10)
            set(CURLOPT_TCP_NODELAY, 1)
            // Else a fetch whose time is up waits for the name server, and all others with it.
            set(CURLOPT_QUICK_EXIT, 1)
            if request.purpose != .answer {
                set(CURLOPT_FRESH_CONNECT, 1)
                set(CURLOPT_DNS_CACHE_TIMEOUT, 0)
                set(CURLOPT_CERTINFO, 1)
            }
            if request.purpose == .check { set(CURLOPT_FORBID_REUSE, 1) }
            if request.purpose == .connection {
                set(CURLOPT_CONNECT_ONLY, 1)  // Such a connection goes with its handle.
                set(CURLOPT_SSL_ENABLE_ALPN, 0)  // Whatever is spoken there.
            }
            set(CURLOPT_FOLLOWLOCATION, options.followRedirects ? 1 : 0)
            set(CURLOPT_MAXREDIRS, 10)
            if let socket = request.unixSocket { set(CURLOPT_UNIX_SOCKET_PATH, socket) }
            setTLS(options)
            // An empty proxy keeps the environment's variables out: what is used is what the file says.
            if !options.proxyFromEnvironment { set(CURLOPT_PROXY, options.proxy ?? "") }
            if let hosts = options.withoutProxy { set(CURLOPT_NOPROXY, hosts) }
            if !options.proxyHeaders.isEmpty {
                set(CURLOPT_HEADEROPT, 1)  // CURLHEADER_SEPARATE
                unsafe vedette_curl_set_list(easy, CURLOPT_PROXYHEADER, proxyHeaders)
            }
            unsafe vedette_curl_set_list(easy, CURLOPT_HTTPHEADER, headers)
            unsafe vedette_curl_set_list(easy, CURLOPT_CONNECT_TO, detours)
            if request.method != "GET" {
                // A redirect would lose the body, and its answer would look like a page's receipt: 3xx is the answer.
                set(CURLOPT_FOLLOWLOCATION, 0)
                set(CURLOPT_CUSTOMREQUEST, request.method)
                unsafe vedette_curl_set_size(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(requestBody.count))
                unsafe requestBody.withUnsafeBytes { bytes in
                    // libcurl copies it, so the array may move.
                    _ = unsafe vedette_curl_set_pointer(
                        easy, CURLOPT_COPYPOSTFIELDS, UnsafeMutableRawPointer(mutating: bytes.baseAddress))
                }
            }
            let context = unsafe Unmanaged.passUnretained(self).toOpaque()
            unsafe vedette_curl_set_pointer(easy, CURLOPT_ERRORBUFFER, UnsafeMutableRawPointer(problem))
            unsafe vedette_curl_set_pointer(easy, CURLOPT_PRIVATE, context)
            unsafe vedette_curl_set_pointer(easy, CURLOPT_WRITEDATA, context)
            unsafe vedette_curl_set_data_callback(easy, CURLOPT_WRITEFUNCTION, onBody)
            guard collectsHeaders else { return }
            unsafe vedette_curl_set_pointer(easy, CURLOPT_HEADERDATA, context)
            unsafe vedette_curl_set_data_callback(easy, CURLOPT_HEADERFUNCTION, onHeader)
        }

        private func setTLS(_ options: HTTPOptions) {
            if options.insecureSkipVerify {
                set(CURLOPT_SSL_VERIFYPEER, 0)
                set(CURLOPT_SSL_VERIFYHOST, 0)
            }
            if let file = options.certificateAuthorityFile { set(CURLOPT_CAINFO, file) }
            if let file = options.certificateFile { set(CURLOPT_SSLCERT, file) }
            if let file = options.keyFile { set(CURLOPT_SSLKEY, file) }
            set(CURLOPT_CAINFO_BLOB, blob: options.certificateAuthority)
            set(CURLOPT_SSLCERT_BLOB, blob: options.certificate)
            // A text that stands in the settings: nothing is read.
            set(CURLOPT_SSLKEY_BLOB, blob: try? options.key?.reveal { _ in [] })
            let versions: [TLSVersion: Int] = [.tls10: 4, .tls11: 5, .tls12: 6, .tls13: 7]
            let oldest = options.oldestTLS.flatMap { versions[$0] } ?? 0
            let newest = options.newestTLS.flatMap { versions[$0] } ?? 0
            // libcurl's numbers: the newest stands in the upper half.
            if oldest + newest > 0 { set(CURLOPT_SSLVERSION, oldest | newest << 16) }
        }

        private func set(_ option: CURLoption, _ text: String) {
            _ = unsafe vedette_curl_set_string(easy, option, text)
        }
        private func set(_ option: CURLoption, _ number: Int) { _ = unsafe vedette_curl_set_long(easy, option, number) }

        private func set(_ option: CURLoption, blob text: String?) {
            guard var text else { return }
            _ = text.withUTF8 { unsafe vedette_curl_set_blob(easy, option, $0.baseAddress, $0.count) }
        }

        var status: Int {
            var status = 0
            _ = unsafe vedette_curl_get_long(easy, CURLINFO_RESPONSE_CODE, &status)
            return status
        }
        /// The answer's content type; the same text is kept from one answer to the next.
        var contentType: String? {
            var text: UnsafePointer<CChar>?
            _ = unsafe vedette_curl_get_string(easy, CURLINFO_CONTENT_TYPE, &text)
            guard let text = unsafe text else { return nil }
            let isSame = unsafe lastContentType.withCString { unsafe strcmp($0, text) == 0 }
            if !isSame { lastContentType = unsafe String(cString: text) }
            return lastContentType
        }
        /// Whether the other side may act on it.
        var wasSent: Bool { dialogue.map(\.isMessageSent) ?? hasSent }
        /// Whether any byte of the request has gone out.
        var hasSent: Bool {
            var sent = 0
            _ = unsafe vedette_curl_get_long(easy, CURLINFO_REQUEST_SIZE, &sent)
            return sent > 0
        }

        /// Takes bytes of the answer; false when they are too many.
        fileprivate func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
            // Gzip begins with a byte that no text begins with.
            if acceptsGzip, gzip == nil, body.isEmpty, unsafe bytes.first == 0x1F { gzip = GzipReader() }
            if let gzip {
                let outcome = unsafe gzip.read(bytes, into: &body, limit: limitBytes)
                (isTooLarge, isBroken) = (outcome == .tooLong, outcome == .broken)
                return outcome == .taken
            }
            guard body.count + bytes.count <= limitBytes else {
                isTooLarge = true
                if wantsStatusAlone { unsafe body.append(contentsOf: bytes.prefix(limitBytes - body.count)) }
                return false
            }
            unsafe body.append(contentsOf: bytes)
            return true
        }

        fileprivate func takeHeader(_ line: UnsafeRawBufferPointer) {
            let text = unsafe String(decoding: line, as: UTF8.self)
            // The answer behind a redirect begins with a status line: forget what came before it.
            if text.hasPrefix("HTTP/") { (headers, headerBytes) = ([], 0) }
            headerBytes += line.count
            guard headers.count < 200, headerBytes <= 64 << 10, let colon = text.firstIndex(of: ":") else { return }
            let value = text[text.index(after: colon)...]
            headers.append(HTTPHeader(text[..<colon].lowercased(), value.trimmed))
        }

        /// Forgets the answer before, but not the room for the next.
        fileprivate func clear() {
            body.removeAll(keepingCapacity: true)
            headers.removeAll(keepingCapacity: true)
            (isTooLarge, isBroken, gzip) = (false, false, nil)
        }

        /// The next part of a mail's message.
        fileprivate func upload(_ room: UnsafeMutableRawBufferPointer) -> Int {
            let count = min(room.count, requestBody.count - uploaded)
            unsafe requestBody[uploaded..<uploaded + count].withUnsafeBytes { unsafe room.copyMemory(from: $0) }
            uploaded += count
            if uploaded == requestBody.count { dialogue?.isMessageSent = true }
            return count
        }

        fileprivate func say(_ line: String, isOurs: Bool) {
            if isOurs { dialogue?.say(line) } else { dialogue?.hear(line) }
        }

        /// How a check went; of a page only why it failed.
        func details(_ code: CURLcode) -> FetchDetails {
            var details = FetchDetails()
            guard purpose != .answer else {
                if code != CURLE_OK { details.cause = cause(code) }
                return details
            }
            details.headers = headers
            details.cause = cause(code)
            let (resolved, connected) = (seconds(CURLINFO_NAMELOOKUP_TIME_T), seconds(CURLINFO_CONNECT_TIME_T))
            let (secured, sent) = (seconds(CURLINFO_APPCONNECT_TIME_T), seconds(CURLINFO_PRETRANSFER_TIME_T))
            let (answered, ended) = (seconds(CURLINFO_STARTTRANSFER_TIME_T), seconds(CURLINFO_TOTAL_TIME_T))
            if resolved > 0 { details.phases.append(.init(.resolve, resolved)) }
            if connected > 0 { details.phases.append(.init(.connect, connected - resolved)) }
            if secured > 0 { details.phases.append(.init(.tls, secured - connected)) }
            if answered > 0, purpose == .check {
                details.phases.append(.init(.processing, answered - sent))
                details.phases.append(.init(.transfer, ended - answered))
            }
            details.isEncrypted = secured > 0
            details.certificateExpiry = certificateExpiry
            details.redirects = number(CURLINFO_REDIRECT_COUNT)
            details.httpVersion = [1: 1, 2: 1.1, 3: 2, 30: 3][number(CURLINFO_HTTP_VERSION)] ?? 0
            details.ipVersion = text(CURLINFO_PRIMARY_IP).map { $0.isEmpty ? 0 : $0.contains(":") ? 6 : 4 } ?? 0
            details.redirect = text(CURLINFO_REDIRECT_URL)
            return details
        }

        private func cause(_ code: CURLcode) -> FetchCause? {
            if isTooLarge { return .tooLarge }
            switch code {
            case CURLE_OK: return nil
            case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: return .resolve
            case CURLE_COULDNT_CONNECT: return number(CURLINFO_OS_ERRNO) == Int(ECONNREFUSED) ? .refused : .connect
            case CURLE_OPERATION_TIMEDOUT: return isLookupOpen ? .resolve : .timeout
            case CURLE_PEER_FAILED_VERIFICATION: return .certificate
            case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CIPHER, CURLE_SSL_ENGINE_INITFAILED: return .tls
            case CURLE_TOO_MANY_REDIRECTS: return .redirect
            case CURLE_UNSUPPORTED_PROTOCOL where hasSent: return .redirect
            case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE:
                return .request
            default: return .interrupted
            }
        }

        /// Whether the time ran out before the host's name was known.
        private var isLookupOpen: Bool {
            seconds(CURLINFO_NAMELOOKUP_TIME_T) == 0 && !wasSent && text(CURLINFO_PRIMARY_IP)?.isEmpty != false
        }

        private func seconds(_ info: CURLINFO) -> Double {
            var microseconds: curl_off_t = 0
            _ = unsafe vedette_curl_get_size(easy, info, &microseconds)
            return Double(microseconds) / 1e6
        }

        private func number(_ info: CURLINFO) -> Int {
            var number = 0
            _ = unsafe vedette_curl_get_long(easy, info, &number)
            return number
        }

        private func text(_ info: CURLINFO) -> String? {
            var text: UnsafePointer<CChar>?
            _ = unsafe vedette_curl_get_string(easy, info, &text)
            return unsafe text.map { unsafe String(cString: $0) }
        }

        /// When the first of the certificates that the server showed ends.
        private var certificateExpiry: Timestamp? {
            var pointer: UnsafeMutableRawPointer?
            _ = unsafe vedette_curl_get_pointer(easy, CURLINFO_CERTINFO, &pointer)
            guard let chain = unsafe pointer?.assumingMemoryBound(to: curl_certinfo.self) else { return nil }
            var expiry: Timestamp?
            for index in 0..<min(16, Int(unsafe chain.pointee.num_of_certs)) {
                var field = unsafe chain.pointee.certinfo[index]
                while let current = unsafe field {
                    unsafe field = unsafe current.pointee.next
                    guard unsafe strncmp(current.pointee.data, "Expire date:", 12) == 0 else { continue }
                    let date = CertificateDate.parse(unsafe String(cString: current.pointee.data + 12))
                    expiry = [expiry, date].compactMap(\.self).min()
                }
            }
            return expiry
        }

        /// The socket of a connection that was made and is kept; for `Conversation`.
        var socket: Int32 {
            var socket: Int32 = -1
            _ = unsafe vedette_curl_get_socket(easy, CURLINFO_ACTIVESOCKET, &socket)
            return socket
        }

        /// Gives back what only a running transfer needs.
        fileprivate func close() { gzip = nil }

        /// What libcurl's result means.
        func error(_ code: CURLcode) -> TransportError? {
            // 1xx only announces the answer.
            if wantsStatusAlone, status >= 200 { return nil }
            if isTooLarge { return .tooLarge(limitBytes: limitBytes) }
            if isBroken || code == CURLE_OK && gzip?.isWhole == false {
                return .interrupted("the gzip body is \(isBroken ? "broken" : "cut off")", requestWasSent: true)
            }
            if code == CURLE_OK { return nil }
            let words = unsafe String(cString: problem)
            let reason = unsafe words.isEmpty ? String(cString: curl_easy_strerror(code)) : words
            switch code {
            // An answer may be in an unknown protocol too, or redirect to one: the request itself is good then.
            case CURLE_UNSUPPORTED_PROTOCOL where hasSent: return .interrupted(reason, requestWasSent: true)
            case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE:
                return .invalid(reason)
            case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY,
                CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION:
                return .unreachable(reason)
            case CURLE_USE_SSL_FAILED:
                return .unreachable("the server offers no STARTTLS, or it failed (\(reason)); see require_tls")
            case CURLE_OPERATION_TIMEDOUT where isLookupOpen:
                return .unreachable("its name could not be looked up in time; look at the name server")
            case CURLE_OPERATION_TIMEDOUT: return .interrupted("timed out", requestWasSent: wasSent)
            default: return .interrupted(reason, requestWasSent: wasSent)
            }
        }
    }

    private let multi: UnsafeMutableRawPointer
    fileprivate let epoll: Int32
    private let wakeDescriptor: Int32
    fileprivate var timerDue: UInt64?
    private let clock: any TimeSource
    private var completed: [(Transfer, CURLcode)] = []
    private var running: [ObjectIdentifier: Transfer] = [:]

    init(clock: any TimeSource, maximumConnections: Int = 0) {
        _ = CurlMulti.isReady
        self.clock = clock
        guard let multi = unsafe curl_multi_init() else { preconditionFailure("libcurl has no memory") }
        unsafe self.multi = multi
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeDescriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        precondition(epoll >= 0 && wakeDescriptor >= 0, "no file descriptors left")
        _ = vedette_epoll_control(epoll, EPOLL_CTL_ADD, wakeDescriptor, EPOLLIN.rawValue)
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe vedette_curl_multi_set_socket(multi, onSocket)
        unsafe vedette_curl_multi_set_pointer(multi, CURLMOPT_SOCKETDATA, context)
        unsafe vedette_curl_multi_set_timer(multi, onTimer)
        unsafe vedette_curl_multi_set_pointer(multi, CURLMOPT_TIMERDATA, context)
        if maximumConnections > 0 {
            unsafe vedette_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, maximumConnections)
            unsafe vedette_curl_multi_set_long(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, maximumConnections)
        }
    }

    deinit {
        for transfer in running.values { unsafe curl_multi_remove_handle(multi, transfer.easy) }
        unsafe curl_multi_cleanup(multi)
        close(epoll)
        close(wakeDescriptor)
    }

    /// libcurl's own start, once in a process.
    private static let isReady: Bool = vedette_curl_global_init() == CURLE_OK

    func start(_ transfer: Transfer) {
        transfer.clear()
        transfer.isRunning = true
        running[ObjectIdentifier(transfer)] = transfer
        unsafe curl_multi_add_handle(multi, transfer.easy)
    }

    func cancel(_ transfer: Transfer) {
        guard transfer.isRunning else { return }
        transfer.isRunning = false
        running[ObjectIdentifier(transfer)] = nil
        unsafe curl_multi_remove_handle(multi, transfer.easy)
    }

    /// A wake-up call for other threads: the descriptor stays open as long as the owner lives.
    var waker: Waker { Waker(descriptor: wakeDescriptor) }

    struct Waker: Sendable {
        fileprivate let descriptor: Int32
        func wake() { _ = eventfd_write(descriptor, 1) }
    }

    /// Moves transfers on, for at most `wait`, and calls `finish` for each that ended.
    func poll(for wait: Milliseconds, finish: (Transfer, CURLcode) -> Void) {
        var timeout = wait
        if let timerDue {
            let now = clock.uptimeNanoseconds()
            timeout = min(timeout, timerDue > now ? Int64((timerDue - now + 999_999) / 1_000_000) : 0)
        }
        var runningCount: Int32 = 0
        unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 64) { events in
            let count = unsafe epoll_wait(epoll, events.baseAddress, 64, Int32(clamping: max(0, timeout)))
            for index in 0..<max(0, Int(count)) {
                let descriptor = unsafe vedette_epoll_descriptor(events.baseAddress! + index)
                if descriptor == wakeDescriptor {
                    var value: eventfd_t = 0
                    _ = unsafe eventfd_read(wakeDescriptor, &value)
                    continue
                }
                let flags = unsafe events[index].events
                var action: Int32 = 0
                if flags & EPOLLIN.rawValue != 0 { action |= CURL_CSELECT_IN }
                if flags & EPOLLOUT.rawValue != 0 { action |= CURL_CSELECT_OUT }
                if flags & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { action |= CURL_CSELECT_ERR }
                unsafe curl_multi_socket_action(multi, descriptor, action, &runningCount)
            }
        }
        if let timerDue, timerDue <= clock.uptimeNanoseconds() {
            self.timerDue = nil
            unsafe curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &runningCount)
        }
        collect(finish)
    }

    private func collect(_ finish: (Transfer, CURLcode) -> Void) {
        var left: Int32 = 0
        while let message = unsafe curl_multi_info_read(multi, &left) {
            guard unsafe message.pointee.msg == CURLMSG_DONE, let easy = unsafe message.pointee.easy_handle else {
                continue
            }
            let code = unsafe vedette_curl_message_result(message)
            var context: UnsafeMutableRawPointer?
            _ = unsafe vedette_curl_get_pointer(easy, CURLINFO_PRIVATE, &context)
            unsafe curl_multi_remove_handle(multi, easy)
            guard let context = unsafe context else { continue }
            let transfer = unsafe Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
            transfer.isRunning = false
            running[ObjectIdentifier(transfer)] = nil
            finish(transfer, code)
            transfer.close()
        }
    }

    fileprivate func watch(_ socket: Int32, _ what: Int32) {
        guard what != CURL_POLL_REMOVE else {
            _ = vedette_epoll_control(epoll, EPOLL_CTL_DEL, socket, 0)
            return
        }
        var events: UInt32 = 0
        if what != CURL_POLL_OUT { events |= EPOLLIN.rawValue }
        if what != CURL_POLL_IN { events |= EPOLLOUT.rawValue }
        if vedette_epoll_control(epoll, EPOLL_CTL_MOD, socket, events) != 0 {
            _ = vedette_epoll_control(epoll, EPOLL_CTL_ADD, socket, events)
        }
    }

    fileprivate func setTimer(_ milliseconds: Int) {
        timerDue = milliseconds < 0 ? nil : clock.uptimeNanoseconds() + UInt64(milliseconds) * 1_000_000
    }
}

private let onBody: vedette_curl_data_callback = { data, size, count, context in
    let transfer = unsafe Unmanaged<CurlMulti.Transfer>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue()
    let taken = unsafe transfer.take(UnsafeRawBufferPointer(start: data, count: size * count))
    return taken ? size * count : 0
}

private let onUpload: vedette_curl_data_callback = { data, size, count, context in
    let transfer = unsafe Unmanaged<CurlMulti.Transfer>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue()
    return unsafe transfer.upload(UnsafeMutableRawBufferPointer(start: data, count: size * count))
}

private let onDialogue: curl_debug_callback = { _, kind, data, count, context in
    guard kind == CURLINFO_HEADER_IN || kind == CURLINFO_HEADER_OUT, let context = unsafe context else { return 0 }
    let transfer = unsafe Unmanaged<CurlMulti.Transfer>.fromOpaque(context).takeUnretainedValue()
    let line = unsafe String(decoding: UnsafeRawBufferPointer(start: data, count: count), as: UTF8.self)
    transfer.say(line, isOurs: kind == CURLINFO_HEADER_OUT)
    return 0
}

private let onHeader: vedette_curl_data_callback = { data, size, count, context in
    let transfer = unsafe Unmanaged<CurlMulti.Transfer>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue()
    unsafe transfer.takeHeader(UnsafeRawBufferPointer(start: data, count: size * count))
    return size * count
}

private let onSocket: curl_socket_callback = { _, socket, what, context, _ in
    unsafe Unmanaged<CurlMulti>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue().watch(socket, what)
    return 0
}

private let onTimer: curl_multi_timer_callback = { _, milliseconds, context in
    unsafe Unmanaged<CurlMulti>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue().setTimer(milliseconds)
    return 0
}
