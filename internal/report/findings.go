package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/policy/evidence"
)

// findings lists the findings of one package. If all findings have the same platforms, these are
// named once, before the list.
func (t text) findings(indent int, s *source) {
	shared := t.platformNote(s.issues)
	var rows []layout.Row
	for i := range s.issues {
		one := &s.issues[i]
		r := layout.Row{Cells: findingCells(*one.Finding)}
		if len(s.names.list) > 1 {
			r.Cells = append(r.Cells, layout.Cell{Text: short(one.Finding.Package.Name)})
		}
		r.Cells = append(r.Cells, layout.Cell{Text: fixText(*one.Finding)}, t.noveltyCell(s.issues[i:i+1]), t.ruleCell(one))
		if own := t.platformNote(s.issues[i : i+1]); own != shared {
			r.Notes = append(r.Notes, own)
		}
		r.Notes = append(r.Notes, t.expired(*one)...)
		rows = append(rows, r)
	}
	t.Table(indent, rows)
}

// ruleCell returns the name of the blocking rule. Without --details, the cell is empty.
func (t text) ruleCell(i *Item) layout.Cell {
	if !t.details {
		return layout.Cell{}
	}
	return layout.Cell{Text: ruleText(i.Violation)}
}

// platformNote names the platforms of some issues. It returns "" if the issues are on all platforms
// of the image.
func (t text) platformNote(issues []Item) string {
	var names orderedSet
	for i := range issues {
		for _, p := range issues[i].Platforms {
			names.add(short(p))
		}
	}
	if n := len(t.Input.Platforms); n < 2 || len(names.list) == 0 || len(names.list) == n {
		return ""
	}
	return "on " + strings.Join(names.list, ", ")
}

// expired returns a note about each expired exception that used to cover an issue.
func (t text) expired(i Item) []string {
	var out []string
	for _, e := range i.Expired {
		out = append(out, fmt.Sprintf("its exception (%s) expired %s%s: owner %s, reason: %s", positionText(e.Position),
			e.Expires.UTC().Format(time.DateOnly), t.age(e.Expires), short(e.Owner), short(e.Reason)))
	}
	return out
}

func message(i Item) string {
	if i.Message != "" {
		return Sanitize(i.Message)
	}
	return "violation of kind " + short(string(i.Kind))
}

func nameVersion(p evidence.Package) string { return short(p.Name) + " " + short(p.Version) }

// cveOf returns the CVE id of a finding, or "" if it has none.
func cveOf(f evidence.Finding) string {
	for _, id := range append([]string{f.ID}, f.Aliases...) {
		if strings.HasPrefix(id, "CVE-") {
			return id
		}
	}
	return ""
}

// findingCells returns the columns that every list of findings begins with.
func findingCells(f evidence.Finding) []layout.Cell {
	id := short(f.ID)
	if cve := cveOf(f); cve != "" && cve != f.ID {
		id += " (" + short(cve) + ")"
	}
	kev := layout.Cell{Style: layout.Red}
	if f.KEV != nil {
		kev.Text = "KEV"
		if f.KEV.Ransomware {
			kev.Text = "KEV, ransomware"
		}
	}
	probability := ""
	if f.EPSS != nil {
		probability = fmt.Sprintf("EPSS %.1f%%", 100*f.EPSS.Score)
	}
	return []layout.Cell{{Text: id}, {Text: f.Severity.String(), Style: severityStyle(f.Severity)}, kev, {Text: probability}}
}

func severityStyle(s evidence.Severity) layout.Style {
	switch s {
	case evidence.SeverityCritical, evidence.SeverityHigh, evidence.SeverityUnknown:
		return layout.Red
	case evidence.SeverityMedium:
		return layout.Yellow
	}
	return layout.Plain
}

// isFixable reports whether a fixed version is known.
func isFixable(f *evidence.Finding) bool { return fixVersions(*f) != "" }

// fixText returns the fix state of a finding, with the fixed version if it is known.
func fixText(f evidence.Finding) string {
	switch f.FixState {
	case evidence.FixAvailable:
		if versions := fixVersions(f); versions != "" {
			return "fixed in " + versions
		}
		return "fixed in an unknown version"
	case evidence.FixNone:
		return "not fixed"
	case evidence.FixWont:
		return "will not be fixed"
	}
	return "fix unknown"
}
