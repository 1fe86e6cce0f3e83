package html

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// These are the limits of the tables outside the findings list. The page says how many entries are
// left out.
const (
	maxRows  = 1000 // rows of the table of what blocks, for a browser without scripts
	maxList  = 200  // rows of other tables
	maxNames = 12   // names in one paragraph
)

// page has everything that the templates read. All texts in it have passed through visible.
type page struct {
	// Look selects the colors and the icon: denied, passed, overridden, signed or failed.
	Look      string
	Word, Why string
	Image     image
	Facts     []fact
	// Tiles are the counts by status. They are nil without a decision.
	Tiles    []tile
	Failure  *failure
	Override *override
	Cautions []string
	// Holds says until when the verdict holds. It is empty if the verdict has no end.
	Holds    string
	Actions  actions
	Blocking blockingTable
	Timeline list[event]
	Changes  *changes
	Licenses list[license]
	Excepted list[exceptionRow]
	VEX      list[vexRow]
	Evidence identities
	Gaps     gaps
	// Evaluated reports whether this run made a decision.
	Evaluated bool

	data *data
}

// image identifies the image.
type image struct{ Reference, Digest string }

// fact is a named value in the facts about the run.
type fact struct{ Name, Value, Note string }

// tile is the box with the number of items of one status.
type tile struct {
	Status, Label string
	Count         int
}

// failure describes the error of a failed run on the page.
type failure struct {
	Class     string
	Lines     []string
	Retryable bool
	Partial   bool
}

// override describes the override that let a denied image through.
type override struct {
	Reason, Approver string
	Granted, Expires time.Time
	Left             string
	// Covers is the number of violations that the page does not list, because an earlier run made
	// the decision.
	Covers int
}

// list is a table that is cut after a maximum number of rows.
type list[T any] struct {
	Rows []T
	More int
}

// bounded returns a list with at most limit rows, which also knows how many are left out.
func bounded[T any](rows []T, limit int) list[T] {
	n := min(len(rows), limit)
	return list[T]{Rows: rows[:n], More: len(rows) - n}
}

// blockingTable lists the blocking items, for a browser without scripts.
type blockingTable = list[*dataItem]

// newPage returns the content of the page.
func newPage(r report.Report) *page {
	items := r.Items()
	slices.SortStableFunc(items, byUrgency)
	v := r.Verdict()
	p := &page{
		Look: look(v.Outcome), Word: v.Word, Why: v.Why, Image: image{name(r.Input.Image.Reference), name(r.Input.Image.Digest)},
		Facts: facts(r), Failure: newFailure(r.Error), Override: newOverride(r), Evaluated: r.Decision != nil, Holds: holds(r, v),
	}
	if p.Image.Reference == "" {
		p.Image.Reference = "(no image)"
	}
	if p.Evaluated {
		p.Tiles = []tile{
			{"blocking", "Blocking", v.Counts.Blocking}, {"warning", "Warnings", v.Counts.Warnings},
			{"excepted", "Excepted", v.Counts.Excepted}, {"notAffected", "Not affected", v.Counts.NotAffected},
		}
	}
	for _, c := range r.AllCautions() {
		p.Cautions = append(p.Cautions, prose(c))
	}
	todo := remedies(r)
	p.data = newData(r, items, todo)
	var rows []*dataItem
	for _, i := range p.data.Items {
		if i.Status == int(report.Blocking) {
			rows = append(rows, i)
		}
	}
	p.Blocking = bounded(rows, maxRows)
	p.Actions = newActions(r, v.Outcome, todo)
	p.Timeline = newTimeline(r, v, items, p.data)
	if p.Actions.Say == nothingToDo {
		p.Actions.Say += later(p.Timeline.Rows)
	}
	p.Changes = newChanges(r, p.data)
	p.Licenses = newLicenses(r, items)
	p.Excepted = newExceptions(r, items)
	p.VEX = newVEX(r, items)
	p.Evidence = newIdentities(r)
	p.Gaps = newGaps(r)
	return p
}

// look returns the colors and icon for an outcome. A failure never looks like a denial or a pass.
func look(o report.Outcome) string {
	switch o {
	case report.Denied:
		return "denied"
	case report.Passed, report.PassedEarlier:
		return "passed"
	case report.Overridden:
		return "overridden"
	case report.SignatureOnly:
		return "signed"
	}
	return "failed"
}

// icon is the page's icon in the browser tab: a color without "#", and an SVG path in a square of
// 32 units.
type icon struct{ Color, Path string }

// icons differ in form as well as in color.
var icons = map[string]icon{
	"denied":     {"b3261e", "M10 22 22 10M10 10l12 12"},
	"passed":     {"137a4b", "m9 16.5 5 5 9-10.5"},
	"overridden": {"9a5b00", "M16 8v10M16 22.5v.5"},
	"signed":     {"2b5fa8", "M9 20c4-8 6-8 6-3s2 4 8-2"},
	"failed":     {"596273", "M10 16h12"},
}

// Icon returns the icon of the page.
func (p *page) Icon() icon { return icons[p.Look] }

// SecurityPolicy returns the content security policy of the page.
func (p *page) SecurityPolicy() string { return securityPolicy() }

// Package returns the package that a row refers to by index, or nil.
func (p *page) Package(i *dataItem) *dataPackage {
	if i.Package < 0 {
		return nil
	}
	return &p.data.Packages[i.Package]
}

