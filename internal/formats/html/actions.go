package html

import (
	"strings"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// actions is the section of the page that says what to do.
type actions struct {
	// Groups are the remedies, grouped by who has to carry them out.
	Groups []actionGroup
	// Say is a sentence, and Command a command, for a run that has no remedies. Either can be
	// empty.
	Say, Command string
}

// actionGroup holds the remedies for one part of the image. Remedies for causes come first.
type actionGroup struct {
	Title, Note string
	Problems    int
	Count       string
	Actions     list[action]
	// Script has all commands of the group, one a line, if there are several.
	Script string
}

// action is one remedy.
type action struct {
	Do string
	// Copy is the text to paste. It is empty if Do is a sentence.
	Copy string
	// Summary counts the problems that the remedy solves by severity, as in "2 critical, 1 high".
	Summary    string
	About      list[about]
	Exceptions []string
}

// about names a problem that a remedy solves.
type about struct{ Text, Key, Severity string }

// These are the groups of remedies, in the order of the page.
const (
	groupCauses = iota
	groupBase
	groupOwn
	groupPackages
	groupRest
)

var groupTitles = [...]actionGroup{
	groupCauses:   {Title: "Causes", Note: "These make the other results unreliable. Correct them first."},
	groupBase:     {Title: "Base image", Note: "Upgrade these packages, or build on a newer base image."},
	groupOwn:      {Title: "Own layers", Note: "Your build adds these packages."},
	groupPackages: {Title: "Packages", Note: "The image does not show which layers come from a base image."},
	groupRest:     {Title: "Image and policy", Note: "These concern how the image is built, its licenses or the policy."},
}

const nothingToDo = "Nothing has to be done now."

// later returns the first day when something begins to block, or "" if there is none.
func later(timeline []event) string {
	for _, e := range timeline {
		if e.Look == "blocks" {
			return " From " + date(e.At) + " on, the image can be denied: see the timeline."
		}
	}
	return ""
}

// maxActions limits the remedies that the page lists in one group. The details of each finding also
// have its remedy.
const maxActions = 40

// newActions returns the remedies for a denial. For another outcome, it returns a sentence about
// what to do next.
func newActions(r report.Report, outcome report.Outcome, remedies []report.Remedy) actions {
	switch {
	case outcome.IsFailure() && !r.Denies():
		return failureActions(r)
	case outcome == report.SignatureOnly:
		return actions{Say: "A signature alone is not a pass. To check the decision as well, verify without --signature-only."}
	case len(remedies) == 0:
		return actions{Say: nothingToDo}
	}
	b := newBuilder(r)
	groups := groupTitles
	var solved [len(groupTitles)][]action
	for _, remedy := range remedies {
		items := remedied(r, remedy)
		if len(items) == 0 {
			continue
		}
		n := b.group(&items[0])
		solved[n] = append(solved[n], newAction(r, remedy, items))
		groups[n].Problems += len(items)
	}
	var out actions
	for n, g := range groups {
		if len(solved[n]) == 0 {
			continue
		}
		g.Actions = bounded(solved[n], maxActions)
		if n == groupBase || n == groupOwn || n == groupPackages {
			g.Script = commands(solved[n])
		}
		g.Count = plural(g.Problems, "problem")
		out.Groups = append(out.Groups, g)
	}
	return out
}

// group returns the index of the group that an item's remedy belongs to.
func (b *builder) group(i *report.Item) int {
	if i.Finding == nil {
		switch i.Kind {
		case policy.KindEvidence, policy.KindScope, policy.KindDatabase, policy.KindDistribution, policy.KindCoverage, policy.KindSBOM:
			return groupCauses
		}
		return groupRest
	}
	switch origin, _ := b.origin(i.Platform, i.Finding.Package.Found); origin {
	case "base":
		return groupBase
	case "own":
		return groupOwn
	}
	return groupPackages
}

// failureActions returns what to do after a failed run.
func failureActions(r report.Report) actions {
	switch {
	case r.Error == nil:
		return actions{Say: "The report has neither a decision nor an error: treat the image as denied, and run the command again."}
	case r.Error.Class == report.ClassDatabase:
		return actions{Say: "Update the vulnerability database, then run the command again.", Command: "imagegate db update"}
	case r.Error.Retryable:
		return actions{Say: "Run the same command again: the failure can be temporary."}
	}
	return actions{Say: "Correct the cause that the error names, then run the command again."}
}

// remedies returns the remedies in the report, or computes them if the report has none.
func remedies(r report.Report) []report.Remedy {
	if r.Remedies != nil {
		return r.Remedies
	}
	return report.Remedies(r)
}

// remedied returns the items that a remedy solves. Indexes outside the decision are ignored.
func remedied(r report.Report, remedy report.Remedy) []report.Item {
	var d policy.Decision
	for _, n := range remedy.Violations {
		if n >= 0 && n < len(r.Decision.Violations) {
			d.Violations = append(d.Violations, r.Decision.Violations[n])
		}
	}
	return report.Report{Decision: &d}.Items()
}

func newAction(r report.Report, remedy report.Remedy, items []report.Item) action {
	a := action{Do: prose(remedy.Do), Summary: summary(items)}
	if remedy.Paste && a.Do == remedy.Do {
		a.Copy = remedy.Do
	}
	for _, e := range remedy.Exceptions {
		if text := visible(e, maxProse); len(text) < maxProse {
			a.Exceptions = append(a.Exceptions, text)
		}
	}
	var names []about
	for i := range items {
		one := about{Text: prose(items[i].Message), Key: items[i].Fingerprint(r.Input.Image.Repository)[:16]}
		if f := items[i].Finding; f != nil {
			one.Text, one.Severity = name(f.ID), f.Severity.String()
		}
		names = append(names, one)
	}
	a.About = bounded(names, maxNames)
	return a
}

// summary counts items by severity, the most severe first, and then the items that are not
// findings.
func summary(items []report.Item) string {
	var counts [evidence.SeverityCritical + 1]int
	others := 0
	for i := range items {
		if f := items[i].Finding; f == nil || int(f.Severity) >= len(counts) {
			others++
		} else {
			counts[f.Severity]++
		}
	}
	var parts []string
	for s := len(counts) - 1; s >= 0; s-- {
		if counts[s] > 0 {
			parts = append(parts, thousands(counts[s])+" "+evidence.Severity(s).String())
		}
	}
	if others > 0 {
		parts = append(parts, plural(others, "problem"))
	}
	return strings.Join(parts, ", ")
}

// commands joins the commands of several actions, one on each line. It returns "" for fewer than
// two commands.
func commands(all []action) string {
	var lines []string
	for _, a := range all {
		if a.Copy != "" {
			lines = append(lines, a.Copy)
		}
	}
	if len(lines) < 2 {
		return ""
	}
	return strings.Join(lines, "\n")
}
