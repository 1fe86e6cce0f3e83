package vex

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	openvex "github.com/openvex/go-vex/pkg/vex"
)

// openVEXContext begins the context of the versions that are read: those of the
// specification's 0.2 series.
const openVEXContext = "https://openvex.dev/ns/v0.2."

// openVEX reads an OpenVEX document. Unknown fields are refused: one that is
// misspelled may have been there to narrow a statement.
// See https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md.
func openVEX(data []byte) ([]Statement, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var doc openvex.VEX
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(doc.Context, openVEXContext) {
		return nil, fmt.Errorf("its context is %q: want %q and on", doc.Context, openVEXContext+"0")
	}
	if doc.ID == "" || doc.Author == "" {
		return nil, fmt.Errorf("it has no @id or no author")
	}
	var out []Statement
	for i, st := range doc.Statements {
		if err := st.Validate(); err != nil {
			return nil, fmt.Errorf("statement %d, about %q: %w", i+1, st.Vulnerability.Name, err)
		}
		one := Statement{
			ID:            string(st.Vulnerability.Name),
			Status:        Status(st.Status),
			Justification: string(st.Justification),
			Impact:        st.ImpactStatement,
			Document:      doc.ID,
			Author:        doc.Author,
			Timestamp:     first(st.LastUpdated, st.Timestamp, doc.LastUpdated, doc.Timestamp),
		}
		for _, alias := range st.Vulnerability.Aliases {
			one.Aliases = append(one.Aliases, string(alias))
		}
		if len(st.Products) == 0 {
			out = append(out, one) // only an attestation says whose it is
			continue
		}
		for _, p := range st.Products {
			forProduct := one
			forProduct.Products = names(p.Component)
			for _, sub := range p.Subcomponents {
				forProduct.Subcomponents = append(forProduct.Subcomponents, names(sub.Component)...)
			}
			// Subcomponents that nobody can recognise must not turn into none,
			// which would be all.
			if len(p.Subcomponents) > 0 && len(forProduct.Subcomponents) == 0 {
				forProduct.Products = []string{}
			}
			out = append(out, forProduct)
		}
	}
	return out, nil
}

// names are the ways to recognise a component that mean something here; it is
// never nil.
func names(c openvex.Component) []string {
	out := []string{}
	for _, name := range []string{c.ID, c.Identifiers[openvex.PURL]} {
		if isPURL(name) {
			out = append(out, name)
		} else if digest := imageDigest(name); strings.HasPrefix(name, "sha256:") && digest != "" {
			out = append(out, digest)
		}
	}
	if digest := imageDigest(string(c.Hashes[openvex.SHA256])); digest != "" {
		out = append(out, digest)
	}
	return out
}

func first(times ...*time.Time) time.Time {
	if t := cmp.Or(times...); t != nil {
		return t.UTC()
	}
	return time.Time{}
}
