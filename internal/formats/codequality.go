package formats

import (
	"cmp"
	"io"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// codeIssue is one issue of GitLab's code quality report. Status is not part of GitLab's format and
// ignored there. See https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format.
type codeIssue struct {
	Description string `json:"description"`
	CheckName   string `json:"check_name"`
	Fingerprint string `json:"fingerprint"`
	Severity    string `json:"severity"`
	Status      string `json:"status"`
	Location    struct {
		Path  string `json:"path"`
		Lines struct {
			Begin int `json:"begin"`
		} `json:"lines"`
	} `json:"location"`
}

// CodeQuality writes a code quality report, which GitLab's free edition shows in merge requests.
// The first issue is the verdict, and the others are the problems. A blocking problem has severity
// major or higher, a warning minor, and a problem covered by an exception or a VEX statement info.
// After an override, the problems that it allows are info too, because the run succeeds. JUnit
// skips them for the same reason.
func CodeQuality(w io.Writer, r report.Report) error {
	verdict := r.Verdict()
	first := codeIssue{Description: sentence(verdict) + " (" + countsText(verdict.Counts) + ")", CheckName: "imagegate/verdict", Severity: "info", Status: verdict.Outcome.String()}
	// The fingerprint contains the outcome, so that a merge request shows a new issue if the image
	// is now denied.
	first.Fingerprint = uuid(r.Input.Image.Repository + " " + platformName(r) + " " + verdict.Outcome.String())
	first.Location.Path, first.Location.Lines.Begin = repositoryPath(r), 1
	if !verdict.Outcome.IsPass() {
		first.Severity = "critical"
	}
	out := []codeIssue{first}
	for _, p := range problems(r) {
		one := codeIssue{Description: resultMessage(&p), CheckName: cmp.Or(p.ID, "unknown"), Fingerprint: p.Fingerprint, Severity: codeSeverity(&p), Status: p.Status.String()}
		if p.Status == report.Blocking && verdict.Outcome == report.Overridden {
			one.Severity = "info"
			one.Description += " An override allows it."
		}
		one.Location.Path, one.Location.Lines.Begin = location(r, &p), 1
		out = append(out, one)
	}
	return report.WriteJSON(w, out)
}

func codeSeverity(p *problem) string {
	switch {
	case p.Suppressed():
		return "info"
	case p.Status == report.Warning:
		return "minor"
	case p.Finding == nil:
		return "critical"
	}
	switch p.Finding.Severity {
	case evidence.SeverityCritical, evidence.SeverityUnknown:
		return "blocker"
	case evidence.SeverityHigh:
		return "critical"
	}
	return "major"
}
