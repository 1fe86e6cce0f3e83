package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/policy"
)

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
		t.paragraph(red, "", "", "PASSED, BUT NOT FINISHED: the image passed, but a later step failed")
	case PassedEarlier:
		t.paragraph(green, "", "", "PASSED EARLIER: a signed decision was found and verified; the image was not evaluated again")
	case SignatureOnly:
		t.paragraph(plain, "", "", "SIGNED: a trusted signature was found and verified; the decision was not checked")
	case Passed:
		t.paragraph(green, "", "", passedText(*t.Decision))
		if until := t.Decision.Until; !until.IsZero() {
			t.item(2, "valid until "+instant(until)+t.timeLeft(until)+": after that, the image must be evaluated again")
		}
	}
	t.newFindings()
	if few := fewAdvisories(t.Input.Database.Advisories); few != "" {
		t.paragraph(yellow, "  ", "    ", "caution: the database has few advisories for this image, so a short list of findings means little: "+few)
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
		t.item(2, "the report has neither a decision nor an error: treat it as a denial")
	}
}

func deniedText(d policy.Decision) string {
	n := len(d.Violations)
	if n == 0 {
		return "DENIED: 0 violations, but the image did not pass"
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
	if unmatched := severeUnmatched(d); unmatched != "" {
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
