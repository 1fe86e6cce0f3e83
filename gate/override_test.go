package gate

import (
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy"
)

const overridable = `
override:
  maxLifetime: 24h
  approvers: [oncall@example.com]
`

func parsePolicy(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestEveryPolicyMustAllowTheOverride checks that an override is possible only if every policy
// allows it and the image was denied.
func TestEveryPolicyMustAllowTheOverride(t *testing.T) {
	h := newTester(t)
	img := h.push("app:1", h.image(dirty))
	with, without := parsePolicy(t, blockCritical+overridable), parsePolicy(t, blockCritical)
	good := policy.Override{Reason: "the repair is delayed", Approver: "oncall@example.com", Expires: time.Now().Add(time.Hour)}
	change := func(f func(*policy.Override)) policy.Override {
		o := good
		f(&o)
		return o
	}
	for name, tt := range map[string]struct {
		policies policy.Set
		o        policy.Override
		want     string
	}{
		"good":             {policy.Set{with}, good, ""},
		"two policies":     {policy.Set{with, with}, good, ""},
		"no section":       {policy.Set{without}, good, "does not allow overrides"},
		"one without":      {policy.Set{with, without}, good, "does not allow overrides"},
		"the other":        {policy.Set{without, with}, good, "does not allow overrides"},
		"expired":          {policy.Set{with}, change(func(o *policy.Override) { o.Expires = time.Now() }), "expired"},
		"too long":         {policy.Set{with}, change(func(o *policy.Override) { o.Expires = time.Now().Add(25 * time.Hour) }), "more than 1d ahead"},
		"another approver": {policy.Set{with}, change(func(o *policy.Override) { o.Approver = "me@example.com" }), "may not approve"},
		"no reason":        {policy.Set{with}, change(func(o *policy.Override) { o.Reason = " " }), "no reason"},
		"zero":             {policy.Set{with}, policy.Override{}, "no reason"},
	} {
		r := h.check(h.gate(blockCritical, func(o *Options) { o.Policies = tt.policies }), img)
		a, err := r.Override(tt.o)
		if tt.want != "" {
			if a != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, %v, want %q", name, a, err, tt.want)
			}
			continue
		}
		if err != nil || !a.Valid() || a.Confirm() != nil || a.Decision().Passed || a.Override() == nil || *a.Override() != tt.o {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if r.Decision.Passed || r.Approval != nil {
			t.Errorf("%s: the denial has become a pass", name)
		}
	}

	r := h.check(h.gate(blockCritical, func(o *Options) { o.Policies = policy.Set{with}; o.At = time.Now().Add(time.Hour) }), img)
	if a, err := r.Override(good); a != nil || err == nil {
		t.Errorf("a decision as of a later time is overridden: %v", a)
	}
	r = h.check(h.gate(blockCritical, func(o *Options) { o.Policies = policy.Set{with} }), h.push("app:2", h.image(clean)))
	if a, err := r.Override(good); a != nil || err == nil || r.Approval.Override() != nil {
		t.Errorf("a pass is overridden: %v", a)
	}
}

// TestOverrideRequiresADenial checks that no other image can be promoted if a caller replaces the
// image of a denied result, and that a Result that did not come from a check cannot be overridden.
func TestOverrideRequiresADenial(t *testing.T) {
	h := newTester(t)
	g := h.gate(blockCritical + overridable)
	r, other := h.check(g, h.push("app:1", h.image(dirty))), h.check(g, h.push("app:2", h.image(clean)))
	r.Image = other.Image
	a, err := r.Override(policy.Override{Reason: "x", Approver: "oncall@example.com", Expires: time.Now().Add(time.Hour)})
	if err == nil && a.Confirm() == nil {
		t.Error("another image is let through")
	}
	if _, err := new(Result).Override(policy.Override{}); err == nil {
		t.Error("a result without a check is overridden")
	}
}
