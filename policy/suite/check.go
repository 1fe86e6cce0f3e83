package suite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/order"
)

// Check compares the decision of the policies about in, at c.Now, with the expectation of c. It
// returns the differences, one sentence each, without a full stop at the end. An empty result means
// that the case passes. Differences may quote text from the image: sanitize them before printing.
func (c *Case) Check(s policy.Set, in evidence.Input) []string {
	d := s.Evaluate(in, c.Now)
	x := &c.Expect
	var differences []string
	if x.Passed != d.Passed {
		differences = append(differences, map[bool]string{true: "the image should pass, but is denied", false: "the image should be denied, but passes"}[x.Passed])
		// The violations show why the image was denied, so list them, too.
		if x.Passed && x.Violations == nil {
			for i := range d.Violations {
				differences = append(differences, "violation: "+listedText(&d.Violations[i]))
			}
		}
	}
	for _, list := range []struct {
		what string
		want []Expected
		got  []*policy.Violation
	}{
		{"violation", x.Violations, order.Pointers(d.Violations)},
		{"warning", x.Warnings, order.Pointers(d.Warnings)},
		{"exception in use", x.Excepted, violationsOf(d.Excepted, func(e *policy.Excepted) *policy.Violation { return &e.Violation })},
		{"finding that does not affect it", x.NotAffected, violationsOf(d.NotAffected, func(n *policy.NotAffected) *policy.Violation { return &n.Violation })},
	} {
		differences = append(differences, compareList(list.what, list.want, list.got, x.Exactly)...)
	}
	return differences
}

func violationsOf[T any](list []T, of func(*T) *policy.Violation) []*policy.Violation {
	violations := make([]*policy.Violation, len(list))
	for i := range list {
		violations[i] = of(&list[i])
	}
	return violations
}

func compareList(what string, want []Expected, got []*policy.Violation, exactly bool) []string {
	if want == nil {
		return nil
	}
	var differences []string
	expected := make([]bool, len(got))
	for i := range want {
		found := false
		for j, v := range got {
			if want[i].matches(v) {
				found, expected[j] = true, true
			}
		}
		if !found {
			differences = append(differences, fmt.Sprintf("no %s of %s, which is expected on line %d", what, want[i].text(), want[i].Position.Line))
		}
	}
	if !exactly && len(want) > 0 {
		return differences
	}
	for i, v := range got {
		if !expected[i] {
			differences = append(differences, fmt.Sprintf("unexpected %s: %s", what, listedText(v)))
		}
	}
	return differences
}

func (e *Expected) matches(v *policy.Violation) bool {
	if v.Rule != e.Rule || e.Platform != "" && v.Platform != e.Platform {
		return false
	}
	if e.ID != "" && (v.Finding == nil || !slices.Contains(v.Finding.IDs(), strings.ToLower(e.ID))) {
		return false
	}
	if e.Package == "" {
		return true
	}
	pkg := packageOf(v)
	return pkg != nil && match.NewPURLPattern(e.Package).Match(match.PackagePURL(pkg))
}

// packageOf returns the package that v is about, or nil.
func packageOf(v *policy.Violation) *evidence.Package {
	switch {
	case v.Finding != nil:
		return &v.Finding.Package
	case v.Package != nil:
		return v.Package
	case v.Unmatched != nil:
		return v.Unmatched.Package
	}
	return nil
}

func (e *Expected) text() string {
	text := fmt.Sprintf("rule %q", e.Rule)
	for _, part := range []struct{ name, value string }{{"id", e.ID}, {"package", e.Package}, {"platform", e.Platform}} {
		if part.value != "" {
			text += ", " + part.name + " " + part.value
		}
	}
	return text
}

// listedText describes an entry of a decision for a difference.
func listedText(v *policy.Violation) string {
	text := fmt.Sprintf("rule %q", v.Rule)
	if v.Position.Line > 0 {
		text += " (" + v.Position.String() + ")"
	}
	if v.Platform != "" {
		text += ", " + v.Platform
	}
	return text + ": " + v.Message
}
