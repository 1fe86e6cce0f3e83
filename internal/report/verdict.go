package report

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
)

// verdict writes the last lines: the verdict, the reason, what was written where, until when the
// verdict holds, and what to do next.
func (t text) verdict() {
	t.Heading(t.verdictStyle(), t.result.Word, t.imageName())
	t.Item(2, upperFirst(t.why())+".")
	t.rules()
	t.newFindings()
	if few := fewAdvisories(t.Input.Database.Advisories); few != "" {
		t.Paragraph(layout.Yellow, "  ", 4, "caution: the database has few advisories for this image, so a short list of findings means little: "+few)
	}
	if t.result.Outcome == Passed {
		if severe := severeUnmatched(*t.Decision); severe != "" {
			t.Paragraph(layout.Yellow, "  ", 4, "caution: "+severe)
		}
	}
	for _, c := range t.Cautions {
		t.Paragraph(layout.Yellow, "  ", 4, "caution: "+Sanitize(c))
	}
	t.failure()
	t.writtenText()
	if until := t.result.Until; !until.IsZero() {
		t.Item(2, "Valid until "+units.Instant(until)+t.timeLeft(until)+": "+t.untilWhy(until)+".")
	}
	t.next()
}

func (t text) verdictStyle() layout.Style {
	switch {
	case t.result.Outcome == SignatureOnly:
		return layout.Bold
	case t.result.Outcome == Overridden || !t.result.Outcome.IsPass():
		return layout.Red
	}
	return layout.Green
}

// imageName returns the name of the image and the start of its digest.
func (t text) imageName() string {
	title := short(t.Input.Image.Reference)
	if digest := t.Input.Image.Digest; digest != "" && !strings.Contains(t.Input.Image.Reference, "@") {
		title += "@" + shortDigest(digest)
	}
	return title
}

// rules writes the names of the rules that deny the image.
func (t text) rules() {
	if !t.Denies() {
		return
	}
	var names orderedSet
	for _, v := range t.Decision.Violations {
		names.add(short(v.Rule))
	}
	list := names.list
	if more := len(list) - maxRules; more > 0 && !t.details {
		list = append(slices.Clone(list[:maxRules]), fmt.Sprintf("%d more", more))
	}
	if len(list) > 0 {
		t.Item(2, "By "+short(cmp.Or(t.Policy.File, "the policy"))+": "+strings.Join(list, ", ")+".")
	}
}

// why returns the reason for the verdict. For a failure, it omits the error text, which the method
// failure writes in full.
func (t text) why() string {
	if t.Error == nil || !t.result.Outcome.IsFailure() {
		return t.result.Why
	}
	return strings.TrimSuffix(t.result.Why, t.Report.failure()) + ": " + short(string(t.Error.Class)) + " error"
}

// failure writes the error of the run.
func (t text) failure() {
	switch {
	case t.Error == nil && t.result.Outcome == Undecided:
		t.Item(2, "The report has neither a decision nor an error: treat it as a denial.")
	case t.Error == nil:
	default:
		if !t.result.Outcome.IsFailure() {
			t.Item(2, short(string(t.Error.Class))+" error")
		}
		for _, line := range layout.Lines(t.Error.Message) {
			t.Item(4, line)
		}
	}
}

