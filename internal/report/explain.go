package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/diff"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/explain"
)

// ExplainResult explains why a report blocks or allows one vulnerability, or why a rule decides as
// it does.
type ExplainResult struct {
	// Schema is the version of the JSON form. Writers replace "" by the constant Schema.
	Schema string `json:"schema"`
	// Query is the id of the vulnerability, or the name of the rule.
	Query       string         `json:"query"`
	Image       evidence.Image `json:"image"`
	EvaluatedAt time.Time      `json:"evaluatedAt"`
	Policy      Policy         `json:"policy"`
	// Explanations are the results of explain.Entries, the strictest outcome first.
	Explanations []explain.Explanation `json:"explanations"`
}

// Snapshot returns the evidence, the decision, the policy and the time of the decision, for
// explain.Entries and diff.Snapshots. It returns an error if the report has no decision.
func (r Report) Snapshot() (diff.Snapshot, error) {
	switch {
	case r.Decision == nil:
		return diff.Snapshot{}, errors.New("the report has no decision")
	case r.EvaluatedAt.IsZero():
		return diff.Snapshot{}, errors.New("the report does not state when it was evaluated")
	}
	return diff.Snapshot{Input: r.Input, Decision: *r.Decision, Policy: r.Policy.Digest, At: r.EvaluatedAt}, nil
}

// explainJSON writes a as JSON, in the same form as a report.
func explainJSON(w io.Writer, a ExplainResult) error {
	a.Schema = cmp.Or(a.Schema, Schema)
	if err := WriteJSON(w, a); err != nil {
		return fmt.Errorf("writing the JSON explanation: %w", err)
	}
	return nil
}

// explainText writes a as text: the outcome for each finding, the rule that decided it, the
// relevant dates, all matching rules, and what would make the finding pass.
func explainText(w io.Writer, a ExplainResult) error {
	t := explainWriter{text{Writer: layout.New(w, defaultWidth, false), Report: Report{Finished: a.EvaluatedAt}}}
	t.field("Image", short(a.Image.Reference))
	t.field("Digest", short(a.Image.Digest))
	t.field("Evaluated", units.Instant(a.EvaluatedAt))
	t.field("Policy", short(a.Policy.File)+" "+short(a.Policy.Digest))
	for _, e := range mergeExplanations(a.Explanations) {
		t.explanation(e)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the explanation: %w", err)
	}
	return nil
}

// mergedExplanation is one explanation together with all platforms that it applies to.
type mergedExplanation struct {
	explain.Explanation
	platforms orderedSet
}

// mergeExplanations merges explanations that differ only in the platform.
func mergeExplanations(list []explain.Explanation) []*mergedExplanation {
	type key struct {
		explain.Outcome
		issue string
	}
	var merged []*mergedExplanation
	found := map[key]*mergedExplanation{}
	for _, e := range list {
		k := key{e.Outcome, issueKey(e.Violation)}
		if found[k] == nil {
			found[k] = &mergedExplanation{Explanation: e}
			merged = append(merged, found[k])
		}
		if e.Platform != "" {
			found[k].platforms.add(e.Platform)
		}
	}
	return merged
}

// explainWriter writes an explanation as text. It counts ages from the time of the decision.
type explainWriter struct{ text }

func (t explainWriter) explanation(e *mergedExplanation) {
	title := "rule " + short(e.Rule)
	if e.Finding != nil {
		title = short(e.Finding.ID) + " in " + nameVersion(e.Finding.Package)
	}
	t.Section(title + ": " + strings.ToUpper(string(e.Outcome)))
	t.Space()
	if e.Outcome == explain.Allowed {
		t.Item(2, "no rule matches it")
	} else {
		t.Item(2, "by "+ruleText(e.Violation))
		t.Item(2, message(Item{Violation: e.Violation}))
	}
	if len(e.platforms.list) > 0 {
		t.Item(2, "on "+short(strings.Join(e.platforms.list, ", ")))
	}
	t.Notes(2, t.dates(e.Explanation)...)
	t.Notes(2, t.expired(Item{Violation: e.Violation})...)
	t.matching(e.Rules)
	t.remedies(e.Remedies)
	if e.Outcome == explain.Blocked {
		t.suggestException(e.Explanation)
	}
}

// suggestException writes an exception that would let a violation pass. It writes none for a
// violation about many packages: the explanation does not list the packages, and the report already
// suggests an exception.
func (t explainWriter) suggestException(e explain.Explanation) {
	if e.Unmatched != nil && e.Unmatched.Package == nil {
		return
	}
	most := time.Duration(0)
	for _, place := range e.ExceptIn {
		if most == 0 || place.MaxLifetime > 0 && place.MaxLifetime < most {
			most = place.MaxLifetime
		}
	}
	m := newAdvisor(Report{EvaluatedAt: t.Finished, Policy: Policy{ExceptionsMaxLifetime: most}}, nil)
	if item := m.Exception(&e.Violation); item != "" {
		t.Item(2, "the exception to add, with your own reason and owner:")
		t.Whole(4, item)
	}
}

// dates returns sentences about the dates of a finding, and about when a temporary reason to let it
// pass ends.
func (t explainWriter) dates(e explain.Explanation) []string {
	var notes []string
	note := func(what string, at time.Time) {
		if !at.IsZero() {
			notes = append(notes, what+" "+at.UTC().Format(time.DateOnly)+t.timeLeft(at))
		}
	}
	if f := e.Finding; f != nil {
		note("published", f.Published)
		if f.KEV != nil {
			note("known to be exploited since", f.KEV.Added)
		}
		for _, fix := range f.Fixes {
			note("fix "+short(fix.Version)+" available since", fix.Available)
		}
	}
	note("blocks from", e.Blocks)
	if e.Inherited {
		notes = append(notes, "blocks as soon as the approved image does not have it")
	}
	if x := e.Exception; x != nil {
		note("exception ("+positionText(x.Position)+") by "+short(x.Owner)+" expires", x.Expires)
		notes = append(notes, "reason: "+Sanitize(x.Reason))
	}
	if s := e.Statement; s != nil {
		notes = append(notes, strings.TrimSpace(short(string(s.Status))+" "+layout.Limit(s.Justification, layout.MaxName))+
			" by "+short(s.Document)+", author "+short(s.Author))
	}
	return notes
}

func (t explainWriter) matching(rules []policy.MatchingRule) {
	if len(rules) == 0 {
		return
	}
	t.Item(2, "rules that match:")
	var rows []layout.Row
	for _, r := range rules {
		grace := ""
		if r.Grace > 0 {
			grace = "grace of " + units.Span(r.Grace)
		}
		scope := ""
		if r.Scope != "" {
			scope = "for images " + short(r.Scope)
		}
		rows = append(rows, layout.Row{Cells: []layout.Cell{{Text: short(r.Rule)}, {Text: r.Effect.String()}, {Text: grace}, {Text: positionText(r.Position)}, {Text: scope}}})
	}
	t.Table(4, rows)
}

func (t explainWriter) remedies(remedies []string) {
	if len(remedies) == 0 {
		return
	}
	t.Item(2, "what would let it pass:")
	for _, remedy := range remedies {
		t.Item(4, Sanitize(remedy))
	}
}