// RuleOf returns the rule that a row refers to by index, or "".
func (p *page) RuleOf(i *dataItem) string {
	if i.Rule < 0 {
		return ""
	}
	return p.data.Rules[i.Rule]
}

// SeverityOf returns the severity of a row, or its kind if it is not a finding.
func (p *page) SeverityOf(i *dataItem) string {
	if i.Severity < 0 {
		return i.Kind
	}
	return evidence.Severity(i.Severity).String()
}

// Nothing returns the reason why the findings list is empty, or "" if it has findings.
func (p *page) Nothing() string {
	switch {
	case len(p.data.Items) > 0:
		return ""
	case p.Evaluated:
		return "There are no findings: nothing in the image matches an advisory or a rule."
	case p.Look == "failed":
		return "The image was not evaluated, so nothing is known about its findings."
	case p.Look == "signed":
		return "This run verified only a signature. It read no decision, so nothing is known about findings."
	}
	return "This run read an earlier signed decision. It did not evaluate the image again, so it has no findings."
}

// Shows reports whether the page has the section. After a run without a decision, the page has only
// the sections changes, licenses and gaps, if they are not empty.
func (p *page) Shows(section string) bool {
	switch section {
	case "changes":
		return p.Evaluated || p.Changes != nil
	case "licenses":
		return p.Evaluated || len(p.Licenses.Rows) > 0
	case "gaps":
		return p.Evaluated || !p.Gaps.None()
	}
	return p.Evaluated
}

// runTime returns the time that the page counts ages from: the end of the run.
func runTime(r report.Report) time.Time {
	if r.Finished.IsZero() {
		return r.Started
	}
	return r.Finished
}

// facts returns the named facts about the run.
func facts(r report.Report) []fact {
	now := runTime(r)
	var all []fact
	add := func(title, value, note string) {
		if value != "" {
			all = append(all, fact{title, value, note})
		}
	}
	switch {
	case !r.At.IsZero():
		add("Evaluated as of", instant(r.At), distance(now, r.At)+", with today's database; nothing is promoted")
	case !r.EvaluatedAt.IsZero():
		add("Evaluated", instant(r.EvaluatedAt), "")
	case !now.IsZero():
		add("Run ended", instant(now), "")
	}
	db := r.Input.Database
	switch {
	case !db.Built.IsZero():
		add("Database", "built "+distance(now, db.Built), instant(db.Built))
	case db.Digest != "":
		add("Database", "build date unknown", "")
	}
	if r.Policy.Digest != "" {
		add("Policy", name(r.Policy.File), digest(r.Policy.Digest))
	}
	var platforms, packages []string
	for _, p := range r.Input.Platforms {
		platforms = append(platforms, name(p.Platform))
		packages = append(packages, plural(len(p.Packages), "package"))
	}
	if len(platforms) > maxNames {
		platforms, packages = append(platforms[:maxNames], "…"), packages[:maxNames]
	}
	note := ""
	if r.Decision != nil { // in the order of the platforms, because the text has one count for each
		note = strings.Join(packages, ", ")
	}
	add(strings.TrimPrefix(plural(len(platforms), "Platform"), thousands(len(platforms))+" "), strings.Join(platforms, ", "), note)
	add("Made by", strings.TrimSpace(name(r.Tool.Name)+" "+name(r.Tool.Version)), name(r.Command))
	return all
}

// holds says until when the verdict holds. If that is unknown, it names the known limits instead.
func holds(r report.Report, v report.Verdict) string {
	now := runTime(r)
	switch v.Outcome {
	case report.Passed:
		switch {
		case r.Decision.TimeDependent:
			return "A rule reads the clock: evaluate the image again before each use."
		case v.Until.IsZero():
			return "Holds without a limit under this policy and database."
		}
		return "Holds until " + instant(v.Until) + ", " + distance(now, v.Until) + ". Evaluate the image again after that."
	case report.Denied:
		if len(r.Destinations) == 0 {
			return "Nothing was written to the approved registry."
		}
	case report.Undecided:
		if len(r.Destinations) > 0 {
			return "Some tags were written before the failure: see Evidence."
		}
		return "This is neither a denial nor a pass. Nothing is known about the image."
	case report.Unfinished:
		if r.Denies() {
			return "The image does not satisfy the policy. The run did not end as it should."
		}
		return "The image satisfies the policy, but the promotion is not complete."
	}
	return ""
}

func newFailure(e *report.Error) *failure {
	if e == nil {
		return nil
	}
	f := &failure{Class: name(string(e.Class)), Retryable: e.Retryable, Partial: e.Partial}
	for line := range strings.Lines(e.Message) {
		if len(f.Lines) == 50 {
			f.Lines = append(f.Lines, "…")
			break
		}
		if line = strings.TrimSpace(line); line != "" {
			f.Lines = append(f.Lines, prose(line))
		}
	}
	return f
}

func newOverride(r report.Report) *override {
	o := r.Override
	if o == nil {
		return nil
	}
	out := &override{Reason: prose(o.Reason), Approver: name(o.Approver), Granted: o.Granted, Expires: o.Expires, Left: distance(runTime(r), o.Expires)}
	if r.Decision == nil {
		out.Covers = len(report.Covered(o))
	}
	return out
}

// components returns the versions of the libraries that the result depends on, sorted by name.
func components(r report.Report) []string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(r.Tool.Components)) {
		all = append(all, name(key)+" "+name(r.Tool.Components[key]))
	}
	return all
}
