package evidence

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBaselineFindingsMustBeInEveryApprovedImage checks that, with several destinations, only
// findings that all approved images have are inherited.
func TestBaselineFindingsMustBeInEveryApprovedImage(t *testing.T) {
	one := func(digest string, findings ...BaselineFinding) *Baseline {
		return &Baseline{Digests: []string{digest}, Findings: findings}
	}
	f := BaselineFinding{Platform: "linux/amd64", ID: "GHSA-1", Aliases: []string{"CVE-1", "X-1"}, Type: "npm", Name: "lodash"}
	change := func(to func(*BaselineFinding)) BaselineFinding {
		g := f
		to(&g)
		return g
	}
	for name, tt := range map[string]struct {
		a, b *Baseline
		want *Baseline
	}{
		"both nil":   {nil, nil, nil},
		"one nil":    {one("a", f), nil, nil},
		"other nil":  {nil, one("b", f), nil},
		"the same":   {one("a", f), one("a", f), one("a", f)},
		"both":       {one("a", f), one("b", f), &Baseline{Digests: []string{"a", "b"}, Findings: []BaselineFinding{f}}},
		"only there": {one("a"), one("a", f), &Baseline{Digests: []string{"a"}, Findings: []BaselineFinding{}}},
		"by an alias": {one("a", f), one("a", change(func(g *BaselineFinding) { g.ID, g.Aliases = "cve-1", nil })),
			one("a", change(func(g *BaselineFinding) { g.ID, g.Aliases = "CVE-1", []string{} }))},
		"another platform": {one("a", f), one("a", change(func(g *BaselineFinding) { g.Platform = "linux/arm64" })), &Baseline{Digests: []string{"a"}, Findings: []BaselineFinding{}}},
		"another package":  {one("a", f), one("a", change(func(g *BaselineFinding) { g.Name = "left-pad" })), &Baseline{Digests: []string{"a"}, Findings: []BaselineFinding{}}},
	} {
		if diff := cmp.Diff(tt.want, tt.a.And(tt.b)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestLookupComparesIDsAndAliases(t *testing.T) {
	f := Finding{ID: "GHSA-1", Package: Package{Name: "lodash", Type: "npm"}}
	f.Aliases = []string{"CVE-1"}
	f.KEV = &KEV{}
	b := &Baseline{Findings: []BaselineFinding{{Platform: "linux/amd64", ID: "cve-1", Type: "npm", Name: "lodash"}}}
	if has := b.Lookup(); !has("linux/amd64", &f) || has("linux/arm64", &f) {
		t.Error("a finding only on linux/amd64 is found on another platform")
	}
	if has := (*Baseline)(nil).Lookup(); has("linux/amd64", &f) {
		t.Error("a nil baseline has a finding")
	}
}
