internal import Basics
internal import Transport

extension HealthAnswer {
    /// What a fetch brought.
    init(_ result: borrowing FetchResult, _ body: [UInt8]) {
        self.init()
        (status, durationSeconds, details) = (result.status, result.durationSeconds, result.details)
        self.body = body
        guard let error = result.error else { return }
        // A fetcher that tells no cause tells it by the kind of error.
        let cause: FetchCause =
            switch error {
            case .invalid: .request
            case .unreachable: .connect
            case .interrupted("timed out", _): .timeout
            case .interrupted: .interrupted
            case .tooLarge: .tooLarge
            }
        failure = HealthReport.Failure(HealthReason(result.details.cause ?? cause), error.description)
    }
}
