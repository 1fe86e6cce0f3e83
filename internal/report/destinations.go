package report

import (
	"fmt"
	"strconv"
)

func (t text) destinations() {
	if len(t.Destinations) == 0 {
		return
	}
	title := "Approved: "
	switch {
	case t.Outcome() == SignatureOnly:
		title = "Signed: "
	case t.Override != nil:
		title = "Denied, but promoted by an override: "
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
		t.item(4, "copied attestations: "+strconv.Itoa(len(copied)))
		t.table(6, copied)
	}
	if len(skipped) > 0 {
		t.item(4, "skipped attestations: "+strconv.Itoa(len(skipped)))
		t.table(6, skipped)
	}
}

func (t text) transfer() {
	if t.Transfer.CacheHits > 0 {
		t.blank()
		t.item(0, fmt.Sprintf("The cache had the SBOMs of %s", count(t.Transfer.CacheHits, "platform")))
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
		s += "; " + size(d.BytesSkipped) + " existed already or were mounted"
	}
	return s
}
