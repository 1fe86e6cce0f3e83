package report

import (
	"fmt"
	"strings"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
)

// Summary returns the outcome in one line without a line break, safe to log.
func Summary(r Report) string {
	image := short(r.Input.Image.Reference)
	if digest := r.Input.Image.Digest; digest != "" {
		image += " (" + short(digest) + ")"
	}
	var line string
	counts := r.Counts()
	switch r.Outcome() {
	case Undecided:
		line = "could not decide on " + image
	case Denied:
		line = fmt.Sprintf("denied %s: %s", image, r.problems(counts))
	case Overridden:
		line = fmt.Sprintf("denied %s, but promoted by an override until %s: %s", image,
			units.Instant(r.Override.Expires), r.overridden(counts))
	case Unfinished:
		line = "passed but did not finish " + image
		if r.Denies() {
			line = fmt.Sprintf("denied and did not finish %s: %s", image, r.problems(counts))
		}
	case Passed:
		line = "passed " + image
	case PassedEarlier:
		line = "passed earlier " + image
	case SignatureOnly:
		line = "signed, decision not checked: " + image
	}
	if r.Outcome() == Passed {
		if unmatched := severeUnmatched(*r.Decision); unmatched != "" {
			line += ", " + unmatched
		}
	}
	if fewAdvisories(r.Input.Database.Advisories) != "" {
		line += ", few advisories in the database"
	}
	if counts.Warnings > 0 {
		line += ", " + units.Count(counts.Warnings, "warning")
	}
	if counts.Excepted > 0 {
		line += fmt.Sprintf(", %d excepted", counts.Excepted)
	}
	var places []string
	for _, d := range r.Destinations {
		places = append(places, fmt.Sprintf("%s %s", short(string(d.State)), short(d.Reference)))
	}
	if len(places) > 0 {
		line += "; " + strings.Join(places, ", ")
	}
	if r.Error != nil {
		line += fmt.Sprintf("; %s error: %s", short(string(r.Error.Class)), strings.Join(layout.Lines(r.Error.Message), "; "))
	}
	return Sanitize(line)
}
