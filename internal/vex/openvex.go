package vex

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	openvex "github.com/openvex/go-vex/pkg/vex"
)

// openVEXContext is the prefix of the supported values of @context: version 0.2 of the
// specification.
const openVEXContext = "https://openvex.dev/ns/v0.2."

// openVEX parses an OpenVEX document. Unknown fields are an error, because a misspelled field may
// have been meant to narrow a statement. See
// https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md.
func openVEX(data []byte) ([]Statement, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var doc openvex.VEX
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(doc.Context, openVEXContext) {
		return nil, fmt.Errorf("unsupported @context %q: must be %q or a later 0.2 version", doc.Context, openVEXContext+"0")
	}
	if doc.ID == "" || doc.Author == "" {
		return nil, errors.New("@id or author is missing")
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
			out = append(out, one) // FromAttestation adds a missing product
			continue
		}
		for _, p := range st.Products {
			forProduct := one
			forProduct.Products = names(p.Component)
			for _, sub := range p.Subcomponents {
				forProduct.Subcomponents = append(forProduct.Subcomponents, names(sub.Component)...)
			}
			// An empty list of subcomponents would mean the whole product. So if no subcomponent
			// has a usable name, the statement must match nothing.
			if len(p.Subcomponents) > 0 && len(forProduct.Subcomponents) == 0 {
				forProduct.Products = []string{}
			}
			out = append(out, forProduct)
		}
	}
	return out, nil
}

// names returns the package URLs and image digests of a component. It never returns nil.
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
