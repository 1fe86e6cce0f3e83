package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// Text writes the report for people, with the default TextOptions.
func Text(w io.Writer, r Report) error { return TextOptions{}.Text(w, r) }

// TextOptions control the layout of the text report.
type TextOptions struct {
	// Color highlights the verdict and severities with ANSI sequences.
	Color bool
	// Width is the maximum line length in characters, as far as words and tables allow it. 0 means
	// 100. Values below 60 mean 60.
	Width int
}

// Text writes the report for people, in this order: the image, database and policy; the verdict;
// everything that blocks, with remedies; everything that does not block; the promoted tags.
// Violations are never cut. Other long lists are cut, and say how many items are missing.
func (o TextOptions) Text(w io.Writer, r Report) error {
	if o.Width == 0 {
		o.Width = defaultWidth
	}
	t := text{layout: newLayout(w, max(o.Width, 60), o.Color), Report: r, known: r.Input.Baseline.Lookup(), remedies: newRemedier(r)}
	t.provenance()
	t.verdict()
	t.override()
	if r.Decision != nil {
		t.violations()
		t.warnings()
		t.exceptions()
		t.notAffected()
		t.provenanceMatches()
		t.allowed()
	}
	t.gaps()
	t.destinations()
	t.attached()
	t.transfer()
	if err := t.flush(); err != nil {
		return fmt.Errorf("writing the text report: %w", err)
	}
	return nil
}

const defaultWidth = 100

// Maximum lengths of lists that do not block.
const (
	maxWarnings = 10
	maxAllowed  = 5
	maxGaps     = 3
	maxPaths    = 3

	maxOverridden = 100
)

// text writes one report.
type text struct {
	*layout
	Report
	// known reports whether the approved image has the finding too.
	known    func(platform string, f *policy.Finding) bool
	remedies *remedier
}

// field writes one line of the report's header.
func (t text) field(name, value string) {
	const column = 12
	first := name + strings.Repeat(" ", max(column-len(name), 1))
	t.paragraph(plain, first, strings.Repeat(" ", column), value)
}

func (t text) provenance() {
	made := []string{short(t.Tool.Name), short(t.Tool.Version)}
	if t.Command != "" {
		made = append(made, "("+short(t.Command)+")")
	}
	var components []string
	for _, name := range slices.Sorted(maps.Keys(t.Tool.Components)) {
		components = append(components, short(name)+" "+short(t.Tool.Components[name]))
	}
	if len(components) > 0 {
		made = append(made, "with "+strings.Join(components, ", "))
	}
	t.field("Made by", strings.Join(made, " "))
	if at := t.at(); !at.IsZero() {
		t.field("Made at", instant(at))
	}
	if !t.At.IsZero() {
		t.field("Judged as of", instant(t.At)+t.timeLeft(t.At)+", with a database as fresh as it is now: nothing is promoted by this")
	}
	t.field("Image", short(t.Input.Image.Reference))
	if t.Input.Image.Digest == "" {
		t.field("Digest", "not resolved")
	} else {
		t.field("Digest", short(t.Input.Image.Digest))
	}
	if t.MovedTo != "" {
		t.field("", "the reference names "+short(t.MovedTo)+" by now: somebody pushed meanwhile, and that was not judged")
	}
	name := "Platforms"
	for _, p := range t.Input.Platforms {
		line := short(p.Platform)
		if t.Decision != nil || t.Outcome() != Proven && t.Outcome() != Overridden { // else the image was not scanned
			line += fmt.Sprintf(", %s, %s", distribution(p.Distribution), count(len(p.Packages), "package"))
		}
		t.field(name, line)
		t.field("", short(p.Digest))
		name = ""
	}
	t.database()
	t.baseline()
	if t.Policy.Digest == "" {
		t.field("Policy", "none")
	} else {
		t.field("Policy", short(t.Policy.File)+" "+short(t.Policy.Digest))
		for _, f := range t.Policy.Files {
			t.field("", "with "+short(f.Name)+" "+short(f.Digest))
		}
	}
}

