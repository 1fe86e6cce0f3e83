package report

import (
	"fmt"
	"slices"
)

func (t text) violations() {
	fixable, unfixable, others := splitByFix(merge(t.Decision.Violations))
	var first, last []Item
	for _, i := range others {
		if slices.Contains(causes, i.Kind) {
			first = append(first, i)
		} else {
			last = append(last, i)
		}
	}
	t.others("Fix first", first)
	t.fixable(fixable)
	t.unfixable(unfixable)
	t.others("Other violations", last)
	t.howToExcept()
}

func (t text) fixable(found []Item) {
	if len(found) == 0 {
		return
	}
	t.section("Fixed by an upgrade: " + count(len(found), "finding"))
	for _, g := range byPackage(found) {
		t.blank()
		to := "-> " + g.target
		if g.target == "" {
			to = "to a version with all fixes below"
		}
		t.item(2, fmt.Sprintf("upgrade %s %s (%s)", nameVersion(g.pkg), to, typeAndPaths(g)))
		t.findings(g, g.target == "" || differ(g.issues))
		t.remedy(4, "do: ", t.remedies.do(&g.issues[0].Violation))
	}
}

func (t text) unfixable(found []Item) {
	if len(found) == 0 {
		return
	}
	t.section("No fixed version: " + count(len(found), "finding"))
	for _, g := range byPackage(found) {
		t.blank()
		t.item(2, fmt.Sprintf("%s (%s)", nameVersion(g.pkg), typeAndPaths(g)))
		t.findings(g, true)
		t.remedy(4, "do: ", t.remedies.do(&g.issues[0].Violation))
		for _, i := range g.issues {
			t.except(4, t.remedies.exception(&i.Violation))
		}
	}
}

func (t text) others(title string, issues []Item) {
	if len(issues) == 0 {
		return
	}
	t.section(fmt.Sprintf("%s: %d", title, len(issues)))
	for _, g := range t.remedies.byRemedy(issues) {
		t.blank()
		for _, i := range g.issues {
			t.item(2, message(i))
			t.notes(4, t.platformNote(i))
		}
		t.item(4, g.rule)
		t.remedy(4, "do: ", g.do)
		for _, item := range g.exceptions.list {
			t.except(4, item)
		}
	}
}

// remedy writes what to do. A line to paste is never wrapped.
func (t text) remedy(indent int, first string, do instruction) {
	if do.paste {
		t.whole(indent, first+do.text)
		return
	}
	t.item(indent, first+do.text)
}

func (t text) except(indent int, item string) {
	if item != "" {
		t.whole(indent, "or: "+item)
	}
}

// howToExcept says where to add the suggested exceptions.
func (t text) howToExcept() {
	for i := range t.Decision.Violations {
		v := &t.Decision.Violations[i]
		if fixable := v.Finding != nil && fixVersions(*v.Finding) != ""; !fixable && t.remedies.exception(v) != "" {
			list := "exceptions"
			if t.Policy.ExceptionsMaxLifetime > 0 {
				list = "exceptions.list"
			}
			t.blank()
			t.item(0, "To accept a violation, add its line that begins with \"- {\" to the list "+list+" in "+
				short(t.Policy.File)+", with your own reason and owner.")
			return
		}
	}
}
