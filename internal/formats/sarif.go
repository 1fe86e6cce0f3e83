package formats

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// maxResults is the number of results of a SARIF file that GitHub shows. If there are more, GitHub
// itself chooses which ones to drop.
const maxResults = 5000

// maxDescription is the maximum length of a rule's description that GitHub accepts, in characters.
const maxDescription = 1024

// These types are the parts of SARIF 2.1.0 that imagegate writes:
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool              sarifTool         `json:"tool"`
		AutomationDetails sarifID           `json:"automationDetails"`
		Invocations       []sarifInvocation `json:"invocations"`
		Results           []sarifResult     `json:"results"`
		ColumnKind        string            `json:"columnKind"`
		Properties        map[string]any    `json:"properties"`
	}
	sarifID struct {
		ID string `json:"id"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name            string      `json:"name"`
		SemanticVersion string      `json:"semanticVersion"`
		InformationURI  string      `json:"informationUri"`
		Rules           []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string         `json:"id"`
		ShortDescription sarifText      `json:"shortDescription"`
		FullDescription  sarifText      `json:"fullDescription"`
		HelpURI          string         `json:"helpUri,omitempty"`
		Help             sarifText      `json:"help"`
		Properties       map[string]any `json:"properties"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Start         *time.Time          `json:"startTimeUtc,omitempty"`
		End           *time.Time          `json:"endTimeUtc,omitempty"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Properties   map[string]any     `json:"properties"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region struct {
				StartLine int `json:"startLine"`
			} `json:"region"`
		} `json:"physicalLocation"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
)

// SARIF writes the problems as SARIF 2.1.0 results, for GitHub code scanning and other viewers. The
// level is error for a blocking problem and warning for a warning. A problem covered by an
// exception or a VEX statement has the level note, and the reason as a suppression.
//
// SARIF lists at most 5,000 results, blocking ones first. A notification says how many are left
// out. Locations and fingerprints stay the same for another tag or digest of the repository.
func SARIF(w io.Writer, r report.Report) error {
	verdict, all := r.Verdict(), problems(r)
	listed := all[:min(len(all), maxResults)]
	run := sarifRun{
		AutomationDetails: sarifID{"imagegate/" + repositoryPath(r) + "/" + platformName(r) + "/"},
		Invocations:       []sarifInvocation{invocation(r, verdict, len(listed), len(all))},
		Results:           []sarifResult{},
		ColumnKind:        "unicodeCodePoints",
		Properties: map[string]any{"verdict": verdict.Word, "outcome": verdict.Outcome.String(), "why": clean(verdict.Why),
			"blocking": verdict.Counts.Blocking, "warnings": verdict.Counts.Warnings, "excepted": verdict.Counts.Excepted, "notAffected": verdict.Counts.NotAffected,
			"image": imageName(r), "digest": name(r.Input.Image.Digest), "policyDigest": name(r.Policy.Digest)},
	}
	rules := newRules(listed)
	for i := range listed {
		run.Results = append(run.Results, rules.result(r, &listed[i]))
	}
	run.Tool.Driver = sarifDriver{Name: toolName, SemanticVersion: semanticVersion(r.Tool.Version), InformationURI: homePage, Rules: rules.list}
	return report.WriteJSON(w, sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

// invocation describes the run. The failure of a run is an error in the invocation, not a result.
func invocation(r report.Report, v report.Verdict, listed, all int) sarifInvocation {
	in := sarifInvocation{Successful: !v.Outcome.IsFailure() && r.Error == nil, Start: utc(r.Started), End: utc(r.Finished)}
	notify := func(level, text string) {
		in.Notifications = append(in.Notifications, sarifNotification{level, sarifText{literal(text)}})
	}
	if in.Successful {
		notify("note", sentence(v))
	} else {
		notify("error", sentence(v))
	}
	if listed < all {
		notify("warning", fmt.Sprintf("Only the first %d of %d problems are listed: %s.", listed, all, countsText(v.Counts)))
	}
	for _, c := range cautions(r) {
		notify("warning", c)
	}
	return in
}

func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

var semantic = regexp.MustCompile(`^v?((0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?)(\+[0-9A-Za-z.-]+)?$`)

// semanticVersion returns the version without the leading "v". If s is not a semantic version, such
// as "devel", it returns a prerelease of 0.0.0.
func semanticVersion(s string) string {
	if m := semantic.FindStringSubmatch(s); m != nil && len(s) <= maxName {
		return m[1]
	}
	return "0.0.0-devel"
}

// sarifRules collects the SARIF rules of a run: one for each vulnerability, and one for each policy
// rule that reports something else.
type sarifRules struct {
	list  []sarifRule
	index map[string]int
}

func newRules(listed []problem) *sarifRules {
	rules := &sarifRules{list: []sarifRule{}, index: map[string]int{}}
	packages := map[string]map[string]bool{}
	for i := range listed {
		p := &listed[i]
		id := ruleID(p)
		at, known := rules.index[id]
		if !known {
			at = len(rules.list)
			rules.index[id] = at
			rules.list = append(rules.list, newRule(id, p))
			packages[id] = map[string]bool{}
		}
		if packages[id][p.Name] = true; len(packages[id]) > 1 {
			rules.list[at].ShortDescription.Text = clip(fmt.Sprintf("%s in %d packages", literal(p.ID), len(packages[id])), maxDescription)
		}
		if score := securitySeverity(p); score > 0 {
			properties := rules.list[at].Properties
			if had, _ := strconv.ParseFloat(fmt.Sprint(properties["security-severity"]), 64); score > had {
				properties["security-severity"] = strconv.FormatFloat(score, 'f', 1, 64)
			}
		}
	}
	return rules
}

// ruleID returns the id of the SARIF rule of a problem. It keeps policy rules apart from
// vulnerabilities with the same name.
func ruleID(p *problem) string {
	if p.Finding != nil {
		return p.ID
	}
	return "policy/" + p.ID
}

// newRule returns the SARIF rule of a problem. Its texts must be true for every package with the
// vulnerability, so they contain no fixed version. The message of each result does.
func newRule(id string, p *problem) sarifRule {
	short, full := "Rule "+p.ID+" of the policy", "The image does not satisfy the rule "+p.ID+" of the policy."
	tags := []string{"policy", name(string(p.Kind))}
	help := full
	if p.Finding != nil {
		short, full = p.ID+" in "+p.Name, cmp.Or(clean(p.Finding.Description), "The image has a package with the vulnerability "+p.ID+cve(p.Finding)+".")
		tags = []string{"security", "vulnerability", p.Severity()}
		help = "Upgrade each affected package to the version that its result names. If a result names no fixed version, remove the package, or accept the risk with an exception in the policy."
	}
	return sarifRule{ID: id, ShortDescription: sarifText{clip(literal(short), maxDescription)}, FullDescription: sarifText{clip(literal(full), maxDescription)},
		HelpURI: p.URL(), Help: sarifText{literal(help)}, Properties: map[string]any{"tags": tags}}
}

// scores has, for each severity, the lowest and highest score of GitHub's range, and the score to
// use if the CVSS score is outside of it or unknown. An unknown severity has no score: GitHub then
// shows the level of the result.
var scores = map[evidence.Severity]struct{ lowest, highest, usual float64 }{
	evidence.SeverityCritical:   {9, 10, 9.5},
	evidence.SeverityHigh:       {7, 8.9, 8},
	evidence.SeverityMedium:     {4, 6.9, 5.5},
	evidence.SeverityLow:        {0.1, 3.9, 2},
	evidence.SeverityNegligible: {0.1, 3.9, 0.1},
}

// securitySeverity returns the CVSS score if it agrees with the severity that the policy used.
// Otherwise it returns the usual score of that severity, or 0 if the severity is unknown.
func securitySeverity(p *problem) float64 {
	if p.Finding == nil {
		return 0
	}
	s, known := scores[p.Finding.Severity]
	if !known {
		return 0
	}
	best := 0.0
	for _, c := range p.Finding.CVSS {
		if c.Score >= s.lowest && c.Score <= s.highest {
			best = max(best, c.Score)
		}
	}
	return cmp.Or(best, s.usual)
}

func (rules *sarifRules) result(r report.Report, p *problem) sarifResult {
	id := ruleID(p)
	out := sarifResult{RuleID: id, RuleIndex: rules.index[id], Level: "error", Message: sarifText{literal(resultMessage(p))}, Locations: make([]sarifLocation, 1),
		Fingerprints: map[string]string{"primaryLocationLineHash": p.Fingerprint},
		Properties:   map[string]any{"status": p.Status.String(), "rule": name(p.Item.Rule)}}
	at := &out.Locations[0].Physical
	at.Artifact.URI, at.Region.StartLine = location(r, p), 1
	switch {
	case p.Status == report.Warning:
		out.Level = "warning"
	case p.Suppressed():
		out.Level = "note"
		out.Suppressions = []sarifSuppression{{Kind: "external", Status: "accepted", Justification: cmp.Or(p.Note, "covered by an exception")}}
	}
	for key, value := range map[string]string{"package": p.PURL, "severity": p.Severity(), "fixed": p.Fixed, "platforms": p.On()} {
		if value != "" {
			out.Properties[key] = value
		}
	}
	return out
}

func resultMessage(p *problem) string {
	text := p.Title
	if p.Finding != nil {
		text += ", " + p.Severity() + ": " + cmp.Or(strings.TrimSuffix(p.Do(), "."), "no fixed version is known")
	}
	text += ". " + strings.ToUpper(p.Rule[:1]) + p.Rule[1:] + "."
	if p.Note != "" {
		text += " " + strings.ToUpper(p.Note[:1]) + p.Note[1:] + "."
	}
	return text
}

// location returns the place of a problem as a relative URL. It begins with the repository, so that
// two images do not share alerts. It has no tag or digest, so that an alert stays open across
// builds.
func location(r report.Report, p *problem) string {
	at := repositoryPath(r)
	if p.Path != "" {
		at += "/" + p.Path
	}
	return (&url.URL{Path: at}).String()
}

// braces escapes the braces of placeholders in a SARIF message. Links need no escaping here,
// because clean already removes them.
var braces = strings.NewReplacer("{", "{{", "}", "}}")

// literal returns text as a SARIF message that viewers show unchanged.
func literal(s string) string { return braces.Replace(s) }
