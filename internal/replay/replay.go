// Package replay evaluates a recorded run again and compares the result with the record.
//
// [Read] reads a record: an audit record or a JSON report. [Record.Evaluate] evaluates the policies
// on the evidence in a JSON report. [Compare] compares a record with the new result: first the
// causes, such as another policy or database, then the decision, its rules and its exceptions. [Text]
// and [JSON] write the comparison.
package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/audit"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/diff"
)

// Record is a recorded run.
type Record struct {
	// ID is the id of an audit record, or "" for a JSON report.
	ID string
	// Run is the run.
	Run audit.Run
	// Report is the JSON report. It is nil for an audit record.
	Report *report.Report
}

// maxLine is the maximum length of an audit record in bytes.
const maxLine = 16 << 20

// Read reads a record from the content of a file: a JSON report, or an audit log with one record per
// line. In an audit log, id selects the record; "" selects the last one. A record without a decision
// of its own is an error.
func Read(data []byte, id string) (Record, error) {
	e, isLog, err := find(data, id)
	switch {
	case err != nil:
		return Record{}, err
	case isLog:
		r := Record{ID: e.ID, Run: e.Data}
		return r, r.check()
	case id != "":
		return Record{}, errors.New("the file is not an audit log, so no record can be selected by its id")
	}
	parsed, err := readReport(data)
	if err != nil {
		return Record{}, fmt.Errorf("the file is neither an audit log nor a usable JSON report: %w", err)
	}
	r := Record{Run: audit.NewEvent(parsed, audit.Process{}).Data, Report: &parsed}
	return r, r.check()
}

func readReport(data []byte) (report.Report, error) {
	r, err := report.ReadJSON(bytes.NewReader(data))
	if err == nil && !r.At.IsZero() {
		return r, errors.New(`the report is a forecast by "check --at", which cannot be replayed`)
	}
	return r, err
}

// AddReport adds the JSON report of the same run to an audit record. It returns an error if the report
// has other evidence than the record names.
func (r *Record) AddReport(data []byte) error {
	parsed, err := readReport(data)
	if err != nil {
		return err
	}
	if other := audit.NewEvent(parsed, audit.Process{}).Data; other.Evidence != r.Run.Evidence {
		return fmt.Errorf("the report has other evidence (%s) than the audit record names (%s)", other.Evidence, r.Run.Evidence)
	}
	r.Report = &parsed
	return nil
}

// check returns an error if the record has no decision of its own.
func (r Record) check() error {
	switch {
	case r.Run.Decision != "":
		return nil
	case r.Run.Error != nil:
		return fmt.Errorf("the run made no decision: %s", r.Run.Error.Message)
	}
	return errors.New("the run repeated an earlier decision: replay the record of the run that made the decision")
}

// find returns the record with the given id in an audit log. isLog is false if data is not an audit
// log.
func find(data []byte, id string) (found audit.Event, isLog bool, err error) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxLine)
	for number := 1; lines.Scan(); number++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil || e.SpecVersion == "" {
			if !isLog {
				return found, false, nil
			}
			return found, true, fmt.Errorf("line %d is not an audit record", number)
		}
		isLog = true
		if e.Type != audit.Type {
			return found, true, fmt.Errorf("line %d has the type %q: this version reads %s", number, e.Type, audit.Type)
		}
		if id == "" || e.ID == id {
			found = e
		}
	}
	if err := lines.Err(); err != nil {
		return found, isLog, err
	}
	if isLog && found.ID == "" {
		return found, true, fmt.Errorf("the audit log has no record with the id %q", id)
	}
	return found, isLog, nil
}

// Evaluate evaluates policies on the evidence of a JSON report, as of the time of its decision. It
// returns the report with the new decision.
func (r Record) Evaluate(policies policy.Set) report.Report {
	again := *r.Report
	decision := policies.Evaluate(again.Input, again.EvaluatedAt)
	again.Decision, again.Error, again.Policy.Digest = &decision, nil, policies.Digest()
	return again
}

// Difference is one fact that is not the same in the record and after the replay.
type Difference struct {
	// What is the fact, such as "policy" or "decision".
	What string `json:"what"`
	// Recorded and Now are its values. "" means that there is none.
	Recorded string `json:"recorded"`
	Now      string `json:"now"`
}

