package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// Comparison lists the changes between two reports.
type Comparison struct {
	// Schema is the version of the JSON form. Writers replace "" by the constant Schema.
	Schema string    `json:"schema"`
	Before Evaluated `json:"before"`
	After  Evaluated `json:"after"`
	// Changes are the results of policy.Diff, in its order.
	Changes []policy.Change `json:"changes"`
}

// Evaluated summarizes one of the two reports.
type Evaluated struct {
	Image     policy.Image `json:"image"`
	Evaluated time.Time    `json:"evaluated"`
	Policy    Policy       `json:"policy"`
	Passed    bool         `json:"passed"`
}

// Compare lists the changes between two reports. It returns an error if one of them has no
// decision.
func Compare(before, after Report) (Comparison, error) {
	was, err := before.Snapshot()
	if err != nil {
		return Comparison{}, fmt.Errorf("the earlier of the two: %w", err)
	}
	now, err := after.Snapshot()
	if err != nil {
		return Comparison{}, fmt.Errorf("the later of the two: %w", err)
	}
	changes := policy.Diff(was, now)
	if changes == nil {
		changes = []policy.Change{}
	}
	return Comparison{Schema: Schema, Before: judged(before), After: judged(after), Changes: changes}, nil
}

func judged(r Report) Evaluated {
	return Evaluated{Image: r.Input.Image, Evaluated: r.Evaluated, Policy: r.Policy, Passed: r.Decision.Passed}
}

// ComparisonJSON writes c in the form that JSON uses for reports.
func ComparisonJSON(w io.Writer, c Comparison) error {
	c.Schema = cmp.Or(c.Schema, Schema)
	if err := writeJSON(w, c); err != nil {
		return fmt.Errorf("writing the JSON comparison: %w", err)
	}
	return nil
}

// ComparisonText writes c as text: both verdicts, then the changes, grouped by kind.
func ComparisonText(w io.Writer, c Comparison) error {
	t := text{layout: newLayout(w, defaultWidth, false)}
	for _, side := range []struct {
		name string
		Evaluated
	}{{"Before", c.Before}, {"After", c.After}} {
		verdict := "DENIED"
		if side.Passed {
			verdict = "PASSED"
		}
		t.field(side.name, verdict+" as of "+instant(side.Evaluated.Evaluated))
		t.field("", short(side.Image.Reference)+" "+short(side.Image.Digest))
		t.field("", "by "+short(side.Policy.File)+" "+short(side.Policy.Digest))
	}
	if len(c.Changes) == 0 {
		t.blank()
		t.item(0, "Nothing has changed")
	}
	var kind policy.ChangeKind
	for _, change := range onPlatforms(c.Changes) {
		if change.Kind != kind {
			kind = change.Kind
			t.section(strings.ToUpper(string(kind[:1])) + string(kind[1:]))
			t.blank()
		}
		line := Sanitize(change.Message)
		if change.Kind == policy.ChangeNew && change.Finding != nil {
			line += "; severity " + change.Finding.Severity.String() + ", " + fixText(*change.Finding)
		}
		t.item(2, line)
		if len(change.platforms.list) > 0 {
			t.item(4, "on "+short(strings.Join(change.platforms.list, ", ")))
		}
	}
	if err := t.flush(); err != nil {
		return fmt.Errorf("writing the comparison: %w", err)
	}
	return nil
}

// changed is a change that applies to several platforms.
type changed struct {
	policy.Change
	platforms ordered
}

// onPlatforms merges changes that differ only in the platform.
func onPlatforms(changes []policy.Change) []*changed {
	type key struct {
		kind    policy.ChangeKind
		message string
	}
	var merged []*changed
	found := map[key]*changed{}
	for _, c := range changes {
		k := key{c.Kind, c.Message}
		if found[k] == nil {
			found[k] = &changed{Change: c}
			merged = append(merged, found[k])
		}
		if c.Platform != "" {
			found[k].platforms.add(c.Platform)
		}
	}
	return merged
}
