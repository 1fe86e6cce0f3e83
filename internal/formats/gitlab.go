package formats

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// gitLabVersion is the declared version of the report schema. A GitLab instance refuses a minor
// version that it does not know but accepts old ones. This is the oldest version with every field
// that imagegate writes.
const gitLabVersion = "15.0.7"

// These types are the parts of GitLab's container scanning report that imagegate writes:
// https://gitlab.com/gitlab-org/security-products/security-report-schemas
type (
	gitLabReport struct {
		Version         string                `json:"version"`
		Scan            gitLabScan            `json:"scan"`
		Vulnerabilities []gitLabVulnerability `json:"vulnerabilities"`
	}
	gitLabScan struct {
		Analyzer gitLabTool      `json:"analyzer"`
		Scanner  gitLabTool      `json:"scanner"`
		Type     string          `json:"type"`
		Start    string          `json:"start_time"`
		End      string          `json:"end_time"`
		Status   string          `json:"status"`
		Messages []gitLabMessage `json:"messages"`
	}
	gitLabTool struct {
		ID      string     `json:"id"`
		Name    string     `json:"name"`
		URL     string     `json:"url"`
		Version string     `json:"version"`
		Vendor  gitLabName `json:"vendor"`
	}
	gitLabName struct {
		Name string `json:"name"`
	}
	gitLabMessage struct {
		Level string `json:"level"`
		Value string `json:"value"`
	}
	gitLabVulnerability struct {
		ID          string                  `json:"id"`
		Name        string                  `json:"name"`
		Description string                  `json:"description"`
		Severity    string                  `json:"severity"`
		Solution    string                  `json:"solution,omitempty"`
		Identifiers []gitLabIdentifier      `json:"identifiers"`
		Links       []gitLabLink            `json:"links,omitempty"`
		Flags       []gitLabFlag            `json:"flags,omitempty"`
		Details     map[string]gitLabDetail `json:"details"`
		Location    gitLabLocation          `json:"location"`
	}
	gitLabIdentifier struct {
		Type  string `json:"type"`
		Name  string `json:"name"`
		Value string `json:"value"`
		URL   string `json:"url,omitempty"`
	}
	gitLabLink struct {
		URL string `json:"url"`
	}
	gitLabFlag struct {
		Type        string `json:"type"`
		Origin      string `json:"origin"`
		Description string `json:"description"`
	}
	gitLabDetail struct {
		Name  string `json:"name"`
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	gitLabLocation struct {
		Dependency struct {
			Package gitLabName `json:"package"`
			Version string     `json:"version"`
		} `json:"dependency"`
		System string `json:"operating_system"`
		Image  string `json:"image"`
	}
)

// GitLab writes the problems as a container scanning report for GitLab's security widget. The
// format cannot express dismissals, so the details of each entry have its status. An entry that a
// VEX statement covers is flagged as a likely false positive.
//
// After a failed run, the status of the scan is "failure", and a message has the error.
func GitLab(w io.Writer, r report.Report) error {
	verdict := r.Verdict()
	tool := gitLabTool{ID: toolName, Name: toolName, URL: homePage, Version: cmp.Or(name(r.Tool.Version), "unknown"), Vendor: gitLabName{toolName}}
	out := gitLabReport{Version: gitLabVersion, Vulnerabilities: []gitLabVulnerability{}, Scan: gitLabScan{Analyzer: tool, Scanner: tool, Type: "container_scanning",
		Start: gitLabTime(cmp.Or(r.Started, r.Finished)), End: gitLabTime(cmp.Or(r.Finished, r.Started)), Status: "success",
		Messages: []gitLabMessage{{"info", sentence(verdict)}, {"info", countsText(verdict.Counts)}}}}
	if verdict.Outcome.IsFailure() || r.Error != nil {
		out.Scan.Status, out.Scan.Messages[0].Level = "failure", "fatal"
	}
	for _, c := range cautions(r) {
		out.Scan.Messages = append(out.Scan.Messages, gitLabMessage{"warn", c})
	}
	for _, p := range problems(r) {
		out.Vulnerabilities = append(out.Vulnerabilities, gitLabEntry(r, &p))
	}
	return report.WriteJSON(w, out)
}

// gitLabTime formats a time as GitLab requires: in UTC, without a zone or fractions.
func gitLabTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }

func gitLabEntry(r report.Report, p *problem) gitLabVulnerability {
	out := gitLabVulnerability{ID: uuid(p.Fingerprint), Name: clip(p.Title, 255), Description: resultMessage(p), Severity: gitLabSeverity(p), Solution: p.Do(),
		Identifiers: gitLabIdentifiers(p), Details: map[string]gitLabDetail{"status": {"Status", "text", p.Status.String()}, "rule": {"Rule", "text", p.Rule}}}
	if p.Finding != nil && clean(p.Finding.Description) != "" {
		out.Description = clean(p.Finding.Description) + " " + out.Description
	}
	if p.Note != "" {
		out.Details["note"] = gitLabDetail{"Note", "text", p.Note}
	}
	if p.Path != "" {
		out.Details["path"] = gitLabDetail{"Path", "text", "/" + p.Path}
	}
	if url := p.URL(); url != "" {
		out.Links = []gitLabLink{{url}}
	}
	if p.Status == report.NotAffected {
		out.Flags = []gitLabFlag{{"flagged-as-likely-false-positive", toolName, cmp.Or(p.Note, "covered by a VEX statement")}}
	}
	out.Location.Dependency.Package.Name, out.Location.Dependency.Version = cmp.Or(p.Name, "image"), cmp.Or(p.Version, "unknown")
	out.Location.System, out.Location.Image = system(r, p), imageName(r)
	return out
}

// gitLabIdentifiers returns the identifiers of a problem, the CVE first if there is one, because
// GitLab merges entries by their first identifier.
func gitLabIdentifiers(p *problem) []gitLabIdentifier {
	if p.Finding == nil {
		return []gitLabIdentifier{{Type: "imagegate_rule", Name: "imagegate rule " + p.ID, Value: cmp.Or(p.ID, "unknown")}}
	}
	out := []gitLabIdentifier{gitLabID(p.ID, p.URL())}
	for _, alias := range p.Finding.Aliases {
		if one := gitLabID(name(alias), ""); one.Type == "cve" && out[0].Type != "cve" {
			out = append([]gitLabIdentifier{one}, out...)
		} else {
			out = append(out, one)
		}
	}
	return out
}

func gitLabID(id, url string) gitLabIdentifier {
	kind, _, _ := strings.Cut(id, "-")
	switch kind = strings.ToLower(kind); kind {
	case "cve", "ghsa", "elsa", "rhsa", "usn":
	default:
		kind = "imagegate_vulnerability"
	}
	id = cmp.Or(id, "unknown")
	return gitLabIdentifier{Type: kind, Name: id, Value: id, URL: url}
}

// gitLabSeverity returns the severity in GitLab's spelling. It returns Unknown for a problem that
// is not a vulnerability and therefore has no rating.
func gitLabSeverity(p *problem) string {
	if p.Finding == nil {
		return "Unknown"
	}
	switch s := p.Finding.Severity; s {
	case evidence.SeverityNegligible:
		return "Info"
	case evidence.SeverityLow, evidence.SeverityMedium, evidence.SeverityHigh, evidence.SeverityCritical:
		return strings.ToUpper(s.String()[:1]) + s.String()[1:]
	}
	return "Unknown"
}

// system returns the distribution of the first platform that has the problem, such as "debian 12".
func system(r report.Report, p *problem) string {
	for _, platform := range r.Input.Platforms {
		if len(p.Platforms) == 0 || platform.Platform == p.Platforms[0] {
			if text := name(platform.Distribution.ID + " " + platform.Distribution.Version); text != "" {
				return text
			}
		}
	}
	return "unknown"
}

// uuid derives an identifier in the form of a UUID from a text. The same text always gives the same
// UUID.
func uuid(text string) string {
	sum := sha256.Sum256([]byte(text))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // version 8: of the maker's own design
	id := hex.EncodeToString(sum[:16])
	return fmt.Sprintf("%s-%s-%s-%s-%s", id[:8], id[8:12], id[12:16], id[16:20], id[20:])
}
