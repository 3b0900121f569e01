import Basics
import Testing

@testable import Web

@Suite struct APIMessageTests {
    @Test("a form's values come before the query's") func formFirst() {
        let body = Array("query=2".utf8)
        let request = APIRequest(method: "POST", path: "/", query: "query=1&time=6", body: body, isForm: true)
        #expect(request.parameter("query") == "2" && request.parameter("time") == "6")
        #expect(request.all("query") == ["2", "1"])
    }

    @Test(
        "a query and a form are decoded",
        arguments: [
            ("a=1&b=x%20y&a=2", "a", ["1", "2"]), ("a=1&b=x%20y", "b", ["x y"]),
            ("m%5B%5D=up%7Ba%3D%22b%22%7D", "m[]", [#"up{a="b"}"#]), ("a=x+y", "a", ["x y"]), ("a", "a", [""]),
            ("a=%zz", "a", ["%zz"]),
        ])
    func parameters(query: String, name: String, values: [String]) {
        #expect(APIRequest(path: "/", query: query).all(name) == values)
        #expect(APIRequest(method: "POST", path: "/", body: Array(query.utf8), isForm: true).all(name) == values)
    }

    @Test("what comes from outside cannot become markup") func escaping() {
        #expect(Page.text("<script>'\"&") == "&lt;script&gt;&#39;&#34;&amp;")
        #expect(Page.link("javascript:alert(1)") == "javascript:alert(1)")
        #expect(
            Page.link("https://x/\"onclick=") == "<a rel=\"noreferrer\" href=\"https://x/&#34;onclick=\">runbook</a>")
    }
}
