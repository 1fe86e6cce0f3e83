package report

import (
	"fmt"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/policy"
)

// override says who let the image through, why and for how long.
func (t text) override() {
	o := t.Override
	if o == nil {
		return
	}
	t.Section("Override of the denial")
	t.Space()
	t.Item(2, "reason: "+Sanitize(o.Reason))
	t.Item(2, "approver, as stated by the person who ran imagegate: "+short(o.Approver))
	t.Item(2, "granted "+instant(o.Granted)+t.age(o.Granted)+", expires "+instant(o.Expires)+t.timeLeft(o.Expires))
	if t.Decision != nil {
		return // the report lists its violations in full
	}
	var rows []layout.Row
	for _, v := range o.Violations[:min(len(o.Violations), maxOverridden)] {
		rows = append(rows, layout.Row{Cells: []layout.Cell{{Text: overriddenName(v)}, {Text: short(v.Platform)}, {Text: "rule " + short(v.Rule)}}})
	}
	t.Item(2, "covers "+count(len(o.Violations), "violation"))
	t.Table(4, rows)
	if more := len(o.Violations) - maxOverridden; more > 0 {
		t.Item(4, fmt.Sprintf("and %d more: see the JSON report", more))
	}
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
