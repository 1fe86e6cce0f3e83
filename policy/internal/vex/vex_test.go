package vex

import (
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/indexed"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// removing returns the document of the statement that removes CVE-1 in lodash, or "".
func removing(r Rule, statements ...evidence.VEXStatement) string {
	in := &evidence.Input{Image: evidence.Image{Digest: "sha256:a"}, VEX: statements}
	f := &evidence.Finding{ID: "GHSA-1", Aliases: []string{"CVE-1"}, Package: evidence.Package{PURL: "pkg:npm/lodash@4"}}
	s := New(r, in, now, func(time.Time) {}).Removing(indexed.New(f, &evidence.Platform{Digest: "sha256:b"}))
	if s == nil {
		return ""
	}
	return s.Document
}

func stated(document, product string, age time.Duration) evidence.VEXStatement {
	return evidence.VEXStatement{ID: "cve-1", Status: evidence.VEXNotAffected, Products: []string{product}, Timestamp: now.Add(-age), Document: document}
}

var accepting = Rule{
	Accept: []evidence.VEXStatus{evidence.VEXNotAffected},
	Trusts: func(s *evidence.VEXStatement) bool { return s.Author != "stranger" },
}

func TestOnlyTrustedStatementsCount(t *testing.T) {
	s := stated("d", "pkg:npm/lodash", time.Hour)
	if got := removing(accepting, s); got != "d" {
		t.Errorf("%q", got)
	}
	if got := removing(Rule{}, s); got != "" {
		t.Errorf("the zero value accepts %q", got)
	}
	s.Author = "stranger"
	if got := removing(accepting, s); got != "" {
		t.Errorf("a statement that is not trusted counts: %q", got)
	}
	s = stated("d", "pkg:npm/lodash", time.Hour)
	strict := accepting
	strict.Justifications = []string{"component_not_present"}
	if got := removing(strict, s); got != "" {
		t.Errorf("no justification counts: %q", got)
	}
}

// TestLatestStatementCounts checks that a newer statement replaces an older one about the same
// product, and that a finding is removed only if the latest statements about all products remove
// it.
func TestLatestStatementCounts(t *testing.T) {
	affected := func(s evidence.VEXStatement) evidence.VEXStatement {
		s.Status = evidence.VEXAffected
		return s
	}
	old, recent := stated("old", "pkg:npm/lodash", 2*time.Hour), stated("recent", "pkg:npm/lodash", time.Hour)
	undated := affected(old)
	undated.Timestamp = time.Time{}
	for name, test := range map[string]struct {
		statements []evidence.VEXStatement
		want       string
	}{
		"both":              {[]evidence.VEXStatement{old, recent}, "recent"},
		"affected later":    {[]evidence.VEXStatement{old, affected(recent)}, ""},
		"affected before":   {[]evidence.VEXStatement{affected(old), recent}, "recent"},
		"affected as old":   {[]evidence.VEXStatement{affected(recent), recent}, ""},
		"affected, undated": {[]evidence.VEXStatement{undated, recent}, ""},
		"another product":   {[]evidence.VEXStatement{affected(stated("", "pkg:npm/lodash@4", 3*time.Hour)), recent}, ""},
		"in the future":     {[]evidence.VEXStatement{stated("future", "pkg:npm/lodash", -time.Hour)}, ""},
	} {
		if got := removing(accepting, test.statements...); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestImageNeedsASubcomponent checks that a statement about a whole image does not remove findings.
func TestImageNeedsASubcomponent(t *testing.T) {
	for _, product := range []string{"sha256:a", "sha256:b", "pkg:oci/app@sha256%3Aa"} {
		s := stated("d", product, time.Hour)
		if got := removing(accepting, s); got != "" {
			t.Errorf("%s: the whole image: %q", product, got)
		}
		s.Subcomponents = []string{"pkg:npm/lodash"}
		if got := removing(accepting, s); got != "d" {
			t.Errorf("%s: %q", product, got)
		}
	}
}
