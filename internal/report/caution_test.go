package report

import (
	"strings"
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"

	"github.com/imagegate/imagegate/policy"
)

func TestAllCautionsAreComplete(t *testing.T) {
	severe := evidence.Finding{ID: "CVE-1", Severity: evidence.SeverityCritical}
	r := Report{
		Input:    evidence.Input{Database: evidence.Database{Advisories: []evidence.Advisories{{Distribution: "debian 12", Count: 3}}}},
		Decision: &policy.Decision{Passed: true, Allowed: []policy.Allowed{{Platform: "a", Finding: severe}, {Platform: "b", Finding: severe}}},
		MovedTo:  "sha256:1", Cautions: []string{"baseline\x1b missing"},
	}
	all := strings.Join(r.AllCautions(), "\n")
	for _, want := range []string{"few advisories", "3 for debian 12", "1 critical finding matches no rule", "sha256:1", `baseline\x1b missing`} {
		if !strings.Contains(all, want) {
			t.Errorf("the cautions lack %q:\n%s", want, all)
		}
	}
	if got := (Report{}).AllCautions(); len(got) != 0 {
		t.Errorf("an empty report has the cautions %q", got)
	}
}

func TestAllowedItemsAreJoined(t *testing.T) {
	found := evidence.Finding{ID: "CVE-1", Package: evidence.Package{Name: "x", Version: "1"}}
	r := Report{Decision: &policy.Decision{Allowed: []policy.Allowed{{Platform: "a", Finding: found}, {Platform: "b", Finding: found}}}}
	items := r.AllowedItems()
	if len(items) != 1 || len(items[0].Platforms) != 2 {
		t.Errorf("got %+v: want one item on two platforms", items)
	}
	if n := len(r.Items()); n != 0 {
		t.Errorf("findings that no rule matches are %d items: want 0", n)
	}
}
