package replay

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/audit"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const rules = "version: 1\nrules:\n  - name: no critical\n    severity: critical\n"

// policies returns a set with one policy, parsed from text.
func policies(t *testing.T, text string) policy.Set {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return policy.Set{p}
}

// evaluated returns the report of a denied image, evaluated with the policies in set.
func evaluated(t *testing.T, set policy.Set) report.Report {
	t.Helper()
	finding := func(id string, s evidence.Severity) evidence.Finding {
		return evidence.Finding{ID: id, Severity: s, Package: evidence.Package{Name: "lib", Version: "1", Type: "npm"}}
	}
	r := report.Report{Schema: report.Schema, Command: "check", Started: noon, Finished: noon.Add(time.Second), EvaluatedAt: noon,
		Policy: report.Policy{File: "policy.yaml", Digest: set.Digest()},
		Input: evidence.Input{Image: evidence.Image{Reference: "registry.example/app:1", Digest: "sha256:" + strings.Repeat("a", 64)},
			Platforms: []evidence.Platform{{Platform: "linux/amd64", Digest: "sha256:" + strings.Repeat("a", 64),
				Findings: []evidence.Finding{finding("CVE-1", evidence.SeverityCritical), finding("CVE-2", evidence.SeverityLow)}}}}}
	d := set.Evaluate(r.Input, noon)
	r.Decision = &d
	return r
}

