package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy/diff"
	"github.com/imagegate/imagegate/policy/evidence"
)

// DiffResult lists the changes between two reports.
type DiffResult struct {
	// Schema is the version of the JSON form. Writers replace "" by the constant Schema.
	Schema string          `json:"schema"`
	Before DecisionSummary `json:"before"`
	After  DecisionSummary `json:"after"`
	// Changes are the results of diff.Snapshots, in its order.
	Changes []diff.Change `json:"changes"`
}

// DecisionSummary summarizes one of the two reports.
type DecisionSummary struct {
	Image       evidence.Image `json:"image"`
	EvaluatedAt time.Time      `json:"evaluatedAt"`
	Policy      Policy         `json:"policy"`
	Passed      bool           `json:"passed"`
}

// Diff lists the changes between two reports. It returns an error if one of them has no decision.
func Diff(before, after Report) (DiffResult, error) {
	was, err := before.Snapshot()
	if err != nil {
		return DiffResult{}, fmt.Errorf("earlier report: %w", err)
	}
	now, err := after.Snapshot()
	if err != nil {
		return DiffResult{}, fmt.Errorf("later report: %w", err)
	}
	changes := diff.Snapshots(was, now)
	if changes == nil {
		changes = []diff.Change{}
	}
	return DiffResult{Schema: Schema, Before: summarize(before), After: summarize(after), Changes: changes}, nil
}

func summarize(r Report) DecisionSummary {
	return DecisionSummary{Image: r.Input.Image, EvaluatedAt: r.EvaluatedAt, Policy: r.Policy, Passed: r.Decision.Passed}
}

// diffJSON writes c as JSON, in the same form as a report.
func diffJSON(w io.Writer, c DiffResult) error {
	c.Schema = cmp.Or(c.Schema, Schema)
	if err := WriteJSON(w, c); err != nil {
		return fmt.Errorf("writing the JSON comparison: %w", err)
	}
	return nil
}

// diffText writes c as text: both verdicts, then the changes, grouped by kind.
func diffText(w io.Writer, c DiffResult) error {
	t := text{Writer: layout.New(w, defaultWidth, false)}
	for _, side := range []struct {
		name string
		DecisionSummary
	}{{"Before", c.Before}, {"After", c.After}} {
		verdict := "DENIED"
		if side.Passed {
			verdict = "PASSED"
		}
		t.field(side.name, verdict+" as of "+units.Instant(side.DecisionSummary.EvaluatedAt))
		t.field("", short(side.Image.Reference)+" "+short(side.Image.Digest))
		t.field("", "policy "+short(side.Policy.File)+" "+short(side.Policy.Digest))
	}
	if len(c.Changes) == 0 {
		t.Space()
		t.Item(0, "No changes")
	}
	var kind diff.ChangeKind
	for _, change := range mergeChanges(c.Changes) {
		if change.Kind != kind {
			kind = change.Kind
			t.Section(strings.ToUpper(string(kind[:1])) + string(kind[1:]))
			t.Space()
		}
		line := Sanitize(change.Message)
		if change.Kind == diff.ChangeNew && change.Finding != nil {
			line += "; severity " + change.Finding.Severity.String() + ", " + fixText(*change.Finding)
		}
		t.Item(2, line)
		if len(change.platforms.list) > 0 {
			t.Item(4, "on "+short(strings.Join(change.platforms.list, ", ")))
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the comparison: %w", err)
	}
	return nil
}

// mergedChange is one change together with all platforms that have it.
type mergedChange struct {
	diff.Change
	platforms orderedSet
}

// mergeChanges merges changes that differ only in the platform.
func mergeChanges(changes []diff.Change) []*mergedChange {
	type key struct {
		kind    diff.ChangeKind
		message string
	}
	var merged []*mergedChange
	found := map[key]*mergedChange{}
	for _, c := range changes {
		k := key{c.Kind, c.Message}
		if found[k] == nil {
			found[k] = &mergedChange{Change: c}
			merged = append(merged, found[k])
		}
		if c.Platform != "" {
			found[k].platforms.add(c.Platform)
		}
	}
	return merged
}
