package html

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// changes compares the findings of the image with the findings of the approved image.
type changes struct {
	Digests []string
	// New and Known count rows of the findings list. GoneCount counts findings that only the
	// approved image has.
	New, Known, GoneCount int
	NewRows               list[about]
	Gone                  list[goneRow]
}

// goneRow is a finding that only the approved image has.
type goneRow struct{ ID, Package, Type, Platform string }

// newChanges compares the findings with the baseline. It returns nil if no approved image was
// compared.
func newChanges(r report.Report, d *data) *changes {
	b := r.Input.Baseline
	if b == nil {
		return nil
	}
	c := &changes{}
	for _, digest := range b.Digests {
		c.Digests = append(c.Digests, name(digest))
	}
	var fresh []about
	for n, row := range d.Items {
		switch row.Novelty {
		case "new":
			fresh = append(fresh, d.about(n))
		case "known":
			c.Known++
		}
	}
	c.New, c.NewRows = len(fresh), bounded(fresh, maxNames)
	left := gone(b, r.Input.Platforms)
	c.Gone, c.GoneCount = bounded(left, maxList), len(left)
	return c
}

// gone returns the findings of the baseline that no platform of the image has, in the order of the
// baseline.
func gone(b *evidence.Baseline, platforms []evidence.Platform) []goneRow {
	type key struct{ id, kind, pkg string }
	present := map[key]bool{}
	for _, p := range platforms {
		for i := range p.Findings {
			f := &p.Findings[i]
			for _, id := range append([]string{f.ID}, f.Aliases...) {
				for _, platform := range []string{p.Platform, ""} {
					present[key{platform + " " + strings.ToLower(id), f.Package.Type, f.Package.Name}] = true
				}
			}
		}
	}
	var rows []goneRow
	for _, f := range b.Findings {
		has := slices.ContainsFunc(append([]string{f.ID}, f.Aliases...), func(id string) bool {
			return present[key{f.Platform + " " + strings.ToLower(id), f.Type, f.Name}]
		})
		if !has {
			rows = append(rows, goneRow{name(f.ID), name(f.Name), name(f.Type), name(f.Platform)})
		}
	}
	return rows
}

// license counts the packages that declare one license, or none.
type license struct {
	Name     string
	Packages list[string]
	Count    int
	// Status is the strictest effect of the license rules: "blocking", "warning", "excepted" or "".
	Status string
}

// newLicenses counts packages by license. A package with several licenses counts once for each.
// Licenses that break a rule come first.
func newLicenses(r report.Report, items []report.Item) list[license] {
	reported := map[string]report.Status{}
	for i := range items {
		p := items[i].Subject()
		if items[i].Kind != policy.KindLicense || p == nil {
			continue
		}
		if s, ok := reported[packageKey(p)]; !ok || items[i].Status < s {
			reported[packageKey(p)] = items[i].Status
		}
	}
	byName, seen := map[string]*licenseEntry{}, map[string]bool{}
	for _, platform := range r.Input.Platforms {
		for n := range platform.Packages {
			p := &platform.Packages[n]
			if seen[packageKey(p)] {
				continue
			}
			seen[packageKey(p)] = true
			for _, l := range declared(p) {
				if byName[l] == nil {
					byName[l] = &licenseEntry{status: report.NotAffected + 1}
				}
				byName[l].add(p, reported)
			}
		}
	}
	return sortedLicenses(byName)
}

// declared returns the licenses of a package, or a list with one empty text if it declares none.
func declared(p *evidence.Package) []string {
	if len(p.Licenses) == 0 {
		return []string{""}
	}
	return slices.Compact(slices.Sorted(slices.Values(p.Licenses)))
}

type licenseEntry struct {
	packages []string
	status   report.Status
}

func (e *licenseEntry) add(p *evidence.Package, reported map[string]report.Status) {
	e.packages = append(e.packages, strings.TrimSpace(name(p.Name)+" "+name(p.Version)))
	if s, ok := reported[packageKey(p)]; ok {
		e.status = min(e.status, s)
	}
}

func sortedLicenses(byName map[string]*licenseEntry) list[license] {
	names := make([]string, 0, len(byName))
	for l := range byName {
		names = append(names, l)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := byName[a], byName[b]
		return cmp.Or(cmp.Compare(x.status, y.status), cmp.Compare(len(y.packages), len(x.packages)), strings.Compare(a, b))
	})
	all := bounded(names, maxList)
	rows := list[license]{More: all.More}
	for _, l := range all.Rows {
		e := byName[l]
		row := license{Name: cmp.Or(prose(l), "none declared"), Count: len(e.packages), Packages: bounded(e.packages, maxList)}
		if e.status <= report.NotAffected {
			row.Status = e.status.String()
		}
		rows.Rows = append(rows.Rows, row)
	}
	return rows
}

