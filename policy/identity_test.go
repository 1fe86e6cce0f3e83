package policy

import (
	"testing"
	"time"
)

func TestNameSurvivesEdits(t *testing.T) {
	parse := func(file, text string) *Policy {
		t.Helper()
		p, err := Parse(file, []byte("version: 1\nrules: [{name: a, severity: critical}]\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	unnamed, named := parse("some/folder/strict.yaml", ""), parse("policy.yaml", "name: prod/eu-1\n")
	if got := unnamed.Title(); got != "strict.yaml" {
		t.Errorf("without a name: %q", got)
	}
	if got := (Set{named, unnamed}).Title(); got != "prod/eu-1 + strict.yaml" {
		t.Errorf("both: %q", got)
	}
	for _, name := range []string{"a + b", "''", "-a", "a\\nb", "[a]", "ä"} {
		if _, err := Parse("p.yaml", []byte("version: 1\nrules: [{name: a, severity: critical}]\nname: "+name+"\n")); err == nil {
			t.Errorf("the name %s is accepted", name)
		}
	}
}

// TestSetTakesTheLeastAge checks that adding a policy can only lower the age limits of a Set.
func TestSetTakesTheLeastAge(t *testing.T) {
	week, day := &Policy{Decision: DecisionRule{MaxAge: 168 * time.Hour}, BaselineMaxAge: 100 * 24 * time.Hour}, &Policy{Decision: DecisionRule{MaxAge: 24 * time.Hour}}
	for _, c := range []struct {
		set                Set
		decision, baseline time.Duration
	}{
		{Set{}, 0, DefaultBaselineMaxAge},
		{Set{{}}, 0, DefaultBaselineMaxAge},
		{Set{week}, 168 * time.Hour, 100 * 24 * time.Hour},
		{Set{week, {}}, 168 * time.Hour, DefaultBaselineMaxAge},
		{Set{week, day}, 24 * time.Hour, DefaultBaselineMaxAge},
	} {
		if got := c.set.DecisionMaxAge(); got != c.decision {
			t.Errorf("decision: %s, want %s", got, c.decision)
		}
		if got := c.set.BaselineMaxAge("a"); got != c.baseline {
			t.Errorf("baseline: %s, want %s", got, c.baseline)
		}
	}
}
