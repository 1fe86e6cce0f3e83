package report

import (
	"fmt"
	"strings"

	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy/evidence"
)

// gaps writes how many gaps the evidence has, whether or not the policy has rules about them.
func (t text) gaps() {
	var unknowns, unmatched []string
	suppressed, owned := 0, 0
	for _, p := range t.Input.Platforms {
		for _, u := range p.Unknowns {
			if u.Class == evidence.UnknownOwned {
				owned++
				continue
			}
			unknowns = append(unknowns, fmt.Sprintf("%s: %s (%s)", short(u.Path), short(u.Reason), short(p.Platform)))
		}
		for _, u := range p.Unmatched {
			if u.Reason.EvaluatedElsewhere() {
				owned++
				continue
			}
			unmatched = append(unmatched, fmt.Sprintf("%s: %s (%s)", unmatchedName(u), unmatchedReason(u), short(p.Platform)))
		}
		suppressed += len(p.Suppressed)
	}
	if len(unknowns)+len(unmatched)+suppressed+owned == 0 {
		return
	}
	if !t.details {
		t.gapCounts(len(unknowns), len(unmatched), suppressed)
		return
	}
	t.Section("Gaps in the evidence")
	t.Space()
	t.gapList("unreadable, so not in the SBOM", unknowns)
	t.gapList("unmatched", unmatched)
	if owned > 0 {
		t.Item(2, fmt.Sprintf("evaluated as part of the package that owns it: %s", units.Count(owned, "file")))
	}
	if suppressed > 0 {
		t.Item(2, fmt.Sprintf("dropped by grype's own data corrections: %s", units.Count(suppressed, "match")))
	}
}

// gapCounts writes one line with the number of gaps of each kind.
func (t text) gapCounts(unknowns, unmatched, suppressed int) {
	var parts []string
	for _, part := range []struct {
		n          int
		noun, says string
	}{{unknowns, "file", "unreadable"}, {unmatched, "package", "unmatched"}, {suppressed, "match", "dropped by grype's own corrections"}} {
		if part.n > 0 {
			parts = append(parts, units.Count(part.n, part.noun)+" "+part.says)
		}
	}
	if len(parts) > 0 {
		t.label("GAPS", strings.Join(parts, ", ")+" (--details)")
	}
}

// gapList lists the gaps of one kind.
func (t text) gapList(title string, list []string) {
	if len(list) == 0 {
		return
	}
	t.Item(2, fmt.Sprintf("%s: %d", title, len(list)))
	for _, line := range list {
		t.Item(4, line)
	}
}

func unmatchedName(u evidence.Unmatched) string {
	if u.Reason == evidence.TypeNotInDatabase {
		return fmt.Sprintf("%d packages of type %s", u.Packages, short(u.Type))
	}
	if u.Package == nil {
		return "distribution"
	}
	return nameVersion(*u.Package)
}

func unmatchedReason(u evidence.Unmatched) string {
	if u.Detail == "" {
		return short(string(u.Reason))
	}
	return short(string(u.Reason)) + ", " + short(u.Detail)
}