// exceptionRow is an exception in use, or one that has expired.
type exceptionRow struct {
	For, Limits, Reason, Owner, Ticket, TicketURL, Position string
	Expires                                                 time.Time
	Left                                                    string
	Expired                                                 bool
	// Covers is the number of items that the exception covers or, if it has expired, used to cover.
	Covers int
}

func exceptionKey(e *policy.Exception) string { return e.Position.String() + "\x00" + e.ID + e.Rule }

// newExceptions lists the exceptions in use and those that have expired but would cover something.
func newExceptions(r report.Report, items []report.Item) list[exceptionRow] {
	var rows []*exceptionRow
	index := map[string]*exceptionRow{}
	add := func(e *policy.Exception, expired bool) {
		key := exceptionKey(e)
		if index[key] == nil {
			index[key] = newExceptionRow(e, runTime(r), expired)
			rows = append(rows, index[key])
		}
		index[key].Covers++
	}
	for i := range items {
		if items[i].Exception != nil {
			add(items[i].Exception, false)
		}
		for n := range items[i].Expired {
			add(&items[i].Expired[n], true)
		}
	}
	slices.SortStableFunc(rows, func(a, b *exceptionRow) int { return a.Expires.Compare(b.Expires) })
	all := bounded(rows, maxList)
	out := list[exceptionRow]{More: all.More}
	for _, row := range all.Rows {
		out.Rows = append(out.Rows, *row)
	}
	return out
}

func newExceptionRow(e *policy.Exception, now time.Time, expired bool) *exceptionRow {
	row := &exceptionRow{
		For: name(cmp.Or(e.ID, e.Rule)), Reason: prose(e.Reason), Owner: name(e.Owner), Ticket: name(e.Ticket), TicketURL: link(e.Ticket),
		Position: place(e.Position), Expires: e.Expires, Left: distance(now, e.Expires), Expired: expired,
	}
	var limits []string
	for _, limit := range []struct{ what, value string }{{"package", e.Package}, {"path", e.Path}, {"image", e.Image}} {
		if limit.value != "" {
			limits = append(limits, limit.what+" "+name(limit.value))
		}
	}
	row.Limits = strings.Join(limits, ", ")
	return row
}

// vexRow is one VEX statement that applies to the image.
type vexRow struct {
	ID, Products, Status, Justification, Impact, Source, Document string
	Dated                                                         string
	// Removes is the number of items that the statement removes.
	Removes int
}

// newVEX lists the VEX statements. The ones that remove items come before the ones without effect.
func newVEX(r report.Report, items []report.Item) list[vexRow] {
	key := func(s *evidence.VEXStatement) string {
		return strings.Join(append([]string{s.ID, s.Document, s.Author, string(s.Status), s.Justification}, s.Products...), "\x00")
	}
	var rows []*vexRow
	index := map[string]*vexRow{}
	add := func(s *evidence.VEXStatement) *vexRow {
		row := index[key(s)]
		if row == nil {
			row = newVEXRow(s)
			index[key(s)] = row
			rows = append(rows, row)
		}
		return row
	}
	for i := range items {
		if items[i].Statement != nil {
			add(items[i].Statement).Removes++
		}
	}
	for i := range r.Input.VEX {
		add(&r.Input.VEX[i])
	}
	all := bounded(rows, maxList)
	out := list[vexRow]{More: all.More}
	for _, row := range all.Rows {
		out.Rows = append(out.Rows, *row)
	}
	return out
}

func newVEXRow(s *evidence.VEXStatement) *vexRow {
	row := &vexRow{ID: name(s.ID), Status: name(string(s.Status)), Justification: name(s.Justification), Impact: prose(s.Impact),
		Source: statementSource(s), Document: name(s.Document), Products: names(append(slices.Clone(s.Products), s.Subcomponents...))}
	if !s.Timestamp.IsZero() {
		row.Dated = date(s.Timestamp)
	}
	return row
}

// names joins the first few names, and counts the rest.
func names(all []string) string {
	const few = 3
	var out []string
	for _, s := range all[:min(len(all), few)] {
		out = append(out, name(s))
	}
	if more := len(all) - few; more > 0 {
		out = append(out, "and "+thousands(more)+" more")
	}
	return strings.Join(out, ", ")
}