func distribution(d policy.Distribution) string {
	switch {
	case d.Name != "":
		return short(d.Name)
	case d.ID != "":
		return strings.TrimSpace(short(d.ID) + " " + sanitize(d.Version, maxName))
	}
	return "no known distribution"
}

func (t text) database() {
	db := t.Input.Database
	if db.Digest == "" && db.Built.IsZero() {
		t.field("Database", "none")
		return
	}
	built := "build date unknown"
	if !db.Built.IsZero() {
		built = "built " + instant(db.Built) + t.age(db.Built)
	}
	t.field("Database", built+", schema "+short(db.Schema))
	if db.Source != "" {
		t.field("", "from "+sanitize(db.Source, maxName))
	}
	t.field("", short(db.Digest))
	var oldest policy.Provider
	var undated []string
	for _, p := range db.Providers {
		switch {
		case p.Captured.IsZero():
			undated = append(undated, short(p.Name))
		case oldest.Captured.IsZero() || p.Captured.Before(oldest.Captured):
			oldest = p
		}
	}
	if !oldest.Captured.IsZero() {
		t.field("", fmt.Sprintf("oldest data: %s, captured %s%s", short(oldest.Name), instant(oldest.Captured), t.age(oldest.Captured)))
	}
	if len(undated) > 0 {
		t.field("", "data without a date: "+strings.Join(undated, ", "))
	}
	if counts := advisoryCounts(db.Advisories); counts != "" {
		t.field("", "advisories: "+counts)
	}
}

func (t text) verdict() {
	t.blank()
	switch t.Outcome() {
	case Undecided:
		t.paragraph(red, "", "", "COULD NOT DECIDE")
	case Denied:
		t.paragraph(red, "", "", deniedText(*t.Decision))
	case Overridden:
		t.paragraph(red, "", "", t.overriddenText())
	case Unfinished:
		t.paragraph(red, "", "", "PASSED, BUT NOT FINISHED: the image passed, and what was to follow failed")
	case Proven:
		t.paragraph(green, "", "", "PASSED EARLIER: a signed decision was found and verified; nothing was judged again")
	case Signed:
		t.paragraph(plain, "", "", "SIGNED: a trusted signature was found and verified; whether the image passed was not asked")
	case Passed:
		t.paragraph(green, "", "", passedText(*t.Decision))
		if until := t.Decision.Until; !until.IsZero() {
			t.item(2, "until "+instant(until)+t.timeLeft(until)+": then the image must be judged again")
		}
	}
	t.compared()
	if few := fewAdvisories(t.Input.Database.Advisories); few != "" {
		t.paragraph(yellow, "  ", "    ", "caution: the database has few advisories for this image, so that few findings mean little: "+few)
	}
	for _, c := range t.Cautions {
		t.paragraph(yellow, "  ", "    ", "caution: "+Sanitize(c))
	}
	if t.Error != nil {
		t.paragraph(plain, "  ", "    ", short(string(t.Error.Class))+" error")
		for _, line := range lines(t.Error.Message) {
			t.item(4, line)
		}
	} else if t.Outcome() == Undecided {
		t.item(2, "the report states no decision and no error: take it for a denial")
	}
}

func deniedText(d policy.Decision) string {
	n := len(d.Violations)
	if n == 0 {
		return "DENIED: 0 violations, and nothing says that the image passed"
	}
	return "DENIED: " + count(n, "violation") + distinct(n, len(merge(d.Violations)))
}

// distinct explains why a list is shorter than its count.
func distinct(n, shown int) string {
	if shown == n {
		return ""
	}
	return fmt.Sprintf(", %d of them distinct", shown)
}

func passedText(d policy.Decision) string {
	parts := []string{"no violations"}
	if unmatched := graveUnmatched(d); unmatched != "" {
		parts = append(parts, unmatched)
	}
	if n := len(d.Warnings); n > 0 {
		parts = append(parts, count(n, "warning"))
	}
	if len(d.Excepted) > 0 {
		parts = append(parts, exceptedText(d.Excepted))
	}
	return "PASSED: " + strings.Join(parts, ", ")
}

