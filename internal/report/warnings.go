package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// warnings lists in full the findings that would block without a grace period or the baseline, and
// other warnings up to a limit.
func (t text) warnings() {
	var graced, inherited, rest []policy.Violation
	for _, w := range t.Decision.Warnings {
		switch {
		case w.Finding != nil && !w.Blocks.IsZero():
			graced = append(graced, w)
		case w.Finding != nil && w.Inherited:
			inherited = append(inherited, w)
		default:
			rest = append(rest, w)
		}
	}
	t.waived("Blocks when the grace period ends", graced)
	t.waived("Inherited from the approved image, so not blocking", inherited)
	if len(rest) == 0 {
		return
	}
	fixable, unfixable, others := splitByFix(merge(rest))
	found := slices.Concat(fixable, unfixable)
	t.section(fmt.Sprintf("Warnings: %d%s", len(rest), distinct(len(rest), len(others)+len(found))))
	t.blank()
	for _, i := range others[:min(len(others), maxWarnings)] {
		t.item(2, message(i)+", "+ruleText(i.Violation))
		t.notes(4, t.platformNote(i))
	}
	t.more(len(others), maxWarnings)
	t.brief(found, maxWarnings)
}

// waived lists all findings that do not block for one common reason.
func (t text) waived(title string, violations []policy.Violation) {
	if len(violations) == 0 {
		return
	}
	found := merge(violations)
	t.section(title + ": " + count(len(found), "finding"))
	t.blank()
	t.brief(found, len(found))
}

// brief lists findings on one line each, the most severe first, up to a limit.
func (t text) brief(found []Item, limit int) {
	slices.SortStableFunc(found, bySeverity)
	var rows []row
	for _, i := range found[:min(len(found), limit)] {
		r := row{notes: []string{t.platformNote(i)}, cells: append(findingCells(*i.Finding),
			cell{text: nameVersion(i.Finding.Package)}, cell{text: fixText(*i.Finding)})}
		if i.Rule != "" {
			r.cells = append(r.cells, cell{text: ruleText(i.Violation)})
		}
		if !i.Blocks.IsZero() {
			r.cells = append(r.cells, cell{text: "from " + i.Blocks.UTC().Format(time.DateOnly) + t.timeLeft(i.Blocks), style: yellow})
		}
		rows = append(rows, r)
	}
	t.table(2, rows)
	t.more(len(found), limit)
}

// more says how many items of a list were omitted.
func (t text) more(n, limit int) {
	if n > limit {
		t.item(2, fmt.Sprintf("and %d more: see the JSON report", n-limit))
	}
}