// Result is the comparison of a record with its replay.
type Result struct {
	// SchemaVersion is "1". It increases when a field is removed or changes its meaning.
	SchemaVersion string `json:"schemaVersion"`
	// Same is true if the decision, its rules and its exceptions are the same.
	Same bool `json:"same"`
	// ID is the id of the audit record. It is missing for a JSON report.
	ID string `json:"id,omitempty"`
	// Image is the digest of the image, and Decision the recorded decision: passed or denied.
	Image    string `json:"image"`
	Decision string `json:"decision"`
	// EvaluatedAt is the time that both decisions apply to.
	EvaluatedAt time.Time `json:"evaluatedAt"`
	// Causes are differences of the inputs: policy, database, image, tool. They need not change the
	// decision.
	Causes []Difference `json:"causes"`
	// Differences are differences of the result: decision, counts, rules, exceptions.
	Differences []Difference `json:"differences"`
	// Changes explain the differences finding by finding, if both sides have findings.
	Changes []diff.Change `json:"changes,omitempty"`
}

// Compare compares a record with the report of its replay.
func Compare(recorded Record, now report.Report) Result {
	was, is := recorded.Run, audit.NewEvent(now, audit.Process{}).Data
	out := Result{SchemaVersion: "1", ID: recorded.ID, Image: was.Image.Digest, Decision: was.Decision, EvaluatedAt: was.EvaluatedAt,
		Causes: []Difference{}, Differences: []Difference{}}
	cause := func(what, a, b string) { out.Causes = appendIf(out.Causes, Difference{what, a, b}) }
	result := func(what, a, b string) { out.Differences = appendIf(out.Differences, Difference{what, a, b}) }

	cause("policy", was.Policy.Digest, is.Policy.Digest)
	cause("database", was.Database.Digest, is.Database.Digest)
	cause("image", was.Image.Digest, is.Image.Digest)
	cause("evidence", was.Evidence, is.Evidence)
	cause("imagegate", was.Tool.Version, is.Tool.Version)
	for _, name := range []string{"syft", "grype"} {
		cause(name, was.Tool.Components[name], is.Tool.Components[name])
	}
	result("decision", was.Decision, is.Decision)
	for _, count := range []struct {
		what string
		a, b int
	}{{"blocking", was.Counts.Blocking, is.Counts.Blocking}, {"warnings", was.Counts.Warnings, is.Counts.Warnings},
		{"excepted", was.Counts.Excepted, is.Counts.Excepted}, {"not affected", was.Counts.NotAffected, is.Counts.NotAffected}} {
		result(count.what, strconv.Itoa(count.a), strconv.Itoa(count.b))
	}
	if was.Omitted == 0 { // a shortened record does not have all rules
		compareNames(result, "rule", ruleNames(was.Rules), ruleNames(is.Rules))
		compareNames(result, "exception", exceptionNames(was.Exceptions), exceptionNames(is.Exceptions))
	}
	out.Same = len(out.Differences) == 0
	if recorded.Report != nil && !out.Same {
		before, errBefore := recorded.Report.Snapshot()
		after, errAfter := now.Snapshot()
		if errBefore == nil && errAfter == nil {
			out.Changes = diff.Snapshots(before, after)
		}
	}
	return out
}

func appendIf(all []Difference, d Difference) []Difference {
	if d.Recorded == d.Now {
		return all
	}
	return append(all, d)
}

// ruleNames returns the counts of each rule by its name. The position is not compared, because a
// comment in the policy file moves it.
func ruleNames(all []audit.Rule) map[string]string {
	out := map[string]string{}
	for _, r := range all {
		out[r.Name] = fmt.Sprintf("%d blocking and %d warning", r.Blocking, r.Warnings)
	}
	return out
}

// exceptionNames returns what each exception covers, by what it is an exception to.
func exceptionNames(all []audit.Exception) map[string]string {
	out := map[string]string{}
	for _, e := range all {
		name := strings.Join(strings.Fields(e.ID+" "+e.Rule+" "+e.Package), " ")
		out[name] = fmt.Sprintf("%d covered, by %s until %s", e.Covers, e.Owner, e.Expires.UTC().Format(time.DateOnly))
	}
	return out
}

// compareNames reports the entries that are not the same in two maps, sorted by name.
func compareNames(report func(what, recorded, now string), what string, was, is map[string]string) {
	all := maps.Clone(was)
	maps.Copy(all, is)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		report(fmt.Sprintf("%s %q", what, name), was[name], is[name])
	}
}

// JSON writes the comparison as JSON.
func JSON(w io.Writer, r Result) error { return report.WriteJSON(w, r) }