func exceptedText(excepted []policy.Excepted) string {
	noun := "finding"
	if slices.ContainsFunc(excepted, func(e policy.Excepted) bool { return e.Finding == nil }) {
		noun = "violation"
	}
	return count(len(excepted), noun) + " excepted"
}

func (t text) violations() {
	fixable, unfixable, others := split(merge(t.Decision.Violations))
	var first, last []issue
	for _, i := range others {
		if slices.Contains(causes, i.Kind) {
			first = append(first, i)
		} else {
			last = append(last, i)
		}
	}
	t.others("To mend first", first)
	t.fixable(fixable)
	t.unfixable(unfixable)
	t.others("Other violations", last)
	t.howToExcept()
}

func (t text) fixable(found []issue) {
	if len(found) == 0 {
		return
	}
	t.section("Repaired by an upgrade: " + count(len(found), "finding"))
	for _, g := range byPackage(found) {
		t.blank()
		to := "-> " + g.target
		if g.target == "" {
			to = "to a version that has every fix below"
		}
		t.item(2, fmt.Sprintf("upgrade %s %s (%s)", nameVersion(g.pkg), to, typeAndPaths(g)))
		t.findings(g, g.target == "" || differ(g.issues))
		t.instruct(4, "do: ", t.remedies.do(&g.issues[0].Violation))
	}
}

func (t text) unfixable(found []issue) {
	if len(found) == 0 {
		return
	}
	t.section("Without a repaired version: " + count(len(found), "finding"))
	for _, g := range byPackage(found) {
		t.blank()
		t.item(2, fmt.Sprintf("%s (%s)", nameVersion(g.pkg), typeAndPaths(g)))
		t.findings(g, true)
		t.instruct(4, "do: ", t.remedies.do(&g.issues[0].Violation))
		for _, i := range g.issues {
			t.except(4, t.remedies.exception(&i.Violation))
		}
	}
}

func (t text) others(title string, issues []issue) {
	if len(issues) == 0 {
		return
	}
	t.section(fmt.Sprintf("%s: %d", title, len(issues)))
	for _, g := range t.remedies.byAdvice(issues) {
		t.blank()
		for _, i := range g.issues {
			t.item(2, message(i))
			t.notes(4, t.on(i))
		}
		t.item(4, g.rule)
		t.instruct(4, "do: ", g.do)
		for _, item := range g.exceptions.list {
			t.except(4, item)
		}
	}
}

// instruct writes what to do. A line to paste is never wrapped.
func (t text) instruct(indent int, first string, do instruction) {
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
			t.item(0, "A line that begins with \"- {\" is an exception. Add it to the list "+list+" in "+
				short(t.Policy.File)+", and write your own reason and owner.")
			return
		}
	}
}

