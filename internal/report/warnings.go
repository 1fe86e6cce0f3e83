package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy"
)

// warnings writes how many items only warn. With --details, it lists them.
func (t text) warnings() {
	var graced, inherited, rest []Item
	all := merge(t.Decision.Warnings)
	for _, w := range all {
		switch {
		case w.Finding != nil && !w.Blocks.IsZero():
			graced = append(graced, w)
		case w.Finding != nil && w.Inherited:
			inherited = append(inherited, w)
		default:
			rest = append(rest, w)
		}
	}
	if !t.details {
		t.soon(graced)
		t.countWarnings(all, len(inherited))
		return
	}
	t.waived("Blocks when the grace period ends", graced)
	t.waived("Inherited from the approved image, so not blocking", inherited)
	if len(rest) == 0 {
		return
	}
	fixable, unfixable, others := splitByFix(rest)
	t.Section(fmt.Sprintf("Warnings: %d", len(rest)))
	t.Space()
	for _, i := range others {
		t.Item(2, message(i)+", "+ruleText(i.Violation))
		t.Notes(4, t.platformNote([]Item{i}))
	}
	t.brief(slices.Concat(fixable, unfixable))
}

// countWarnings writes one line with the number of all warnings.
func (t text) countWarnings(items []Item, inherited int) {
	if len(items) == 0 {
		return
	}
	var parts []string
	fixable, unfixable, others := splitByFix(items)
	if found := slices.Concat(fixable, unfixable); len(found) > 0 {
		parts = append(parts, severities(found))
	}
	kinds := map[policy.Kind]int{}
	for _, i := range others {
		kinds[i.Kind]++
	}
	for _, kind := range slices.SortedFunc(maps.Keys(kinds), func(a, b policy.Kind) int { return cmp.Or(cmp.Compare(kindRank(a), kindRank(b)), cmp.Compare(a, b)) }) {
		parts = append(parts, fmt.Sprintf("%d about %s", kinds[kind], kindText(kind)))
	}
	line := fmt.Sprintf("%d: %s", len(items), strings.Join(parts, ", "))
	if inherited > 0 {
		line += "; " + plural(inherited, "does not block because the approved image has it too", "do not block because the approved image has them too")
	}
	t.label("WARNINGS", line+" (--details)")
}

// kindText names the topic of a violation in a sentence.
func kindText(k policy.Kind) string {
	switch k {
	case policy.KindException:
		return "exceptions"
	case policy.KindDatabase, policy.KindDistribution, policy.KindEvidence, policy.KindImage:
		return "the " + string(k)
	case policy.KindSBOM:
		return "the SBOM"
	case policy.KindLicense:
		return "licenses"
	case policy.KindPackage:
		return "packages"
	}
	return short(string(k))
}

// soon writes what will begin to block without a new image: findings whose grace period ends, and
// exceptions that end within a month.
func (t text) soon(graced []Item) {
	blocks, ends := map[time.Time]int{}, map[time.Time]int{}
	for _, i := range graced {
		blocks[i.Blocks]++
	}
	now := t.referenceTime()
	used := map[policy.Exception]bool{}
	for _, e := range t.Decision.Excepted {
		if at := e.Exception.Expires; !now.IsZero() && at.Before(now.Add(remedy.NewExceptionsLast)) && !used[e.Exception] {
			used[e.Exception] = true
			ends[at]++
		}
	}
	dates := slices.Collect(maps.Keys(blocks))
	for at := range ends {
		if blocks[at] == 0 {
			dates = append(dates, at)
		}
	}
	slices.SortFunc(dates, time.Time.Compare)
	var lines []string
	for _, at := range dates {
		on := at.UTC().Format(time.DateOnly) + " (" + strings.TrimPrefix(t.timeLeft(at), ", ") + ")"
		if n := blocks[at]; n > 0 {
			lines = append(lines, plural(n, "warning blocks", "warnings block")+" from "+on)
		}
		if n := ends[at]; n > 0 {
			lines = append(lines, plural(n, "exception ends", "exceptions end")+" "+on)
		}
	}
	if more := len(lines) - maxSoon; more > 0 {
		lines = append(lines[:maxSoon], fmt.Sprintf("%d more later", more))
	}
	if len(lines) > 0 {
		t.label("SOON", strings.Join(lines, "; "))
	}
}

// plural returns the number n with the phrase for one or for many.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// waived lists all findings that do not block for the same reason.
func (t text) waived(title string, found []Item) {
	if len(found) == 0 {
		return
	}
	t.Section(title + ": " + units.Count(len(found), "finding"))
	t.Space()
	t.brief(found)
}

// brief lists findings, one on each line, the most severe first.
func (t text) brief(found []Item) {
	slices.SortStableFunc(found, bySeverity)
	var rows []layout.Row
	for at := range found {
		i := &found[at]
		r := layout.Row{Notes: []string{t.platformNote(found[at : at+1])}, Cells: append(findingCells(*i.Finding),
			layout.Cell{Text: nameVersion(i.Finding.Package)}, layout.Cell{Text: fixText(*i.Finding)})}
		if i.Rule != "" {
			r.Cells = append(r.Cells, layout.Cell{Text: ruleText(i.Violation)})
		}
		if !i.Blocks.IsZero() {
			r.Cells = append(r.Cells, layout.Cell{Text: "from " + i.Blocks.UTC().Format(time.DateOnly) + t.timeLeft(i.Blocks), Style: layout.Yellow})
		}
		rows = append(rows, r)
	}
	t.Table(2, rows)
}
