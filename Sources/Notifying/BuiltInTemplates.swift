internal import Templates

extension TemplateLibrary {
    /// The templates that Alertmanager's users call by name, for the channels offered here: the same names, the same
    /// results, apart from the mail's page, which is our own.
    ///
    /// - SeeAlso: Alertmanager, "Notification template reference".
    public static let builtIn: TemplateLibrary = {
        // A mistake in our own text.
        guard let template = try? Template(parsing: builtInTexts, name: "built-in", functions: .alertmanager) else {
            preconditionFailure("the built-in templates cannot be parsed")
        }
        return TemplateLibrary([template])
    }()
}

/// Values inside `style="…"`; who reads in the dark gets the rules of `<style>`.
private let mailStyle = """
    body{margin:0;padding:16px;font:15px/1.5 system-ui,sans-serif;color:#1c1c1e;background:#fff}\
    .box{max-width:640px;margin:auto}h1{font-size:18px;margin:0 0 12px;padding:10px 14px;border-radius:6px;color:#fff}\
    .on{background:#b3261e}.off{background:#2e7d32}h2{font-size:15px;margin:18px 0 4px}\
    table{border-collapse:collapse;font-size:13px}td{padding:1px 12px 1px 0;vertical-align:top;word-break:break-word}\
    td:first-child{color:#6b6b70}a{color:#0b57d0}pre{white-space:pre-wrap;font-size:13px;margin:6px 0;padding:8px;\
    background:#f2f2f5;border-radius:6px}.note{color:#6b6b70;font-size:12px;margin-top:20px}\
    @media(prefers-color-scheme:dark){body{color:#e5e5ea;background:#1c1c1e}a{color:#8ab4f8}\
    pre{background:#2c2c2e}td:first-child,.note{color:#98989f}}
    """

/// The page around a mail's content.
func mailPage(title: String, isFiring: Bool, content: String) -> String {
    """
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
    <meta name="color-scheme" content="light dark"><title>\(title)</title><style>\(mailStyle)</style></head>
    <body><div class="box"><h1 class="\(isFiring ? "on" : "off")">\(title)</h1>
    \(content)</div></body></html>

    """
}

private let builtInTexts = #"""
    {{ define "__alertmanager" }}Alertmanager{{ end -}}
    {{ define "__alertmanagerURL" }}{{ printf "%s/#/alerts?receiver=%s" .ExternalURL (urlquery .Receiver) }}{{ end -}}
    {{ define "__description" }}{{ end -}}
    {{ define "__subject" -}}
    {{ $count := len .Alerts.Firing }}[{{ toUpper .Status }}{{ if $count }}:{{ $count }}{{ end }}]
    {{- print " " (join " " .GroupLabels.SortedPairs.Values) " " -}}
    {{ $more := .CommonLabels.Remove .GroupLabels.Names -}}
    {{ if lt (len .GroupLabels) (len .CommonLabels) }}{{ printf "(%s)" (join " " $more.Values) }}{{ end -}}
    {{ end -}}
    {{ define "__text_alert_list" }}{{ range $alert := . }}{{ print "Labels:\n" -}}
    {{ range $pair := $alert.Labels.SortedPairs }}{{ printf " - %s = %s\n" $pair.Name $pair.Value }}{{ end -}}
    {{ print "Annotations:\n" -}}
    {{ range $pair := $alert.Annotations.SortedPairs }}{{ printf " - %s = %s\n" $pair.Name $pair.Value }}{{ end -}}
    {{ printf "Source: %s\n" $alert.GeneratorURL }}{{ end }}{{ end -}}
    {{ define "__text_alert_list_markdown" }}{{ range $alert := . }}{{ print "\nLabels:\n" -}}
    {{ range $pair := $alert.Labels.SortedPairs }}{{ printf "  - %s = %s\n" $pair.Name $pair.Value }}{{ end -}}
    {{ print "\nAnnotations:\n" -}}
    {{ range $pair := $alert.Annotations.SortedPairs }}{{ printf "  - %s = %s\n" $pair.Name $pair.Value }}{{ end -}}
    {{ printf "\nSource: %s\n" $alert.GeneratorURL }}{{ end }}{{ print "\n" }}{{ end -}}
    {{ define "slack.default.title" }}{{ template "__subject" . }}{{ end -}}
    {{ define "slack.default.titlelink" }}{{ template "__alertmanagerURL" . }}{{ end -}}
    {{ define "slack.default.username" }}{{ template "__alertmanager" . }}{{ end -}}
    {{ define "slack.default.fallback" -}}
    {{ template "slack.default.title" . }}{{ print " | " }}{{ template "slack.default.titlelink" . }}{{ end -}}
    {{ define "slack.default.color" }}{{ if eq "firing" .Status }}danger{{ else }}good{{ end }}{{ end -}}
    {{ define "slack.default.pretext" }}{{ end -}}
    {{ define "slack.default.text" }}{{ end -}}
    {{ define "slack.default.footer" }}{{ end -}}
    {{ define "slack.default.callbackid" }}{{ end -}}
    {{ define "slack.default.iconemoji" }}{{ end -}}
    {{ define "slack.default.iconurl" }}{{ end -}}
    {{ define "pagerduty.default.client" }}{{ template "__alertmanager" . }}{{ end -}}
    {{ define "pagerduty.default.clientURL" }}{{ template "__alertmanagerURL" . }}{{ end -}}
    {{ define "pagerduty.default.description" }}{{ template "__subject" . }}{{ end -}}
    {{ define "pagerduty.default.instances" }}{{ template "__text_alert_list" . }}{{ end -}}
    {{ define "email.default.subject" }}{{ template "__subject" . }}{{ end -}}
    {{ define "email.default.text" }}{{ template "__subject" . }}{{ print "\n\n" }}{{ template "__text_alert_list" .Alerts -}}
    {{ print "\n" }}{{ template "__alertmanagerURL" . }}{{ print "\n" }}{{ end -}}
    {{ define "__mail_alerts" }}{{ range . }}<h2>{{ .Labels.alertname }}</h2>
    {{ range .Annotations.SortedPairs }}<div><b>{{ .Name }}</b>: {{ .Value }}</div>{{ end }}
    <table>{{ range .Labels.SortedPairs }}<tr><td>{{ .Name }}</td><td>{{ .Value }}</td></tr>{{ end }}</table>
    <p><a href="{{ .GeneratorURL }}">Source</a></p>
    {{ end }}{{ end -}}
    {{ define "email.default.html" }}
    """#
    // The colour of the heading is chosen by the template here, so both pages are one.
    + mailPage(
        title: #"{{ template "__subject" . }}"#, isFiring: true,
        content: #"""
            {{ if .Alerts.Firing }}<p><b>{{ len .Alerts.Firing }} firing</b></p>{{ template "__mail_alerts" .Alerts.Firing }}{{ end }}
            {{ if .Alerts.Resolved }}<p><b>{{ len .Alerts.Resolved }} resolved</b></p>{{ template "__mail_alerts" .Alerts.Resolved }}{{ end }}
            <p><a href="{{ template "__alertmanagerURL" . }}">View in {{ template "__alertmanager" . }}</a></p>
            """#
    ).replacing(#"class="on""#, with: #"class="{{ if .Alerts.Firing }}on{{ else }}off{{ end }}""#)
    + "{{ end }}"
