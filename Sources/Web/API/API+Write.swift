internal import Remote

extension API {
    /// Stores what another server sends by remote write.
    func receiveWrite(_ request: APIRequest) throws(APIError) -> APIResponse {
        guard let receiver = context.receiver() else {
            throw .notFound(
                "the receiver of remote write is switched off; say web: {remote_write_receiver: true} in the file, "
                    + "or start with --web.enable-remote-write-receiver")
        }
        let answer = receiver.receive(
            request.body, contentType: request.contentType ?? "", contentEncoding: request.contentEncoding)
        return answer.status == 204 ? .nothing : .text(answer.reason + "\n", status: answer.status)
    }
}
