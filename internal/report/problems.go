package report

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy/evidence"
)

// problems lists everything that blocks: causes first, then findings with a fix by owner, findings
// without a fix, and all other problems.
func (t text) problems() {
	fixable, unfixable, others := splitByFix(t.blocking)
	var first, last []Item
	for _, i := range others {
		if slices.Contains(causes, i.Kind) {
			first = append(first, i)
		} else {
			last = append(last, i)
		}
	}
	t.others("FIX FIRST", ": the other results depend on it", first)
	byOwner := t.layers.byOwner(fixable)
	for _, o := range owners {
		t.fixable(o, byOwner[o])
	}
	t.unfixable(unfixable)
	t.others("OTHER", "", last)
	t.howToExcept()
}

// fixable lists the findings of one owner, with the fixed versions and the commands to run.
func (t text) fixable(o owner, found []Item) {
	if len(found) == 0 {
		return
	}
	t.Heading(layout.Bold, t.layers.title(o, found), inPackages(found))
	all := batches(found)
	var hidden []Item
	for i := range all {
		b := &all[i]
		if !t.details && i >= maxBatches-1 && len(all) > maxBatches {
			hidden = append(hidden, b.issues()...)
			continue
		}
		indent := 2
		if !isSystem(b.typ) || len(all) > 1 {
			t.Item(2, b.title())
			indent = 4
		}
		t.batch(indent, b)
	}
	t.hidden(2, hidden, units.Count(len(all)-maxBatches+1, "other place"))
	if o == ownerBase {
		t.Item(2, "or: build on a newer base image with \"docker build --pull .\"")
	}
}

// inPackages counts problems: "13 problems in 9 packages".
func inPackages(found []Item) string {
	packages := map[string]bool{}
	for i := range found {
		packages[packageKey(found[i].Finding.Package)] = true
	}
	return units.Count(len(found), "problem") + " in " + units.Count(len(packages), "package")
}

// batch writes the packages that one command upgrades, followed by the command.
func (t text) batch(indent int, b *batch) {
	rows := b.sources
	var hidden []Item
	if !t.details && len(rows) > maxSources {
		for _, s := range rows[maxSources-1:] {
			hidden = append(hidden, s.issues...)
		}
		rows = rows[:maxSources-1]
	}
	t.sources(indent, rows)
	t.hidden(indent, hidden, "")
	for i := range b.sources {
		if s := &b.sources[i]; remedy.IsStdlib(s.pkg) && s.target != "" {
			t.Item(indent, "do: "+s.goRelease(t.idsCell(s).Text))
		}
	}
	for _, do := range b.upgradeAll() {
		t.remedy(indent, "do: ", do)
	}
}

// hidden writes how many findings a shortened list leaves out.
func (t text) hidden(indent int, found []Item, places string) {
	if len(found) == 0 {
		return
	}
	packages := strings.TrimPrefix(inPackages(found), units.Count(len(found), "problem"))
	if places != "" {
		packages += " in " + places
	}
	t.more(indent, units.Count(len(found), "more problem")+packages+": "+severities(found))
}

// sources writes one line for each package. The line of the Go standard library is already an
// instruction.
func (t text) sources(indent int, all []source) {
	var rows []layout.Row
	for i := range all {
		s := &all[i]
		if t.details {
			t.Table(indent, []layout.Row{t.sourceRow(s)})
			if paths := s.paths(); len(paths) > 1 {
				t.Item(indent+2, "in "+strings.Join(paths, ", "))
			}
			t.findings(indent+2, s)
			continue
		}
		if !remedy.IsStdlib(s.pkg) || s.target == "" {
			rows = append(rows, t.sourceRow(s))
		}
	}
	t.Table(indent, rows)
}

// sourceRow returns the line of one package: its name, the versions, the severities of its
// findings, and the worst finding. With --details, a list of the findings follows.
func (t text) sourceRow(s *source) layout.Row {
	to := "no single version is known to fix all"
	if s.target != "" {
		to = s.upgradeTo()
	}
	severity := layout.Cell{Text: severities(s.issues), Style: severityStyle(s.issues[0].Finding.Severity)}
	r := layout.Row{Cells: []layout.Cell{{Text: s.title()}, {Text: short(s.pkg.Version) + " -> " + to}, severity}, Notes: []string{t.platformNote(s.issues)}}
	if t.details {
		return r
	}
	r.Cells = append(r.Cells, t.idsCell(s), t.noveltyCell(s.issues))
	for i := range s.issues {
		r.Notes = append(r.Notes, t.expired(s.issues[i])...)
	}
	return r
}

// idsCell returns the id of a package's worst finding, and the number of its other vulnerabilities.
func (t text) idsCell(s *source) layout.Cell {
	var ids orderedSet
	c := layout.Cell{}
	for i := range s.issues {
		ids.add(s.issues[i].Finding.ID)
		if s.issues[i].Finding.KEV != nil {
			c = layout.Cell{Text: "KEV ", Style: layout.Red}
		}
	}
	if len(ids.list) == 0 {
		return c
	}
	c.Text += knownAs(*s.issues[0].Finding)
	if more := len(ids.list) - 1; more > 0 {
		c.Text += fmt.Sprintf(" +%d", more)
	}
	return c
}

