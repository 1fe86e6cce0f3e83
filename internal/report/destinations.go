package report

import (
	"fmt"
	"strconv"
	"strings"
)

// destinations describes what was written to each destination, and with all details its digests.
func (t text) destinations() {
	for _, d := range t.Destinations {
		if !t.details {
			t.destination(d)
			continue
		}
		t.section(short(d.Reference) + ": " + short(string(d.State)))
		t.space()
		t.item(2, short(d.Repository)+"@"+short(d.Digest))
		t.notes(2, signedText(d), copiedText(d), t.decidedText(d))
		var rows []row
		for _, s := range d.Statements {
			about := "image"
			if s.Platform != "" {
				about = short(s.Platform)
			}
			rows = append(rows, row{cells: []cell{{text: short(s.PredicateType)}, {text: about}, {text: short(s.Digest)}}})
		}
		if len(rows) > 0 {
			t.item(2, count(len(rows), "signed statement"))
			t.table(4, rows)
		}
		t.copiedAttestations(d)
	}
}

// destination describes a destination in a few lines.
func (t text) destination(d Destination) {
	t.space()
	t.item(0, short(d.Reference)+": "+short(string(d.State)))
	t.notes(2, signedText(d), copiedText(d), t.decidedText(d))
	var types orderedSet
	for _, s := range d.Statements {
		types.add(short(strings.TrimPrefix(s.PredicateType, "https://")))
	}
	if len(types.list) > 0 {
		t.item(2, count(len(d.Statements), "signed statement")+": "+strings.Join(types.list, ", "))
	}
	if n := len(d.CopiedAttestations); n > 0 {
		t.item(2, fmt.Sprintf("copied attestations: %d (--details)", n))
	}
	if n := len(d.SkippedAttestations); n > 0 {
		t.item(2, fmt.Sprintf("skipped attestations: %d (--details)", n))
	}
}

func signedText(d Destination) string {
	signed := ""
	if d.Signer != "" {
		signed = "signed by " + short(d.Signer)
	}
	if d.SignedFor != "" {
		signed = strings.TrimSpace(signed + " for " + short(d.SignedFor))
	}
	return signed
}

// decidedText says when the decision was made, if it was not made by this run.
func (t text) decidedText(d Destination) string {
	if d.State == Promoted || d.Decided.IsZero() {
		return ""
	}
	return "decided " + instant(d.Decided) + t.age(d.Decided)
}

// copiedAttestations lists the attestations that were copied from the staging registry, and those
// that were skipped.
func (t text) copiedAttestations(d Destination) {
	var copied, skipped []row
	name := func(c Attestation) cell {
		switch {
		case c.PredicateType != "":
			return cell{text: short(c.PredicateType)}
		case c.Digest == "":
			return cell{text: "-"}
		}
		return cell{text: "signature"}
	}
	for _, c := range d.CopiedAttestations {
		copied = append(copied, row{cells: []cell{name(c), {text: short(c.Format)}, {text: "by " + short(c.Signer)}}})
	}
	for _, c := range d.SkippedAttestations {
		skipped = append(skipped, row{cells: []cell{name(c), {text: short(c.Format)}, {text: short(c.Reason)}}})
	}
	if len(copied) > 0 {
		t.item(2, "copied attestations: "+strconv.Itoa(len(copied)))
		t.table(4, copied)
	}
	if len(skipped) > 0 {
		t.item(2, "skipped attestations: "+strconv.Itoa(len(skipped)))
		t.table(4, skipped)
	}
}

// copiedText counts what was copied by this run.
func copiedText(d Destination) string {
	if d.State != Promoted {
		return ""
	}
	s := fmt.Sprintf("copied %d of %s, %s", d.BlobsCopied, count(d.Blobs, "blob"), size(d.BytesCopied))
	if d.BytesSkipped > 0 {
		s += "; " + size(d.BytesSkipped) + " existed already or were mounted"
	}
	return s
}
