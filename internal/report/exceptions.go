package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

func (t text) exceptions() {
	if len(t.Decision.Excepted) == 0 {
		return
	}
	var used []policy.Exception
	covered := map[policy.Exception][]policy.Violation{}
	for _, e := range t.Decision.Excepted {
		if covered[e.Exception] == nil {
			used = append(used, e.Exception)
		}
		covered[e.Exception] = append(covered[e.Exception], e.Violation)
	}
	if !t.details {
		first := slices.MinFunc(used, func(a, b policy.Exception) int { return a.Expires.Compare(b.Expires) })
		ends := "exception, which ends "
		if len(used) > 1 {
			ends = "exceptions; the first ends "
		}
		t.label("EXCEPTED", fmt.Sprintf("%d by %d %s%s%s (--details)", t.result.Counts.Excepted, len(used), ends,
			first.Expires.UTC().Format(time.DateOnly), t.timeLeft(first.Expires)))
		return
	}
	t.Section(fmt.Sprintf("Exceptions used: %d", len(used)))
	for _, e := range used {
		t.Space()
		scope := ""
		if e.Package != "" {
			scope = " in " + short(e.Package)
		}
		what := short(e.ID)
		if e.Rule != "" {
			what = "rule " + strconv.Quote(short(e.Rule))
		}
		t.Item(2, fmt.Sprintf("%s%s (%s)", what, scope, positionText(e.Position)))
		t.Item(4, fmt.Sprintf("owner %s, expires %s%s", short(e.Owner), e.Expires.UTC().Format(time.DateOnly), t.timeLeft(e.Expires)))
		t.Item(4, "reason: "+Sanitize(e.Reason))
		if e.Ticket != "" {
			t.Item(4, "ticket: "+short(e.Ticket))
		}
		var rows []layout.Row
		for _, i := range merge(covered[e]) {
			if i.Finding == nil {
				t.Item(4, message(i))
				t.Notes(6, t.platformNote([]Item{i}))
				continue
			}
			rows = append(rows, layout.Row{Notes: []string{t.platformNote([]Item{i})}, Cells: append(findingCells(*i.Finding),
				layout.Cell{Text: nameVersion(i.Finding.Package)}, layout.Cell{Text: ruleText(i.Violation)})})
		}
		t.Table(4, rows)
	}
}

func (t text) notAffected() {
	if len(t.Decision.NotAffected) == 0 {
		return
	}
	if !t.details {
		t.label("VEX", fmt.Sprintf("%d not affected (--details)", t.result.Counts.NotAffected))
		return
	}
	t.Section("Not affected according to VEX: " + units.Count(len(t.Decision.NotAffected), "finding"))
	t.Space()
	for _, n := range t.Decision.NotAffected {
		s := n.Statement
		t.Item(2, fmt.Sprintf("%s in %s: %s %s", short(n.Finding.ID), nameVersion(n.Finding.Package), short(string(s.Status)), short(s.Justification)))
		if s.Impact != "" {
			t.Item(4, short(s.Impact))
		}
		by := "author " + short(s.Author) + ", unsigned"
		if s.Signer != nil {
			by = "signed by " + short(s.Signer.String())
		}
		t.Item(4, short(s.Document)+" of "+units.Instant(s.Timestamp)+", "+by)
	}
}

func (t text) provenanceMatches() {
	if len(t.Decision.Provenance) == 0 {
		return
	}
	if !t.details {
		t.label("SIGNED", "provenance meets "+units.Count(len(t.Decision.Provenance), "rule")+" (--details)")
		return
	}
	t.Section("Provenance: " + units.Count(len(t.Decision.Provenance), "rule") + " met")
	t.Space()
	for _, v := range t.Decision.Provenance {
		t.Item(2, fmt.Sprintf("%s: %s by %s", short(v.Platform), short(cmp.Or(v.Attestation.PredicateType, "signature")), short(v.Attestation.Signer.String())))
		if p := v.Attestation.Provenance; p != nil {
			t.Item(4, "built by "+short(cmp.Or(p.Builder, "an unnamed builder"))+" from "+short(cmp.Or(p.Source, "an unnamed source"))+" "+short(p.Revision))
		}
		t.Item(4, fmt.Sprintf("rule %s (%s)", short(v.Rule), positionText(v.Position)))
	}
}

// allowed writes the number of findings that no rule matched. With --details, it lists them.
func (t text) allowed() {
	merged := unmatchedByRules(*t.Decision)
	if len(merged) == 0 {
		return
	}
	if !t.details {
		t.label("NO RULE", fmt.Sprintf("matches %s: %s (--details)", units.Count(len(merged), "finding"), severities(merged)))
		return
	}
	t.Section(fmt.Sprintf("Matched by no rule: %s (%s)", units.Count(len(merged), "finding"), severities(merged)))
	t.Space()
	t.brief(merged)
}

// unmatchedByRules returns the findings that no rule matched, merged over platforms and paths.
func unmatchedByRules(d policy.Decision) []Item {
	var found []policy.Violation
	for i := range d.Allowed {
		found = append(found, policy.Violation{Kind: policy.KindVulnerability, Platform: d.Allowed[i].Platform, Finding: &d.Allowed[i].Finding})
	}
	return merge(found)
}

// severities returns the number of issues of each severity as text, the most severe first.
func severities(issues []Item) string {
	var counts [evidence.SeverityCritical + 1]int
	for _, i := range issues {
		counts[min(i.Finding.Severity, evidence.SeverityCritical)]++
	}
	order := []evidence.Severity{evidence.SeverityUnknown}
	for s := evidence.SeverityCritical; s > evidence.SeverityUnknown; s-- {
		order = append(order, s)
	}
	var parts []string
	for _, s := range order {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	return strings.Join(parts, ", ")
}
