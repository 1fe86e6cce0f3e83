package report

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

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
	t.section(fmt.Sprintf("Exceptions used: %d", len(used)))
	for _, e := range used {
		t.blank()
		scope := ""
		if e.Package != "" {
			scope = " in " + short(e.Package)
		}
		what := short(e.ID)
		if e.Rule != "" {
			what = "rule " + strconv.Quote(short(e.Rule))
		}
		t.item(2, fmt.Sprintf("%s%s (%s)", what, scope, positionText(e.Position)))
		t.item(4, fmt.Sprintf("owner %s, expires %s%s", short(e.Owner), e.Expires.UTC().Format(time.DateOnly), t.timeLeft(e.Expires)))
		t.item(4, "reason: "+Sanitize(e.Reason))
		if e.Ticket != "" {
			t.item(4, "ticket: "+short(e.Ticket))
		}
		var rows []row
		for _, i := range merge(covered[e]) {
			if i.Finding == nil {
				t.item(4, message(i))
				t.notes(6, t.platformNote(i))
				continue
			}
			rows = append(rows, row{notes: []string{t.platformNote(i)}, cells: append(findingCells(*i.Finding),
				cell{text: nameVersion(i.Finding.Package)}, cell{text: ruleText(i.Violation)})})
		}
		t.table(4, rows)
	}
}

func (t text) notAffected() {
	if len(t.Decision.NotAffected) == 0 {
		return
	}
	t.section("Not affected according to VEX: " + count(len(t.Decision.NotAffected), "finding"))
	t.blank()
	for _, n := range t.Decision.NotAffected {
		s := n.Statement
		t.item(2, fmt.Sprintf("%s in %s: %s %s", short(n.Finding.ID), nameVersion(n.Finding.Package), short(string(s.Status)), short(s.Justification)))
		if s.Impact != "" {
			t.item(4, short(s.Impact))
		}
		by := "author " + short(s.Author) + ", unsigned"
		if s.Signer != nil {
			by = "signed by " + short(s.Signer.String())
		}
		t.item(4, short(s.Document)+" of "+instant(s.Timestamp)+", "+by)
	}
}

func (t text) provenanceMatches() {
	if len(t.Decision.Provenance) == 0 {
		return
	}
	t.section("Provenance: " + count(len(t.Decision.Provenance), "rule") + " met")
	t.blank()
	for _, v := range t.Decision.Provenance {
		t.item(2, fmt.Sprintf("%s: %s by %s", short(v.Platform), short(cmp.Or(v.Attestation.PredicateType, "signature")), short(v.Attestation.Signer.String())))
		if p := v.Attestation.Provenance; p != nil {
			t.item(4, "built by "+short(cmp.Or(p.Builder, "an unnamed builder"))+" from "+short(cmp.Or(p.Source, "an unnamed source"))+" "+short(p.Revision))
		}
		t.item(4, fmt.Sprintf("rule %s (%s)", short(v.Rule), positionText(v.Position)))
	}
}

func (t text) allowed() {
	if len(t.Decision.Allowed) == 0 {
		return
	}
	var found []policy.Violation
	for _, a := range t.Decision.Allowed {
		found = append(found, policy.Violation{Kind: policy.KindVulnerability, Platform: a.Platform, Finding: &a.Finding})
	}
	merged := merge(found)
	t.section(fmt.Sprintf("Matched by no rule: %s (%s)", count(len(merged), "finding"), severities(merged)))
	t.blank()
	t.brief(merged, maxAllowed)
}

// severities counts issues by severity, the most severe first.
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
