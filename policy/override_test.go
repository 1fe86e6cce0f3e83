package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

func TestOverrideNeedsAnApproverAndEnds(t *testing.T) {
	p := parsed(t, minimal+"override: {maxLifetime: 24h, approvers: [oncall@example.com, \"*@security.example.com\"]}\n")
	good := Override{Reason: "the fix itself is delayed", Approver: "a@security.example.com", Expires: now.Add(24 * time.Hour)}
	change := func(f func(*Override)) Override {
		o := good
		f(&o)
		return o
	}
	for name, tt := range map[string]struct {
		o    Override
		want string
	}{
		"good":             {good, ""},
		"oncall":           {change(func(o *Override) { o.Approver = "oncall@example.com" }), ""},
		"last moment":      {change(func(o *Override) { o.Expires = now.Add(1) }), ""},
		"ended":            {change(func(o *Override) { o.Expires = now }), "the override expired on 2026-06-15T12:00:00Z"},
		"without end":      {change(func(o *Override) { o.Expires = time.Time{} }), "the override expired on 0001-01-01T00:00:00Z"},
		"too long":         {change(func(o *Override) { o.Expires = now.Add(24*time.Hour + time.Second) }), "the override expires on 2026-06-16T12:00:01Z, more than 1d ahead of now"},
		"no reason":        {change(func(o *Override) { o.Reason = " \n" }), "the override has no reason"},
		"no approver":      {change(func(o *Override) { o.Approver = "" }), "the override has no approver"},
		"another approver": {change(func(o *Override) { o.Approver = "oncall@example.com.evil" }), `"oncall@example.com.evil" may not approve an override: no pattern in the policy's section at p.yaml:4:1 matches`},
		"zero":             {Override{}, "the override has no reason"},
	} {
		got := ""
		if err := p.CheckOverride(tt.o, now); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}

	for name, p := range map[string]*Policy{
		"none": nil, "no section": blockAll(),
		"no lifetime":  {Override: OverrideRule{Approvers: []string{"*"}}},
		"no approvers": {Override: OverrideRule{MaxLifetime: time.Hour}},
	} {
		if p.CheckOverride(good, now) == nil {
			t.Errorf("%s: an override is allowed", name)
		}
	}

	// An override must be allowed by every policy: a team cannot allow one that the organization
	// does not allow.
	for name, s := range map[string]Set{"nil": nil, "one without": {p, blockAll()}, "one nil": {p, nil}} {
		if s.CheckOverride(good, now) == nil {
			t.Errorf("%s: an override is allowed", name)
		}
	}
	if err := (Set{p, p}).CheckOverride(good, now); err != nil {
		t.Error(err)
	}
}

func TestOverrideDoesNotMakeADecisionPass(t *testing.T) {
	p := blockAll()
	p.Override = OverrideRule{MaxLifetime: time.Hour, Approvers: []string{"*"}}
	denied(t, p.Evaluate(withFindings(finding("CVE-1", evidence.SeverityLow)), now), "vulnerability all")
}

func TestParseOverride(t *testing.T) {
	for section, want := range map[string][]string{
		"{}": {
			`p.yaml:4:11: "override" has no "maxLifetime", which is mandatory`,
			`p.yaml:4:11: "override" has no "approvers", which is mandatory`,
		},
		"{maxLifetime: 24h, approvers: []}":     {`p.yaml:4:41: "approvers" is empty: omit the section to allow none`},
		"{maxLifetime: 0s, approvers: [a]}":     {`p.yaml:4:25: "maxLifetime": "0s" is not more than zero`},
		"{maxLifetime: 24h, approvers: [a, 1]}": {`p.yaml:4:45: "approvers" is a number: expected text in quotes`},
	} {
		if diff := cmp.Diff(want, problems(t, minimal+"override: "+section+"\n")); diff != "" {
			t.Errorf("%s: %s", section, diff)
		}
	}
}
