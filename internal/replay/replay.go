// Package replay evaluates a recorded run again and compares the result with the record.
//
// [Read] reads a record: an audit record or a JSON report. [Record.Evaluate] evaluates the policies
// on the evidence in a JSON report. [Compare] compares a record with the new result. It compares
// the causes first, such as another policy or database, and then the decision, its rules and its
// exceptions. With a JSON report, it also compares every entry of the decision. [Text] and [JSON]
// write the comparison.
package replay

import (
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
	// Run is what the record says about the run.
	Run audit.Run
	// Report is the JSON report. It is nil for an audit record.
	Report *report.Report
	// Warning says that the record is not the last line of the audit log. It is "" if it is.
	Warning string
}

// maxLine is the maximum length of an audit record in bytes.
const maxLine = 16 << 20

// Read reads a record from the content of a file: a JSON report, or an audit log with one record per
// line. In an audit log, id selects the record, by its beginning; "" selects the last record that has a
// decision. Lines that are not records are skipped. A record without a decision of its own is an error.
func Read(data []byte, id string) (Record, error) {
	e, isLog, warning, err := find(data, id)
	switch {
	case err != nil:
		return Record{}, err
	case isLog:
		r := Record{ID: e.ID, Run: e.Data, Warning: warning}
		return r, r.check()
	case id != "":
		return Record{}, errors.New("the file is not an audit log, so no record can be selected by its id")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return Record{}, errors.New("the file is empty")
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
// has another image, time of decision or evidence than the record.
func (r *Record) AddReport(data []byte) error {
	parsed, err := readReport(data)
	if err != nil {
		return err
	}
	other := audit.NewEvent(parsed, audit.Process{}).Data
	switch {
	case other.Decision == "":
		return errors.New("the report has no decision")
	case other.Image.Digest != r.Run.Image.Digest:
		return fmt.Errorf("the report is about another image (%s) than the audit record (%s)", other.Image.Digest, r.Run.Image.Digest)
	case !other.EvaluatedAt.Equal(r.Run.EvaluatedAt):
		return fmt.Errorf("the report has another time of its decision (%s) than the audit record (%s)", instant(other.EvaluatedAt), instant(r.Run.EvaluatedAt))
	case other.Evidence != r.Run.Evidence:
		return fmt.Errorf("the report has other evidence (%s) than the audit record names (%s)", other.Evidence, r.Run.Evidence)
	}
	r.Report = &parsed
	return nil
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// check returns an error if the run made no decision of its own, so that nothing can be compared.
func (r Record) check() error {
	switch {
	case r.Run.Decision != "":
		return nil
	case r.Run.Error != nil:
		return fmt.Errorf("the run made no decision: %s", r.Run.Error.Message)
	}
	return errors.New("the run repeated an earlier decision: replay the record of the run that made the decision")
}

// find returns the record whose id begins with id in an audit log. For an empty id, it returns the
// last record with a decision, or the last record if none has one. isLog is false if data is not an
// audit log. Lines that are not records are skipped, because a crash or a full disk can leave an
// incomplete line. If id is empty, warning says that another record or line follows the returned
// record.
func find(data []byte, id string) (found audit.Event, isLog bool, warning string, err error) {
	// Numbers of lines: of the current line, the record, the last record, and the last other line.
	number, at, last, torn := 0, 0, 0, 0
	skipped := 0
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		e, ok := parseLine(line)
		if !ok {
			torn = number
			skipped++
			continue
		}
		isLog, last = true, number
		switch {
		case !strings.HasPrefix(e.ID, id), id == "" && e.Data.Decision == "" && found.Data.Decision != "":
		case id != "" && at > 0 && found.ID != e.ID:
			return found, true, "", fmt.Errorf("several records have an id that begins with %q: give more of the id", id)
		default:
			found, at = e, number
		}
	}
	switch {
	case !isLog:
	case at == 0 && skipped > 0:
		err = fmt.Errorf("the audit log has no record with the id %q, and lines that are not audit records: %d, the last one is line %d", id, skipped, torn)
	case at == 0:
		err = fmt.Errorf("the audit log has no record with the id %q", id)
	case found.Type != audit.Type:
		err = fmt.Errorf("line %d has the type %q: this version reads %s", at, found.Type, audit.Type)
	case id == "" && last > at:
		warning = fmt.Sprintf("the last record, in line %d, has no decision: the record in line %d is replayed", last, at)
	case id == "" && torn > at:
		warning = fmt.Sprintf("line %d is not a whole audit record: the record before it, in line %d, is replayed", torn, at)
	}
	return found, isLog, warning, err
}

// parseLine reads a line of an audit log. ok is false if the line is not a record.
func parseLine(line []byte) (e audit.Event, ok bool) {
	if len(line) > maxLine {
		return e, false
	}
	err := json.Unmarshal(line, &e)
	return e, err == nil && e.SpecVersion != ""
}

// Evaluate evaluates policies on the evidence of a JSON report, as of the time of its decision. It
// returns the report with the new decision.
func (r Record) Evaluate(policies policy.Set) report.Report {
	again := *r.Report
	decision := policies.Evaluate(again.Input, r.Run.EvaluatedAt)
	again.Decision, again.Error, again.Policy.Digest = &decision, nil, policies.Digest()
	return again
}

// Difference is a fact that differs between the record and the replay.
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
	// Same is true if everything that the record says about the decision is the same. With a JSON
	// report, that is every entry of the decision. It is false for a shortened record without a report.
	Same bool `json:"same"`
	// ID is the id of the audit record. It is missing for a JSON report.
	ID string `json:"id,omitempty"`
	// Warning says that the audit log ends with a part of a record. It is missing if not.
	Warning string `json:"warning,omitempty"`
	// Image is the digest of the image, and Decision the recorded decision: passed or denied.
	Image    string `json:"image"`
	Decision string `json:"decision"`
	// EvaluatedAt is the time that both decisions apply to.
	EvaluatedAt time.Time `json:"evaluatedAt"`
	// Causes are differences of the inputs: policy, database, image, tool. They need not change the
	// decision.
	Causes []Difference `json:"causes"`
	// Differences are differences of the result: decision, counts, rules, exceptions, entries.
	Differences []Difference `json:"differences"`
	// Changes explain the differences finding by finding, if both sides have findings.
	Changes []diff.Change `json:"changes,omitempty"`
}

// Compare compares a record with the report of its replay.
func Compare(recorded Record, now report.Report) Result {
	was, is := recorded.Run, audit.NewEvent(now, audit.Process{}).Data
	out := Result{SchemaVersion: "1", ID: recorded.ID, Warning: recorded.Warning, Image: was.Image.Digest, Decision: was.Decision,
		EvaluatedAt: was.EvaluatedAt, Causes: causes(was, is), Differences: []Difference{}}
	result := func(what, a, b string) { out.Differences = appendIf(out.Differences, Difference{what, a, b}) }
	result("decision", was.Decision, is.Decision)
	for _, count := range []struct {
		what string
		a, b int
	}{{"blocking", was.Counts.Blocking, is.Counts.Blocking}, {"warnings", was.Counts.Warnings, is.Counts.Warnings},
		{"excepted", was.Counts.Excepted, is.Counts.Excepted}, {"not affected", was.Counts.NotAffected, is.Counts.NotAffected}} {
		result(count.what, strconv.Itoa(count.a), strconv.Itoa(count.b))
	}
	switch {
	case was.Omitted == 0:
		compareNames(result, "rule", ruleNames(was.Rules), ruleNames(is.Rules))
		compareNames(result, "exception", exceptionNames(was.Exceptions), exceptionNames(is.Exceptions))
	case recorded.Report == nil:
		result("record", fmt.Sprintf("shortened, without %d entries", was.Omitted), "not compared completely (use --report with the JSON report of the run)")
	}
	if recorded.Report != nil {
		out.Differences = append(out.Differences, compareDecisions(recorded.Report.Decision, now.Decision)...)
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

// causes returns the differences between the inputs of the two runs.
func causes(was, is audit.Run) []Difference {
	out := []Difference{}
	for _, one := range []Difference{
		{"policy", was.Policy.Digest, is.Policy.Digest},
		{"database", was.Database.Digest, is.Database.Digest},
		{"image", was.Image.Digest, is.Image.Digest},
		{"evidence", was.Evidence, is.Evidence},
		{"imagegate", was.Tool.Version, is.Tool.Version},
		{"syft", was.Tool.Components["syft"], is.Tool.Components["syft"]},
		{"grype", was.Tool.Components["grype"], is.Tool.Components["grype"]},
	} {
		out = appendIf(out, one)
	}
	return out
}

func appendIf(all []Difference, d Difference) []Difference {
	if d.Recorded == d.Now {
		return all
	}
	return append(all, d)
}

// ruleNames maps the name of each rule to its counts. Rules of several policies can have the same
// name, so the counts are joined. Positions are not compared, because they change if a line is
// added to the policy file.
func ruleNames(all []audit.Rule) map[string]string {
	found := map[string][]string{}
	for _, r := range all {
		found[r.Name] = append(found[r.Name], fmt.Sprintf("blocking %d, warnings %d", r.Blocking, r.Warnings))
	}
	return joined(found)
}

// exceptionNames maps each exception, named by its vulnerability, rule and package, to what it
// covers.
func exceptionNames(all []audit.Exception) map[string]string {
	found := map[string][]string{}
	for _, e := range all {
		name := strings.Join(strings.Fields(e.ID+" "+e.Rule+" "+e.Package), " ")
		found[name] = append(found[name], fmt.Sprintf("%d covered, by %s until %s, because %q", e.Covers, e.Owner, instant(e.Expires), e.Reason))
	}
	return joined(found)
}

// joined joins the values of each name in sorted order. Positions are not compared, so the original
// order has no meaning.
func joined(found map[string][]string) map[string]string {
	out := map[string]string{}
	for name, values := range found {
		slices.Sort(values)
		out[name] = strings.Join(values, "; ")
	}
	return out
}

// compareNames reports each name whose values differ between two maps, sorted by name.
func compareNames(report func(what, recorded, now string), what string, was, is map[string]string) {
	all := maps.Clone(was)
	maps.Copy(all, is)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		report(fmt.Sprintf("%s %q", what, name), was[name], is[name])
	}
}

// JSON writes the comparison as JSON.
func JSON(w io.Writer, r Result) error { return report.WriteJSON(w, r) }
