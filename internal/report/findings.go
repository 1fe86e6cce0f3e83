package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// findings lists the findings of one package. Platforms that all findings share are named once.
func (t text) findings(g packageGroup, showFix bool) {
	shared := t.platformNote(g.issues[0])
	for _, i := range g.issues {
		if t.platformNote(i) != shared {
			shared = ""
		}
	}
	t.notes(4, shared)
	var rows []row
	for _, i := range g.issues {
		r := row{cells: findingCells(*i.Finding)}
		if showFix {
			r.cells = append(r.cells, cell{text: fixText(*i.Finding)})
		}
		r.cells = append(r.cells, t.noveltyCell(i), cell{text: ruleText(i.Violation)})
		if shared == "" {
			r.notes = append(r.notes, t.platformNote(i))
		}
		r.notes = append(r.notes, t.expired(i)...)
		rows = append(rows, r)
	}
	t.table(4, rows)
}

// platformNote names the platforms of an issue. It returns "" if the image has only one platform.
func (t text) platformNote(i Item) string {
	if len(t.Input.Platforms) < 2 || len(i.Platforms) == 0 {
		return ""
	}
	names := make([]string, len(i.Platforms))
	for at, p := range i.Platforms {
		names[at] = short(p)
	}
	return "on " + strings.Join(names, ", ")
}

// expired names the exceptions that used to cover an issue.
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

// typeAndPaths returns the type of a package, its first paths, and the number of further paths.
func typeAndPaths(g packageGroup) string {
	parts := []string{short(g.pkg.Type)}
	for _, path := range g.paths.list[:min(len(g.paths.list), maxPaths)] {
		parts = append(parts, short(path))
	}
	if more := len(g.paths.list) - maxPaths; more > 0 {
		parts = append(parts, fmt.Sprintf("and %s more", count(more, "path")))
	}
	return strings.Join(parts, ", ")
}

// differ reports whether the issues are fixed in different versions.
func differ(issues []Item) bool {
	for _, i := range issues[1:] {
		if fixVersions(*i.Finding) != fixVersions(*issues[0].Finding) {
			return true
		}
	}
	return false
}

// findingCells returns the first columns of every list of findings.
func findingCells(f evidence.Finding) []cell {
	id := short(f.ID)
	if !strings.HasPrefix(f.ID, "CVE-") {
		for _, alias := range f.Aliases {
			if strings.HasPrefix(alias, "CVE-") {
				id += " (" + short(alias) + ")"
				break
			}
		}
	}
	severity := cell{text: f.Severity.String()}
	switch f.Severity {
	case evidence.SeverityCritical, evidence.SeverityHigh, evidence.SeverityUnknown:
		severity.style = red
	case evidence.SeverityMedium:
		severity.style = yellow
	}
	kev := cell{style: red}
	if f.KEV != nil {
		kev.text = "KEV"
		if f.KEV.Ransomware {
			kev.text = "KEV, ransomware"
		}
	}
	probability := ""
	if f.EPSS != nil {
		probability = fmt.Sprintf("EPSS %.1f%%", 100*f.EPSS.Score)
	}
	return []cell{{text: id}, severity, kev, {text: probability}}
}

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
