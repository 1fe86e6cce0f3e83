package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
)

// destinations describes what was written to each destination. With --details, it adds the digests.
func (t text) destinations() {
	for _, d := range t.Destinations {
		if !t.details {
			t.destination(d)
			continue
		}
		t.Section(short(d.Reference) + ": " + short(string(d.State)))
		t.Space()
		t.Item(2, short(d.Repository)+"@"+short(d.Digest))
		t.Notes(2, signedText(d), signedForText(d), copiedText(d), t.decidedText(d))
		var rows []layout.Row
		for _, s := range d.Statements {
			about := "image"
			if s.Platform != "" {
				about = short(s.Platform)
			}
			rows = append(rows, layout.Row{Cells: []layout.Cell{{Text: short(s.PredicateType)}, {Text: about}, {Text: short(s.Digest)}}})
		}
		if len(rows) > 0 {
			t.Item(2, units.Count(len(rows), "signed statement"))
			t.Table(4, rows)
		}
		t.copiedAttestations(d)
	}
}

// destination describes a destination in a few lines.
func (t text) destination(d Destination) {
	t.Space()
	t.Item(0, short(d.Reference)+": "+short(string(d.State)))
	t.Notes(2, signedText(d), signedForText(d), copiedText(d), t.decidedText(d))
	var types orderedSet
	for _, s := range d.Statements {
		types.add(short(strings.TrimPrefix(s.PredicateType, "https://")))
	}
	if len(types.list) > 0 {
		t.Item(2, units.Count(len(d.Statements), "signed statement")+": "+strings.Join(types.list, ", "))
	}
	if n := len(d.CopiedAttestations); n > 0 {
		t.Item(2, fmt.Sprintf("copied attestations: %d (--details)", n))
	}
	if n := len(d.SkippedAttestations); n > 0 {
		t.Item(2, fmt.Sprintf("skipped attestations: %d (--details)", n))
	}
}

func signedText(d Destination) string {
	if d.Signer == "" {
		return ""
	}
	return "signed by " + short(d.Signer)
}

// signedForText names the repository that the image was signed for. It returns "" if that is the
// destination's own repository.
func signedForText(d Destination) string {
	if d.SignedFor == "" {
		return ""
	}
	return "signed for " + short(d.SignedFor)
}

// decidedText says when the decision was made, if an earlier run made it.
func (t text) decidedText(d Destination) string {
	if d.State == Promoted || d.Decided.IsZero() {
		return ""
	}
	return "decided " + units.Instant(d.Decided) + t.age(d.Decided)
}

// copiedAttestations lists the attestations that were copied from the staging registry, and those
// that were skipped.
func (t text) copiedAttestations(d Destination) {
	var copied, skipped []layout.Row
	name := func(c Attestation) layout.Cell {
		switch {
		case c.PredicateType != "":
			return layout.Cell{Text: short(c.PredicateType)}
		case c.Digest == "":
			return layout.Cell{Text: "-"}
		}
		return layout.Cell{Text: "signature"}
	}
	for _, c := range d.CopiedAttestations {
		copied = append(copied, layout.Row{Cells: []layout.Cell{name(c), {Text: short(c.Format)}, {Text: "by " + short(c.Signer)}}})
	}
	for _, c := range d.SkippedAttestations {
		skipped = append(skipped, layout.Row{Cells: []layout.Cell{name(c), {Text: short(c.Format)}, {Text: short(c.Reason)}}})
	}
	if len(copied) > 0 {
		t.Item(2, "copied attestations: "+strconv.Itoa(len(copied)))
		t.Table(4, copied)
	}
	if len(skipped) > 0 {
		t.Item(2, "skipped attestations: "+strconv.Itoa(len(skipped)))
		t.Table(4, skipped)
	}
}

// copiedText describes how many blobs and bytes this run copied.
func copiedText(d Destination) string {
	if d.State != Promoted {
		return ""
	}
	s := fmt.Sprintf("copied %d of %s, %s", d.BlobsCopied, units.Count(d.Blobs, "blob"), units.Size(d.BytesCopied))
	if d.BytesSkipped > 0 {
		s += "; " + units.Size(d.BytesSkipped) + " existed already or were mounted"
	}
	return s
}