// findings lists the findings of one package. Platforms that all findings share are named once.
func (t text) findings(g packageGroup, showFix bool) {
	shared := t.on(g.issues[0])
	for _, i := range g.issues {
		if t.on(i) != shared {
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
		r.cells = append(r.cells, t.news(i), cell{text: ruleText(i.Violation)})
		if shared == "" {
			r.notes = append(r.notes, t.on(i))
		}
		r.notes = append(r.notes, t.expired(i)...)
		rows = append(rows, r)
	}
	t.table(4, rows)
}

// on names the platforms of an issue. It returns "" if the image has only one platform.
func (t text) on(i issue) string {
	if len(t.Input.Platforms) < 2 || len(i.platforms.list) == 0 {
		return ""
	}
	names := make([]string, len(i.platforms.list))
	for at, p := range i.platforms.list {
		names[at] = short(p)
	}
	return "on " + strings.Join(names, ", ")
}

// expired names the exceptions that used to cover an issue.
func (t text) expired(i issue) []string {
	var out []string
	for _, e := range i.Expired {
		out = append(out, fmt.Sprintf("its exception (%s) expired %s%s: owner %s, reason: %s", positionText(e.Position),
			e.Expires.UTC().Format(time.DateOnly), t.age(e.Expires), short(e.Owner), short(e.Reason)))
	}
	return out
}

func message(i issue) string {
	if i.Message != "" {
		return Sanitize(i.Message)
	}
	return "violation of kind " + short(string(i.Kind))
}

func nameVersion(p policy.Package) string { return short(p.Name) + " " + short(p.Version) }

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
func differ(issues []issue) bool {
	for _, i := range issues[1:] {
		if fixVersions(*i.Finding) != fixVersions(*issues[0].Finding) {
			return true
		}
	}
	return false
}

// findingCells returns the first columns of every list of findings.
func findingCells(f policy.Finding) []cell {
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
	case policy.SeverityCritical, policy.SeverityHigh, policy.SeverityUnknown:
		severity.style = red
	case policy.SeverityMedium:
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
func fixText(f policy.Finding) string {
	switch f.FixState {
	case policy.FixAvailable:
		if versions := fixVersions(f); versions != "" {
			return "fixed in " + versions
		}
		return "fixed, no version stated"
	case policy.FixNone:
		return "not fixed"
	case policy.FixWont:
		return "will not be fixed"
	}
	return "fix unknown"
}

func (t text) exceptions() {
	if len(t.Decision.Excepted) == 0 {
		return
	}
	var used []policy.Exception
	covered := map[policy.Exception][]policy.Violation{}
	for _, e := range t.Decision.Excepted {
		if covered[e.Exception] == nil {
			used = append(used, e.Exception)
		}
		covered[e.Exception] = append(covered[e.Exception], e.Violation)
	}
	t.section(fmt.Sprintf("Exceptions used: %d", len(used)))
	for _, e := range used {
		t.blank()
		scope := ""
		if e.Package != "" {
			scope = " in " + short(e.Package)
		}
		what := short(e.ID)
		if e.Rule != "" {
			what = "rule " + strconv.Quote(short(e.Rule))
		}
		t.item(2, fmt.Sprintf("%s%s (%s)", what, scope, positionText(e.Position)))
		t.item(4, fmt.Sprintf("owner %s, expires %s%s", short(e.Owner), e.Expires.UTC().Format(time.DateOnly), t.timeLeft(e.Expires)))
		t.item(4, "reason: "+Sanitize(e.Reason))
		if e.Ticket != "" {
			t.item(4, "ticket: "+short(e.Ticket))
		}
		var rows []row
		for _, i := range merge(covered[e]) {
			if i.Finding == nil {
				t.item(4, message(i))
				t.notes(6, t.on(i))
				continue
			}
			rows = append(rows, row{notes: []string{t.on(i)}, cells: append(findingCells(*i.Finding),
				cell{text: nameVersion(i.Finding.Package)}, cell{text: ruleText(i.Violation)})})
		}
		t.table(4, rows)
	}
}

func (t text) notAffected() {
	if len(t.Decision.NotAffected) == 0 {
		return
	}
	t.section("Not affected, by VEX: " + count(len(t.Decision.NotAffected), "finding"))
	t.blank()
	for _, n := range t.Decision.NotAffected {
		s := n.Statement
		t.item(2, fmt.Sprintf("%s in %s: %s %s", short(n.Finding.ID), nameVersion(n.Finding.Package), short(string(s.Status)), short(s.Justification)))
		if s.Impact != "" {
			t.item(4, short(s.Impact))
		}
		by := "author " + short(s.Author) + ", unsigned"
		if s.Signer != nil {
			by = "signed by " + short(s.Signer.String())
		}
		t.item(4, short(s.Document)+" of "+instant(s.Timestamp)+", "+by)
	}
}

func (t text) provenanceMatches() {
	if len(t.Decision.Provenance) == 0 {
		return
	}
	t.section("Provenance: " + count(len(t.Decision.Provenance), "rule") + " met")
	t.blank()
	for _, v := range t.Decision.Provenance {
		t.item(2, fmt.Sprintf("%s: %s by %s", short(v.Platform), short(cmp.Or(v.Attestation.PredicateType, "signature")), short(v.Attestation.Signer.String())))
		if p := v.Attestation.Provenance; p != nil {
			t.item(4, "built by "+short(cmp.Or(p.Builder, "nobody who is named"))+" from "+short(cmp.Or(p.Source, "nowhere that is named"))+" "+short(p.Revision))
		}
		t.item(4, fmt.Sprintf("rule %s (%s)", short(v.Rule), positionText(v.Position)))
	}
}

func (t text) allowed() {
	if len(t.Decision.Allowed) == 0 {
		return
	}
	var found []policy.Violation
	for _, a := range t.Decision.Allowed {
		found = append(found, policy.Violation{Kind: policy.KindVulnerability, Platform: a.Platform, Finding: &a.Finding})
	}
	merged := merge(found)
	t.section(fmt.Sprintf("Matched by no rule: %s (%s)", count(len(merged), "finding"), severities(merged)))
	t.blank()
	t.brief(merged, maxAllowed)
}

// severities counts issues by severity, the most severe first.
func severities(issues []issue) string {
	var counts [policy.SeverityCritical + 1]int
	for _, i := range issues {
		counts[min(i.Finding.Severity, policy.SeverityCritical)]++
	}
	order := []policy.Severity{policy.SeverityUnknown}
	for s := policy.SeverityCritical; s > policy.SeverityUnknown; s-- {
		order = append(order, s)
	}
	var parts []string
	for _, s := range order {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	return strings.Join(parts, ", ")
}

// gaps counts the gaps in the evidence, regardless of the policy.
func (t text) gaps() {
	var unknowns, uncovered []string
	suppressed, judged := 0, 0
	for _, p := range t.Input.Platforms {
		for _, u := range p.Unknowns {
			if u.Class == policy.UnknownOwned {
				judged++
				continue
			}
			unknowns = append(unknowns, fmt.Sprintf("%s: %s (%s)", short(u.Path), short(u.Reason), short(p.Platform)))
		}
		for _, u := range p.Unmatched {
			if u.Reason.EvaluatedElsewhere() {
				judged++
				continue
			}
			uncovered = append(uncovered, fmt.Sprintf("%s: %s (%s)", unmatchedName(u), unmatchedReason(u), short(p.Platform)))
		}
		suppressed += len(p.Suppressed)
	}
	if len(unknowns)+len(uncovered)+suppressed+judged == 0 {
		return
	}
	t.section("Gaps in the evidence")
	t.blank()
	for _, g := range []struct {
		title string
		list  []string
	}{
		{"could not be read into the SBOM", unknowns},
		{"could not be matched", uncovered},
	} {
		if len(g.list) == 0 {
			continue
		}
		t.item(2, fmt.Sprintf("%d %s", len(g.list), g.title))
		for _, line := range g.list[:min(len(g.list), maxGaps)] {
			t.item(4, line)
		}
		if more := len(g.list) - maxGaps; more > 0 {
			t.item(4, fmt.Sprintf("and %d more: the JSON report has all of them", more))
		}
	}
	if judged > 0 {
		t.item(2, fmt.Sprintf("%s covered by the package that owns it: the JSON report has all of them", count(judged, "file")))
	}
	if suppressed > 0 {
		t.item(2, fmt.Sprintf("%s dropped by the matcher's own rules: the JSON report has all of them", count(suppressed, "match")))
	}
}

func unmatchedName(u policy.Unmatched) string {
	if u.Reason == policy.TypeNotInDatabase {
		return fmt.Sprintf("%d packages of type %s", u.Packages, short(u.Type))
	}
	if u.Package == nil {
		return "distribution"
	}
	return nameVersion(*u.Package)
}

func unmatchedReason(u policy.Unmatched) string {
	if u.Detail == "" {
		return short(string(u.Reason))
	}
	return short(string(u.Reason)) + ", " + short(u.Detail)
}

func (t text) destinations() {
	if len(t.Destinations) == 0 {
		return
	}
	title := "Approved: "
	switch {
	case t.Outcome() == Signed:
		title = "Signed: "
	case t.Override != nil:
		title = "Not approved, and let through: "
	}
	t.section(title + count(len(t.Destinations), "destination"))
	for _, d := range t.Destinations {
		t.blank()
		t.item(2, fmt.Sprintf("%s: %s", short(d.Reference), short(string(d.State))))
		t.item(4, short(d.Repository)+"@"+short(d.Digest))
		if d.Signer != "" {
			t.item(4, "signed by "+short(d.Signer))
		}
		if d.SignedFor != "" {
			t.item(4, "signed for "+short(d.SignedFor))
		}
		if d.State == Promoted {
			t.item(4, copiedText(d))
		} else if !d.Decided.IsZero() {
			t.item(4, "decided "+instant(d.Decided)+t.age(d.Decided))
		}
		var rows []row
		for _, s := range d.Statements {
			about := "image"
			if s.Platform != "" {
				about = short(s.Platform)
			}
			rows = append(rows, row{cells: []cell{{text: short(s.PredicateType)}, {text: about}, {text: short(s.Digest)}}})
		}
		if len(rows) > 0 {
			t.item(4, count(len(rows), "signed statement"))
			t.table(6, rows)
		}
		t.copiedAttestations(d)
	}
}

// carried lists the attestations that were copied from the staging registry, and the skipped ones.
func (t text) copiedAttestations(d Destination) {
	var along, left []row
	what := func(c Attestation) cell {
		switch {
		case c.PredicateType != "":
			return cell{text: short(c.PredicateType)}
		case c.Digest == "":
			return cell{text: "-"}
		}
		return cell{text: "signature"}
	}
	for _, c := range d.CopiedAttestations {
		along = append(along, row{cells: []cell{what(c), {text: short(c.Format)}, {text: "by " + short(c.Signer)}}})
	}
	for _, c := range d.SkippedAttestations {
		left = append(left, row{cells: []cell{what(c), {text: short(c.Format)}, {text: short(c.Reason)}}})
	}
	if len(along) > 0 {
		t.item(4, "carried over: "+strconv.Itoa(len(along)))
		t.table(6, along)
	}
	if len(left) > 0 {
		t.item(4, "left where it was staged: "+strconv.Itoa(len(left)))
		t.table(6, left)
	}
}

func (t text) transfer() {
	if t.Transfer.CacheHits > 0 {
		t.blank()
		t.item(0, fmt.Sprintf("Of %s an earlier run had cataloged what is in the image", count(t.Transfer.CacheHits, "platform")))
	}
	if t.Transfer.BytesRead == 0 {
		return
	}
	t.blank()
	t.item(0, fmt.Sprintf("Read %s from the source in %s", size(t.Transfer.BytesRead), count(t.Transfer.Fetches, "fetch")))
}

func copiedText(d Destination) string {
	s := fmt.Sprintf("copied %d of %s, %s", d.BlobsCopied, count(d.Blobs, "blob"), size(d.BytesCopied))
	if d.BytesSkipped > 0 {
		s += "; " + size(d.BytesSkipped) + " were there already or mounted"
	}
	return s
}

// age and left return the time since, and until, an instant, counted from the end of the run. They
// return "" if the run has no time.
func (t text) age(then time.Time) string {
	now := t.at()
	switch {
	case now.IsZero():
		return ""
	case then.After(now):
		return " (" + span(then.Sub(now)) + " in the future)"
	}
	return " (" + span(now.Sub(then)) + " ago)"
}

func (t text) timeLeft(then time.Time) string {
	now := t.at()
	switch {
	case now.IsZero():
		return ""
	case then.After(now):
		return ", in " + span(then.Sub(now))
	}
	return ", " + span(now.Sub(then)) + " ago"
}

// span rounds down: 47 hours are one day.
func span(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return count(int(d/(24*time.Hour)), "day")
	case d >= time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/time.Minute), "minute")
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func count(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "ch"):
		noun += "es"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// size formats bytes in decimal units, as registries do.
func size(bytes int64) string {
	const unit = 1000
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, prefix := float64(bytes)/unit, 0
	for value >= unit && prefix < 4 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[prefix])
}
