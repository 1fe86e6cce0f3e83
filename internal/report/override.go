package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy"
)

// override writes who overrode the denial, why and until when.
func (t text) override() {
	o := t.Override
	if o == nil {
		return
	}
	t.Section("Override of the denial")
	t.Space()
	t.Item(2, "reason: "+Sanitize(o.Reason))
	t.Item(2, "approver, as stated by the person who ran imagegate: "+short(o.Approver))
	t.Item(2, "granted "+units.Instant(o.Granted)+t.age(o.Granted)+", expires "+units.Instant(o.Expires)+t.timeLeft(o.Expires))
	if t.Decision != nil {
		return // the report lists its violations in full
	}
	all := Covered(o)
	var rows []layout.Row
	for _, c := range all[:min(len(all), maxOverridden)] {
		rows = append(rows, layout.Row{Cells: []layout.Cell{{Text: overriddenName(c.Overridden)}, {Text: short(strings.Join(c.Platforms, ", "))}, {Text: "rule " + short(c.Rule)}}})
	}
	t.Item(2, "covers "+units.Count(len(all), "violation"))
	t.Table(4, rows)
	if more := len(all) - maxOverridden; more > 0 {
		t.Item(4, fmt.Sprintf("and %d more: see the JSON report", more))
	}
}

// CoveredViolation is a violation that an override covers, on one or more platforms.
type CoveredViolation struct {
	// Overridden is the violation on the first of Platforms.
	policy.Overridden
	Platforms []string // empty for the whole image
}

// Covered returns the violations that an override covers. Like [Report.Items], it merges violations
// that differ only in the platform.
func Covered(o *policy.GrantedOverride) []CoveredViolation {
	var out []CoveredViolation
	index := map[policy.Overridden]int{}
	for _, v := range o.Violations {
		key := v
		key.Platform = ""
		key.Package, _, _ = strings.Cut(v.Package, "?") // the qualifiers name the architecture
		at, ok := index[key]
		if !ok {
			at = len(out)
			index[key] = at
			out = append(out, CoveredViolation{Overridden: v})
		}
		if v.Platform != "" && !slices.Contains(out[at].Platforms, v.Platform) {
			out[at].Platforms = append(out[at].Platforms, v.Platform)
		}
	}
	return out
}

func overriddenName(v policy.Overridden) string {
	switch {
	case v.ID != "":
		return short(v.ID) + " in " + short(v.Package)
	case v.Message != "":
		return Sanitize(v.Message)
	}
	return "violation of kind " + short(string(v.Kind))
}