// unfixable lists findings without a fixed version, each with a link and an exception to paste.
func (t text) unfixable(found []Item) {
	if len(found) == 0 {
		return
	}
	t.Heading(layout.Bold, "NO FIX", inPackages(found))
	slices.SortStableFunc(found, bySeverity)
	for at := range found {
		if !t.details && at == maxUnfixable && len(found) > maxUnfixable+1 {
			t.more(2, fmt.Sprintf("%d more without a fix: %s", len(found)-at, severities(found[at:])))
			break
		}
		one := &found[at]
		f := one.Finding
		r := layout.Row{Cells: append([]layout.Cell{{Text: nameVersion(f.Package)}}, findingCells(*f)...), Notes: []string{link(f), t.platformNote([]Item{*one})}}
		r.Cells = append(r.Cells, layout.Cell{Text: fixText(*f)}, layout.Cell{Text: t.ownerNote(one)}, t.noveltyCell([]Item{*one}), t.ruleCell(one))
		r.Notes = append(r.Notes, t.expired(*one)...)
		t.Table(2, []layout.Row{r})
		t.except(4, t.remedies.Exception(&one.Violation))
	}
	t.Item(2, "do: remove the package, if the image does not need it")
}

// ownerNote says who has to handle a finding that has no fix.
func (t text) ownerNote(i *Item) string {
	switch t.layers.owner(i) {
	case ownerBase:
		return "base image"
	case ownerImage:
		return "your layers"
	}
	return ""
}

// others lists issues that are not findings, grouped by rule and remedy.
func (t text) others(title, why string, issues []Item) {
	if len(issues) == 0 {
		return
	}
	t.Heading(layout.Bold, title, units.Count(len(issues), "problem")+why)
	groups := byRemedy(t.remedies, issues)
	for at := range groups {
		if !t.details && at == maxBatches-1 && len(groups) > maxBatches {
			more := 0
			for _, g := range groups[at:] {
				more += len(g.issues)
			}
			t.more(2, units.Count(more, "more problem"))
			return
		}
		t.remedyGroup(&groups[at])
	}
}

// remedyGroup writes a group of issues, with their common remedy.
func (t text) remedyGroup(g *remedyGroup) {
	isCut := !t.details && len(g.issues) > maxOthers+1
	for at, i := range g.issues {
		if isCut && at == maxOthers {
			t.more(2, units.Count(len(g.issues)-at, "more problem")+" of this rule")
			break
		}
		t.Item(2, message(i))
		t.Notes(4, t.platformNote([]Item{i}))
	}
	t.Item(4, g.rule)
	t.remedy(4, "do: ", g.do)
	for at, item := range g.exceptions.list {
		if isCut && at == maxOthers {
			break
		}
		t.except(4, item)
	}
}

// remedy writes an instruction. A line to paste is never wrapped.
func (t text) remedy(indent int, first string, do remedy.Instruction) {
	if do.Paste {
		t.Whole(indent, first+do.Text)
		return
	}
	t.Item(indent, first+do.Text)
}

func (t text) except(indent int, item string) {
	if item != "" {
		t.Whole(indent, "or: "+item)
	}
}

// howToExcept says where to add the suggested exceptions.
func (t text) howToExcept() {
	for i := range t.Decision.Violations {
		v := &t.Decision.Violations[i]
		if fixable := v.Finding != nil && isFixable(v.Finding); !fixable && t.remedies.Exception(v) != "" {
			list := "exceptions"
			if t.Policy.ExceptionsMaxLifetime > 0 {
				list = "exceptions.list"
			}
			t.Space()
			t.Item(0, "To accept a problem, add its line that begins with \"- {\" to the list "+list+" in "+
				short(t.Policy.File)+", with your own reason and owner.")
			return
		}
	}
}

// more writes the line about the part that a shortened list leaves out.
func (t text) more(indent int, what string) {
	t.Item(indent, "and "+what+" (--details)")
}

var (
	cvePattern  = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,}$`)
	ghsaPattern = regexp.MustCompile(`^GHSA(-[0-9a-z]{4}){3}$`)
	goPattern   = regexp.MustCompile(`^GO-[0-9]{4}-[0-9]{4,}$`)
)

// link returns the page of the advisory, or "" if none is known.
func link(f *evidence.Finding) string {
	switch {
	case strings.HasPrefix(f.URL, "https://"):
		return short(f.URL)
	case cvePattern.MatchString(f.ID):
		return "https://nvd.nist.gov/vuln/detail/" + f.ID
	case ghsaPattern.MatchString(f.ID):
		return "https://github.com/advisories/" + f.ID
	case goPattern.MatchString(f.ID):
		return "https://pkg.go.dev/vuln/" + f.ID
	}
	return ""
}

// knownAs returns the CVE id of a finding. If it has none, knownAs returns the finding's own id.
func knownAs(f evidence.Finding) string {
	return short(cmp.Or(cveOf(f), f.ID))
}
