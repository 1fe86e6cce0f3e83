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