// writtenText writes which references were written, and names the registries without a confirmed
// tag.
func (t text) writtenText() {
	written := map[State]string{
		Promoted: "promoted to", AlreadyPromoted: "already promoted to", Verified: "verified at", SignatureVerified: "signature verified at",
	}
	for _, d := range t.Destinations {
		line := upperFirst(cmp.Or(written[d.State], short(string(d.State)))) + " " + short(d.Reference)
		if decided := t.decidedText(d); decided != "" {
			line += ", " + decided
		}
		t.Item(2, line+".")
	}
	if len(t.Destinations) > 0 && t.Error == nil {
		return
	}
	var hosts orderedSet
	for _, reference := range t.run.Approved {
		if !slices.ContainsFunc(t.Destinations, func(d Destination) bool { return d.Reference == reference }) {
			host, _, _ := strings.Cut(reference, "/")
			hosts.add(short(host))
		}
	}
	if len(hosts.list) == 0 {
		return
	}
	// After a pass or an override, a failed request may still have written a tag, although no
	// response arrived.
	if t.Decision != nil && (t.Decision.Passed || t.Override != nil) {
		t.Item(2, "No tag is confirmed at "+strings.Join(hosts.list, ", ")+". You can safely run the command again.")
		return
	}
	t.Item(2, "Nothing was written to "+strings.Join(hosts.list, ", ")+".")
}

// untilWhy returns what ends the validity of the verdict at until.
func (t text) untilWhy(until time.Time) string {
	for _, e := range t.Decision.Excepted {
		if e.Exception.Expires.Equal(until) {
			return "then the exception for " + short(cmp.Or(e.Exception.ID, e.Exception.Rule)) + " ends"
		}
	}
	for _, w := range t.Decision.Warnings {
		if w.Blocks.Equal(until) {
			return "then the grace period of rule " + short(w.Rule) + " ends"
		}
	}
	for _, p := range t.Input.Platforms {
		if p.Distribution.EndOfLife.Equal(until) {
			return "then " + distribution(p.Distribution) + " reaches its end of life"
		}
	}
	return "then the database or the image is too old for the policy"
}

// next writes which command to run next.
func (t text) next() {
	switch t.result.Outcome {
	case Denied:
		t.explain()
	case Passed, Overridden, PassedEarlier:
		switch {
		case len(t.Destinations) > 0 && len(t.run.Verify) > 0:
			command := append([]string{"imagegate", "verify", t.Destinations[0].Reference}, t.run.Verify...)
			if t.Override != nil {
				command = append(command, "--allow-override")
			}
			t.command("Check: ", command)
		case t.Command == "check" && t.At.IsZero() && len(t.run.Policies) > 0:
			command := append([]string{"imagegate", "promote", t.Input.Image.Reference, "APPROVED", "--key", "cosign.key"}, t.policies()...)
			if t.run.Platform != "" {
				command = append(command, "--platform", t.run.Platform)
			}
			t.command("Next: ", command)
		}
	}
}

// explain writes the command that explains why the image is denied.
func (t text) explain() {
	if len(t.run.Policies) == 0 {
		return
	}
	switch worst := t.worst(); {
	case strings.HasPrefix(worst, "-") || worst == "":
	case t.run.Report != "":
		t.command("Why: ", []string{"imagegate", "explain", worst, "--report", t.run.Report})
	case !t.details:
		t.Item(2, "More: --details. Why one blocks: --output json=FILE, then imagegate explain ID --report FILE.")
	}
}

// policies returns the --policy flags of the run.
func (t text) policies() []string {
	var flags []string
	for _, p := range t.run.Policies {
		flags = append(flags, "--policy", p)
	}
	return flags
}

// plainWord matches arguments that mean the same in every shell without quotes.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9@._/+:=,-]+$`)

// command writes a command line to paste, with quotes where a shell needs them.
func (t text) command(first string, words []string) {
	quoted := slices.Clone(words)
	for i, w := range words {
		if !plainWord.MatchString(w) {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	t.Whole(2, first+strings.Join(quoted, " "))
}

// worst returns what to explain first: the id of the worst finding without a fix, otherwise of the
// worst finding, otherwise the name of the first rule.
func (t text) worst() string {
	fixable, unfixable, others := splitByFix(t.blocking)
	for _, found := range [][]Item{unfixable, fixable} {
		if len(found) > 0 {
			return slices.MinFunc(found, bySeverity).Finding.ID
		}
	}
	if len(others) > 0 {
		return others[0].Rule
	}
	return ""
}

// upperFirst capitalizes the first letter of an English sentence.
func upperFirst(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
