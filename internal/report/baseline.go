package report

import (
	"fmt"
	"slices"
)

// baseline names the images of the baseline.
func (t text) baseline() {
	b := t.Input.Baseline
	if b == nil {
		return
	}
	name := "Baseline"
	for _, digest := range b.Digests {
		t.field(name, short(digest))
		name = ""
	}
	what := "the approved image has "
	if len(b.Digests) > 1 {
		what = "the approved images share "
	}
	t.field(name, what+count(len(b.Findings), "finding"))
}

// newFindings says how many of the blocking findings are new.
func (t text) newFindings() {
	if t.Input.Baseline == nil || t.Decision == nil {
		return
	}
	fresh, known := 0, 0
	for _, i := range merge(t.Decision.Violations) {
		switch {
		case i.Finding == nil:
		case t.isNew(i):
			fresh++
		default:
			known++
		}
	}
	if fresh+known > 0 {
		t.item(2, fmt.Sprintf("compared with the approved image: %s, %d not new", count(fresh, "new finding"), known))
	}
}

// noveltyCell marks a blocking finding as new or not. The cell is empty without a baseline.
func (t text) noveltyCell(i Item) cell {
	switch {
	case t.Input.Baseline == nil:
		return cell{}
	case t.isNew(i):
		return cell{text: "new", style: red}
	}
	return cell{text: "not new"}
}

// isNew reports whether the approved image lacks the finding on any platform with the issue.
func (t text) isNew(i Item) bool {
	return len(i.Platforms) == 0 || slices.ContainsFunc(i.Platforms, func(p string) bool { return !t.known(p, i.Finding) })
}
