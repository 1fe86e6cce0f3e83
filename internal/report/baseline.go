package report

import (
	"fmt"
	"slices"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
)

// baseline writes the names of the approved images that findings are compared with.
func (t text) baseline() {
	b := t.Input.Baseline
	if b == nil {
		return
	}
	what := "the approved image has "
	if len(b.Digests) > 1 {
		what = "the approved images share "
	}
	t.label("Baseline", what+units.Count(len(b.Findings), "finding"))
	for _, digest := range b.Digests {
		t.label("", short(digest))
	}
}

// newFindings writes how many of the blocking findings are new, compared with the baseline.
func (t text) newFindings() {
	if t.Input.Baseline == nil || t.Decision == nil {
		return
	}
	fresh, known := 0, 0
	for _, i := range t.blocking {
		switch {
		case i.Finding == nil:
		case t.isNew(i):
			fresh++
		default:
			known++
		}
	}
	if fresh+known > 0 {
		t.Item(2, fmt.Sprintf("Compared with the approved image: %s, %d not new.", units.Count(fresh, "new finding"), known))
	}
}

// noveltyCell says whether blocking findings are new, compared with the baseline. Without a
// baseline, the cell is empty.
func (t text) noveltyCell(issues []Item) layout.Cell {
	if t.Input.Baseline == nil {
		return layout.Cell{}
	}
	fresh := 0
	for _, i := range issues {
		if t.isNew(i) {
			fresh++
		}
	}
	switch {
	case fresh == 0:
		return layout.Cell{Text: "not new"}
	case fresh == len(issues):
		return layout.Cell{Text: "new", Style: layout.Red}
	}
	return layout.Cell{Text: fmt.Sprintf("%d new", fresh), Style: layout.Red}
}

// isNew reports whether the approved image lacks the finding on any platform with the issue.
func (t text) isNew(i Item) bool {
	return len(i.Platforms) == 0 || slices.ContainsFunc(i.Platforms, func(p string) bool { return !t.known(p, i.Finding) })
}
