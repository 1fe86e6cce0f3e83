package github

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy"
)

// maxAnnotations is the number of errors that GitHub shows for one step. It drops the rest without a
// notice.
const maxAnnotations = 10

// Annotations returns workflow commands: an error for each blocking rule, on its line of the policy.
// If there are more rules than GitHub shows, the last annotation names the remaining ones. A failed
// run has one annotation with the reason.
func (s Step) Annotations() string {
	if s.Decision() == Error {
		return s.failure()
	}
	if s.Decision() != Denied {
		return ""
	}
	rules := blockingRules(s.Report.Items())
	var b strings.Builder
	for i, r := range rules {
		if i == maxAnnotations-1 && len(rules) > maxAnnotations {
			b.WriteString(remaining(rules[i:]))
			break
		}
		b.WriteString(command("error", append(s.place(r.position), property{"title", "imagegate: " + r.name}), r.message()))
	}
	if len(rules) == 0 {
		b.WriteString(command("error", []property{{"title", "imagegate: denied"}}, report.Sanitize(s.Report.Verdict().Why)))
	}
	return b.String()
}

// failure returns the annotation of a run without a usable decision.
func (s Step) failure() string {
	verdict := s.Report.Verdict()
	text := verdict.Why
	if !verdict.Outcome.IsFailure() {
		text = fmt.Sprintf("the report says %s, but the exit code is %d", verdict.Word, s.ExitCode)
	}
	return command("error", []property{{"title", "imagegate: no decision"}}, report.Sanitize(text))
}

// rule is a rule of the policy with its blocking problems.
type rule struct {
	name     string
	position policy.Position
	items    []*report.Item
}

// blockingRules groups the blocking items by rule, in the order of the report.
func blockingRules(items []report.Item) []rule {
	var rules []rule
	index := map[string]int{}
	for i := range items {
		item := &items[i]
		if item.Status != report.Blocking {
			continue
		}
		key := fmt.Sprintf("%q %q", item.Rule, item.Position.String())
		at, ok := index[key]
		if !ok {
			at = len(rules)
			index[key] = at
			rules = append(rules, rule{name: brief(cmp.Or(item.Rule, string(item.Kind))), position: item.Position})
		}
		rules[at].items = append(rules[at].items, item)
	}
	return rules
}

// message describes the problems of a rule in one line.
func (r rule) message() string {
	const most = 5
	var names []string
	for i, item := range r.items {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(r.items)-most))
			break
		}
		name := brief(item.Message)
		if f := item.Finding; f != nil {
			name = fmt.Sprintf("%s in %s %s", brief(f.ID), brief(f.Package.Name), brief(f.Package.Version))
		}
		names = append(names, name)
	}
	return units.Count(len(r.items), "problem") + ": " + strings.Join(names, "; ")
}

// remaining returns the annotation that names the rules without an annotation of their own.
func remaining(rules []rule) string {
	const most = 20
	var names []string
	for i, r := range rules {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(rules)-most))
			break
		}
		names = append(names, r.name)
	}
	return command("error", []property{{"title", "imagegate: " + units.Count(len(rules), "more rule")}}, strings.Join(names, "; "))
}

// place returns the properties with the file and the line of a rule. They are missing for a file
// outside the checkout, because GitHub resolves paths from its root.
func (s Step) place(at policy.Position) []property {
	file := at.File
	if file == "" {
		file = s.Report.Policy.File // of a rule without a line, such as a default
	}
	if file == "" || s.Workspace == "" {
		return nil
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(s.Dir, file)
	}
	relative, err := filepath.Rel(s.Workspace, file)
	if err != nil || !filepath.IsLocal(relative) || relative != report.Sanitize(relative) {
		return nil
	}
	properties := []property{{"file", filepath.ToSlash(relative)}}
	if at.Line > 0 {
		properties = append(properties, property{"line", strconv.Itoa(at.Line)})
	}
	return properties
}

// brief returns a short text on one line without control characters.
func brief(s string) string {
	const most = 200
	runes := []rune(report.Sanitize(s))
	if len(runes) > most {
		return string(runes[:most-3]) + "..."
	}
	return string(runes)
}
