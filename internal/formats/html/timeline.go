package html

import (
	"cmp"
	"slices"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// event is one date on the timeline of the page.
type event struct {
	At time.Time
	// Left is the distance from the end of the run. It is empty for the decision itself.
	Left string
	// Look is past, now, blocks, ends or note.
	Look  string
	Title string
	Note  string
	About list[about]
}

// newTimeline returns the dates around the decision, in order: the age of the database, the
// decision, and the future changes that need no new image. These are the ends of grace periods, of
// exceptions and of the distribution's support, and the day when the pass ends.
func newTimeline(r report.Report, v report.Verdict, items []report.Item, d *data) list[event] {
	t := timeline{now: runTime(r)}
	t.past(r, v)
	t.grace(items, d)
	t.exceptions(items, d)
	t.distributions(r)
	if o := r.Override; o != nil {
		t.add(o.Expires, "ends", "The override ends", "The image counts as denied again.", nil)
	}
	t.end(r, v)
	slices.SortStableFunc(t.events, func(a, b event) int { return a.At.Compare(b.At) })
	return bounded(t.events, maxList)
}

type timeline struct {
	now    time.Time
	events []event
}

func (t *timeline) add(at time.Time, look, title, note string, names []about) {
	if at.IsZero() {
		return
	}
	left := distance(t.now, at)
	if look == "now" {
		left = ""
	}
	t.events = append(t.events, event{at, left, look, title, note, bounded(names, maxNames)})
}

// past adds the events before the end of the run: the database and the decision.
func (t *timeline) past(r report.Report, v report.Verdict) {
	db := r.Input.Database
	t.add(db.Built, "past", "Vulnerability database built", "", nil)
	var oldest evidence.Provider
	for _, p := range db.Providers {
		if !p.Captured.IsZero() && (oldest.Captured.IsZero() || p.Captured.Before(oldest.Captured)) {
			oldest = p
		}
	}
	if oldest.Captured.Before(db.Built) {
		t.add(oldest.Captured, "past", "Oldest data in the database", "Provider "+name(oldest.Name), nil)
	}
	if r.Decision == nil {
		for _, d := range r.Destinations {
			if d.State != report.SignatureVerified {
				t.add(d.Decided, "past", "The signed decision was made", name(d.Reference), nil)
			}
		}
		t.add(t.now, "now", "The run ended: "+v.Word, "", nil)
		return
	}
	t.add(cmp.Or(r.EvaluatedAt, t.now), "now", "Decision: "+v.Word, "", nil)
}

// grace adds the ends of grace periods.
func (t *timeline) grace(items []report.Item, d *data) {
	t.grouped(items, d, func(i *report.Item) (time.Time, string) { return i.Blocks, "" }, func(at time.Time, names []about, _ *report.Item) {
		t.add(at, "blocks", plural(len(names), "finding")+" "+verb(len(names), "begins", "begin")+" to block", "The grace period ends.", names)
	})
}

// exceptions adds the ends of the exceptions in use.
func (t *timeline) exceptions(items []report.Item, d *data) {
	of := func(i *report.Item) (time.Time, string) {
		if i.Exception == nil {
			return time.Time{}, ""
		}
		return i.Exception.Expires, exceptionKey(i.Exception)
	}
	t.grouped(items, d, of, func(at time.Time, names []about, first *report.Item) {
		e := first.Exception
		t.add(at, "blocks", "An exception ends: "+plural(len(names), "problem")+" "+verb(len(names), "blocks", "block")+" again",
			name(cmp.Or(e.ID, e.Rule))+", owner "+name(e.Owner), names)
	})
}

// grouped calls add for each group of items with the same time and key, in the order of the items.
func (t *timeline) grouped(items []report.Item, d *data, of func(*report.Item) (time.Time, string), add func(time.Time, []about, *report.Item)) {
	type group struct {
		at    time.Time
		names []about
		first *report.Item
	}
	var order []*group
	groups := map[string]*group{}
	for n := range items {
		at, key := of(&items[n])
		if at.IsZero() {
			continue
		}
		key += at.UTC().Format(time.RFC3339Nano)
		if groups[key] == nil {
			groups[key] = &group{at: at, first: &items[n]}
			order = append(order, groups[key])
		}
		groups[key].names = append(groups[key].names, d.about(n))
	}
	for _, g := range order {
		add(g.at, g.names, g.first)
	}
}

// about returns the entry that names the row with index n.
func (d *data) about(n int) about {
	row := d.Items[n]
	a := about{Text: row.Title, Key: row.Key}
	if row.Severity >= 0 {
		a.Severity = evidence.Severity(row.Severity).String()
		if row.Package >= 0 {
			a.Text += " " + d.Packages[row.Package].Name
		}
	}
	return a
}

// distributions adds the days when the vendors' support for the distributions ends.
func (t *timeline) distributions(r report.Report) {
	seen := map[string]bool{}
	for _, p := range r.Input.Platforms {
		d := p.Distribution
		title := name(cmp.Or(d.Name, d.ID))
		if d.EndOfLife.IsZero() || seen[title+instant(d.EndOfLife)] {
			continue
		}
		seen[title+instant(d.EndOfLife)] = true
		look := "note"
		if !d.EndOfLife.After(t.now) {
			look = "past"
		}
		t.add(d.EndOfLife, look, title+" reaches its end of life", "The vendor publishes no advisories from this day on.", nil)
	}
}

// end adds the first instant when the decision can change, unless another event of that instant
// already explains it.
func (t *timeline) end(r report.Report, v report.Verdict) {
	if r.Decision == nil || r.Decision.Until.IsZero() {
		return
	}
	until := r.Decision.Until
	explained := slices.ContainsFunc(t.events, func(e event) bool { return e.At.Equal(until) })
	note := "From then on, the policy can decide differently, because the database, the image or a signature gets too old."
	if explained {
		note = ""
	}
	if v.Outcome == report.Passed {
		t.add(until, "ends", "The pass ends: evaluate the image again", note, nil)
	} else if !explained {
		t.add(until, "note", "The decision can change", note, nil)
	}
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