// encoded returns v as one line of JSON.
func encoded(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// logLine returns the audit record of a report as a line of an audit log. edit may change the
// record.
func logLine(t *testing.T, r report.Report, id string, edit func(*audit.Run)) string {
	t.Helper()
	e := audit.NewEvent(r, audit.Process{ID: id})
	if edit != nil {
		edit(&e.Data)
	}
	return encoded(t, e) + "\n"
}

func read(t *testing.T, data, id string) Record {
	t.Helper()
	r, err := Read([]byte(data), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEditedReportIsDifferent edits a report and replays it. The result must be the same only if
// the whole decision still follows from the evidence.
func TestEditedReportIsDifferent(t *testing.T) {
	set := policies(t, rules)
	for name, c := range map[string]struct {
		edit func(*report.Report)
		want string // the difference; "" means the same
	}{
		"unedited":          {func(*report.Report) {}, ""},
		"positions":         {func(r *report.Report) { move(r.Decision.Violations); move(r.Decision.Warnings) }, ""},
		"another finding":   {func(r *report.Report) { r.Input.Platforms[0].Findings[0].ID = "CVE-9" }, "violations"},
		"a package":         {func(r *report.Report) { r.Input.Platforms[0].Findings[0].Package.Version = "2" }, "violations"},
		"an allowed one":    {func(r *report.Report) { r.Input.Platforms[0].Findings[1].ID = "CVE-9" }, "allowed"},
		"another message":   {func(r *report.Report) { r.Decision.Violations[0].Message = "all is well" }, "violations"},
		"another end":       {func(r *report.Report) { r.Decision.Until = noon.Add(time.Hour) }, "valid until"},
		"a removed allowed": {func(r *report.Report) { r.Decision.Allowed = r.Decision.Allowed[:0] }, "allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := evaluated(t, set)
			c.edit(&r)
			record := Record{Run: audit.NewEvent(r, audit.Process{}).Data, Report: &r}
			checkResult(t, Compare(record, record.Evaluate(set)), c.want)
		})
	}
	var out bytes.Buffer
	if err := report.JSON(&out, evaluated(t, set)); err != nil {
		t.Fatal(err)
	}
	record := read(t, out.String(), "")
	checkResult(t, Compare(record, record.Evaluate(set)), "")
}

// move moves all rules down by one line, as a new comment in the policy file does.
func move(all []policy.Violation) {
	for i := range all {
		all[i].Position.Line++
	}
}

// checkResult checks that a result has a difference with this name. If want is "", the result must
// have no difference.
func checkResult(t *testing.T, r Result, want string) {
	t.Helper()
	if r.Same != (want == "") {
		t.Errorf("same %v: %+v", r.Same, r.Differences)
	}
	for _, d := range r.Differences {
		if d.What == want {
			return
		}
	}
	if want != "" {
		t.Errorf("no difference %q in %+v", want, r.Differences)
	}
}

// TestEditedRecordIsDifferent edits an audit record and replays it without a report. Each edit must
// cause a difference.
func TestEditedRecordIsDifferent(t *testing.T) {
	set := policies(t, rules+"exceptions:\n  - {id: CVE-1, reason: no network, owner: web, expires: 2099-01-01}\n")
	r := evaluated(t, set)
	for name, c := range map[string]struct {
		edit func(*audit.Run)
		want string
	}{
		"unedited":  {nil, ""},
		"position":  {func(r *audit.Run) { r.Exceptions[0].Position = "other.yaml:9" }, ""},
		"reason":    {func(r *audit.Run) { r.Exceptions[0].Reason = "no reason" }, `exception "CVE-1"`},
		"time":      {func(r *audit.Run) { r.Exceptions[0].Expires = r.Exceptions[0].Expires.Add(time.Second) }, `exception "CVE-1"`},
		"shortened": {func(r *audit.Run) { r.Omitted, r.Exceptions = 1, nil }, "record"},
	} {
		t.Run(name, func(t *testing.T) {
			record := read(t, logLine(t, r, "1", c.edit), "")
			checkResult(t, Compare(record, r), c.want)
		})
	}
	record := read(t, logLine(t, r, "1", func(r *audit.Run) { r.Omitted, r.Exceptions = 1, nil }), "")
	if err := record.AddReport([]byte(encoded(t, r))); err != nil {
		t.Fatal(err)
	}
	checkResult(t, Compare(record, record.Evaluate(set)), "")
}

// TestRulesOfOneName checks that a difference is found even if several rules or exceptions have the
// same name.
func TestRulesOfOneName(t *testing.T) {
	a, b := audit.Rule{Name: "r", Position: "a.yaml:1", Blocking: 1}, audit.Rule{Name: "r", Position: "b.yaml:1", Blocking: 2}
	one := ruleNames([]audit.Rule{a, b})["r"]
	if one != "blocking 1, warnings 0; blocking 2, warnings 0" || one != ruleNames([]audit.Rule{b, a})["r"] {
		t.Errorf("%q", one)
	}
	if got := exceptionNames([]audit.Exception{{ID: "CVE-1", Owner: "b"}, {ID: "CVE-1", Owner: "a"}})["CVE-1"]; strings.Count(got, "covered") != 2 {
		t.Errorf("%q", got)
	}
}

// TestAddReportRefusesAnotherRun checks that AddReport refuses a report that differs from the
// record in the image, the time or the evidence.
func TestAddReportRefusesAnotherRun(t *testing.T) {
	set := policies(t, rules)
	for want, edit := range map[string]func(*audit.Run){
		"another image":  func(r *audit.Run) { r.Image.Digest = "sha256:" + strings.Repeat("b", 64) },
		"another time":   func(r *audit.Run) { r.EvaluatedAt = noon.Add(time.Nanosecond) },
		"other evidence": func(r *audit.Run) { r.Evidence = "sha256:00" },
	} {
		record := read(t, logLine(t, evaluated(t, set), "1", edit), "")
		if err := record.AddReport([]byte(encoded(t, evaluated(t, set)))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	undecided := evaluated(t, set)
	undecided.Decision, undecided.Error = nil, &report.Error{Class: report.ClassDatabase, Message: "no database"}
	record := read(t, logLine(t, evaluated(t, set), "1", nil), "")
	if err := record.AddReport([]byte(encoded(t, undecided))); err == nil || record.Report != nil {
		t.Errorf("%v", err)
	}
}

// TestRecordInALog checks which record of an audit log is replayed, also if the log has incomplete
// lines, and records of runs without a decision.
func TestRecordInALog(t *testing.T) {
	set := policies(t, rules)
	one, two := logLine(t, evaluated(t, set), "1", nil), logLine(t, evaluated(t, set), "2", nil)
	torn := one[:len(one)/2]
	undecided := logLine(t, report.Report{Command: "check", Error: &report.Error{Message: "no policy given"}}, "3", nil)
	newer := strings.Replace(two, audit.Type, "io.imagegate.decision.v9", 1)
	for name, c := range map[string]struct{ log, id, want, warning, err string }{
		"last":           {one + two, "", "2", "", ""},
		"torn end":       {one + two + torn, "", "2", "line 3 is not a whole audit record", ""},
		"torn end, id":   {one + two + torn, "1", "1", "", ""},
		"torn start":     {torn + "\n" + two, "", "2", "", ""},
		"torn middle":    {one + torn + "\n" + two, "", "2", "", ""},
		"torn and glued": {one + torn + two, "", "1", "line 2 is not a whole audit record", ""},
		"long line":      {one + strings.Repeat(" ", maxLine) + "{\n", "", "1", "line 2", ""},
		"last undecided": {one + two + undecided, "", "2", "the last record, in line 3, has no decision", ""},
		"only undecided": {undecided, "", "", "", "the run made no decision: no policy given"},
		"beginning":      {logLine(t, evaluated(t, set), "7d4b", nil) + two, "7d", "7d4b", "", ""},
		"ambiguous":      {logLine(t, evaluated(t, set), "21", nil) + two, "2", "", "", "several records have an id that begins with"},
		"missing":        {one + torn, "2", "", "", "lines that are not audit records: 1, the last one is line 2"},
		"newer":          {one + newer, "", "", "", "line 2 has the type"},
		"newer, other":   {one + newer, "1", "1", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Read([]byte(c.log), c.id)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || r.ID != c.want || (r.Warning == "") != (c.warning == "") || !strings.Contains(r.Warning, c.warning) {
				t.Fatalf("record %q, warning %q, error %v", r.ID, r.Warning, err)
			}
			var out bytes.Buffer
			if err := Text(&out, Compare(r, evaluated(t, set))); err != nil || strings.Contains(out.String(), "Warning") != (c.warning != "") {
				t.Errorf("%v\n%s", err, &out)
			}
		})
	}
}
