package report

import (
	"fmt"

	"github.com/imagegate/imagegate/policy"
)

// override says who let the image through, why and for how long.
func (t text) override() {
	o := t.Override
	if o == nil {
		return
	}
	t.section("Override of the denial")
	t.space()
	t.item(2, "reason: "+Sanitize(o.Reason))
	t.item(2, "approver, as stated by the person who ran imagegate: "+short(o.Approver))
	t.item(2, "granted "+instant(o.Granted)+t.age(o.Granted)+", expires "+instant(o.Expires)+t.timeLeft(o.Expires))
	if t.Decision != nil {
		return // the report lists its violations in full
	}
	var rows []row
	for _, v := range o.Violations[:min(len(o.Violations), maxOverridden)] {
		rows = append(rows, row{cells: []cell{{text: overriddenName(v)}, {text: short(v.Platform)}, {text: "rule " + short(v.Rule)}}})
	}
	t.item(2, "covers "+count(len(o.Violations), "violation"))
	t.table(4, rows)
	if more := len(o.Violations) - maxOverridden; more > 0 {
		t.item(4, fmt.Sprintf("and %d more: see the JSON report", more))
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
