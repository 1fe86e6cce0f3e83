package gate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

// TestRecheckGivesTheSameDecision checks that Recheck gives the same evidence and decision as
// Check, and reads nothing from the registry.
func TestRecheckGivesTheSameDecision(t *testing.T) {
	h := newTester(t)
	now := time.Now()
	g := h.gate(blockCritical, func(o *Options) { o.Now = func() time.Time { return now } })
	external := ExternalEvidence{VEX: []evidence.VEXStatement{{ID: "CVE-2021-3918", Status: "fixed"}}, Unverified: 1}
	r, err := g.Check(t.Context(), h.push("app:1", h.index(h.image(dirty), h.image(on(clean, "linux/arm64")))), external)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	h.staging.Close()
	e, err := g.Recheck(t.Context(), r.Catalog, external)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Input.Platforms) != 2 || len(e.Input.Platforms[0].Findings) == 0 || e.Decision.Passed {
		t.Fatalf("little is compared: %+v", e.Decision)
	}
	if d := cmp.Diff(&r.Evaluation, e, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
		t.Errorf("the evaluations differ (-Check +Recheck):\n%s", d)
	}
}

// TestRecheckRefusesAnOldDatabase checks that Recheck does not evaluate a catalog against a
// database that is too old.
func TestRecheckRefusesAnOldDatabase(t *testing.T) {
	h := newTester(t)
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(clean)))
	later := h.gate(blockCritical, func(o *Options) { o.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) } })
	if e, err := later.Recheck(t.Context(), r.Catalog, ExternalEvidence{}); err == nil {
		t.Errorf("evaluated: %+v", e.Decision)
	}
}
