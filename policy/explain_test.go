package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

func TestExplain(t *testing.T) {
	organisation := parsed(t, `version: 1
rules:
  - name: fixable
    fix: available
    grace: 20d
  - name: critical
    severity: critical
exceptions: {maxLifetime: 90d, folder: exceptions}
images:
  - match: registry.example/team/*
    rules: [{name: high, severity: high}]
`)
	team, err := Parse("team.yaml", []byte("version: 1\nrules:\n  - {name: rest, effect: warn}\n  - {name: named, ids: [CVE-1]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := Set{organisation, team}
	f := graced(now.Add(-10 * ruleDay))
	f.Aliases = []string{"GHSA-1"}
	in := withFeeds(f, finding("CVE-2", evidence.SeverityLow))
	d := s.Evaluate(in, now)

	got := Explain(s, in, d, "ghsa-1", now)
	want := []Explanation{{
		Outcome:   OutcomeBlocked,
		Violation: d.Violations[0],
		Rules: []MatchingRule{
			{Rule: "fixable", Position: at(3, 5), Grace: 20 * ruleDay},
			{Rule: "high", Position: at(11, 13), Scope: "registry.example/team/*"},
			{Rule: "rest", Position: Position{"team.yaml", 3, 5}, Effect: Warn},
			{Rule: "named", Position: Position{"team.yaml", 4, 5}},
		},
		UpgradeTo: []string{"3", "2", "4"},
		ExceptIn:  []ExceptionPlace{{"p.yaml", "exceptions", 90 * ruleDay}, {File: "team.yaml"}},
		Remedies: []string{
			"upgrade lodash to 3 or 2 or 4",
			"an exception with id CVE-1 in p.yaml or its folder exceptions, which ends at most 90d ahead",
			"an exception with id CVE-1 in team.yaml",
			"it does not pass without a change",
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.Violations[0].Rule != "high" || d.Violations[0].Scope != "registry.example/team/*" {
		t.Errorf("%+v", d.Violations[0])
	}

	if diff := cmp.Diff(want, Explain(s, in, d, "high", now)); diff != "" {
		t.Errorf("by its rule: %s", diff)
	}
	// The list has a rule that matches and does not decide, but its name does not select the
	// finding.
	for _, none := range []string{"CVE-3", "rest", "HIGH"} {
		if got := Explain(s, in, d, none, now); got != nil {
			t.Errorf("%s: %+v", none, got)
		}
	}
	// It only warns, and only because of rules that warn: no remedy is needed.
	got = Explain(Set{team}, in, Set{team}.Evaluate(in, now), "CVE-2", now)
	if len(got) != 1 || got[0].Outcome != OutcomeWarned || len(got[0].Rules) != 1 || got[0].ExceptIn != nil || got[0].Remedies != nil {
		t.Errorf("%+v", got)
	}
}

func TestExplainEveryOutcome(t *testing.T) {
	p := &Policy{
		File:  "p.yaml",
		Rules: []Rule{{Name: "high", Severity: evidence.SeverityHigh}, {Name: "graced", Severity: evidence.SeverityMedium, Grace: 30 * ruleDay}},
		VEX:   VEXRule{Accept: []evidence.VEXStatus{evidence.VEXNotAffected}, Files: true}, Exceptions: []Exception{exceptionFor("excepted")},
	}
	unfixed := finding("blocked", evidence.SeverityHigh)
	unfixed.Fixes, unfixed.FixState = nil, evidence.FixWont
	inGrace := graced(now.Add(-ruleDay))
	inGrace.ID, inGrace.Severity = "graced", evidence.SeverityMedium
	in := withFeeds(unfixed, inGrace, finding("excepted", evidence.SeverityHigh), finding("taken", evidence.SeverityHigh), finding("allowed", evidence.SeverityLow))
	statement := statementFor("pkg:npm/lodash")
	statement.ID = "taken"
	in.VEX = []evidence.VEXStatement{statement}
	d := p.Evaluate(in, now)
	for id, want := range map[string]Explanation{
		"blocked":  {Outcome: OutcomeBlocked, Remedies: []string{"no fixed version is known: remove lodash or build without it", "an exception with id blocked in p.yaml", "it does not pass without a change"}},
		"graced":   {Outcome: OutcomeWarned, Remedies: []string{"upgrade lodash to 3 or 2 or 4", "an exception with id graced in p.yaml", "it does not pass without a change"}},
		"excepted": {Outcome: OutcomeExcepted, Exception: &p.Exceptions[0]},
		"taken":    {Outcome: OutcomeNotAffected, Statement: &statement},
		"allowed":  {Outcome: OutcomeAllowed},
	} {
		got := Explain(Set{p}, in, d, id, now)
		if len(got) != 1 {
			t.Errorf("%s: %+v", id, got)
			continue
		}
		short := Explanation{Outcome: got[0].Outcome, Remedies: got[0].Remedies, Exception: got[0].Exception, Statement: got[0].Statement}
		if diff := cmp.Diff(want, short); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
		if got[0].Finding == nil || got[0].Platform == "" {
			t.Errorf("%s: %+v", id, got[0])
		}
	}
}

func TestExplainRule(t *testing.T) {
	p := blockAll()
	p.File = "p.yaml"
	in := cleanInput()
	in.Image.Digest = ""
	got := Explain(Set{p}, in, p.Evaluate(in, now), "evidence", now)
	if len(got) != 1 || len(got[0].Remedies) != 1 || got[0].Remedies[0] != "no exception covers this: fix the problem that the message describes" {
		t.Errorf("%+v", got)
	}

	named := Decision{Violations: []Violation{{Kind: "package", Rule: "no telnet", Position: at(3, 5), Message: "m"}}}
	got = Explain(Set{p, nil, {File: "other.yaml"}}, in, named, "no telnet", now)
	want := []string{"an exception with rule no telnet in p.yaml", "it does not pass without a change"}
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	if diff := cmp.Diff(want, got[0].Remedies); diff != "" {
		t.Error(diff)
	}
}
