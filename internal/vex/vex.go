// Package vex parses VEX documents. In such a document, a vendor states which vulnerabilities
// affect which products. OpenVEX, CycloneDX and CSAF documents become one list of statements.
//
// [Parse] detects the format from the content. [FromAttestation] parses an attested document. A
// statement can suppress a finding, so ambiguous input is an error, and a product without a usable
// name matches nothing.
//
// The policy decides whether a statement counts and what it covers.
package vex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits for one VEX document: its size in bytes, and the number of statements in it.
const (
	maxBytes      = 10 << 20
	maxStatements = 100_000
)

// Status is the status of a vulnerability in a product.
type Status string

// The statuses, with the names that OpenVEX uses.
const (
	NotAffected        Status = "not_affected"
	Affected           Status = "affected"
	Fixed              Status = "fixed"
	UnderInvestigation Status = "under_investigation"
)

// Statement is one status of one vulnerability in one product.
type Statement struct {
	ID      string
	Aliases []string
	// Products are the names of one product: package URLs of a package, or the package URL and the
	// digest, "sha256:<hex>", of an image. Nil means that the document does not name a product. An
	// empty list matches nothing.
	Products []string
	// Subcomponents are the affected packages in the product, as package URLs. Empty means the
	// product itself and all its packages.
	Subcomponents []string
	Status        Status
	// Justification is a machine-readable reason, one of OpenVEX's values. Impact is a reason in
	// plain text. A statement with the status NotAffected has at least one of them.
	Justification string
	Impact        string
	// Document is the id of the document. Author is the author that the document states. Both are
	// unverified.
	Document string
	Author   string
	// Timestamp is the time of the statement.
	Timestamp time.Time
}

// Parse parses a VEX document of at most 10 MiB. name is the name of the document in errors. One
// invalid statement makes the whole document invalid.
func Parse(name string, data []byte) ([]Statement, error) {
	out, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading VEX document %q: %w", name, err)
	}
	return out, nil
}

func parse(data []byte) ([]Statement, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("the document is larger than %d bytes", maxBytes)
	}
	if err := unambiguous(data); err != nil {
		return nil, err
	}
	var marks struct {
		Context   any    `json:"@context"`
		BOMFormat string `json:"bomFormat"`
		Document  *struct {
			CSAFVersion string `json:"csaf_version"`
		} `json:"document"`
	}
	if err := json.Unmarshal(data, &marks); err != nil {
		return nil, err
	}
	var formats []func([]byte) ([]Statement, error)
	if marks.Context != nil {
		formats = append(formats, openVEX)
	}
	if marks.BOMFormat != "" {
		formats = append(formats, cycloneDX)
	}
	if marks.Document != nil && marks.Document.CSAFVersion != "" {
		formats = append(formats, csafVEX)
	}
	if len(formats) != 1 {
		return nil, errors.New("the file is not an OpenVEX, CycloneDX or CSAF document")
	}
	out, err := formats[0](data)
	switch {
	case err != nil:
		return nil, err
	case len(out) > maxStatements:
		return nil, fmt.Errorf("found %d statements, the limit is %d", len(out), maxStatements)
	}
	for i, s := range out {
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("statement %d, about %q: %w", i+1, s.ID, err)
		}
	}
	return out, nil
}

// check verifies the requirements that apply to statements in all formats.
func (s Statement) check() error {
	switch {
	case s.ID == "" || strings.ContainsAny(s.ID, "* \t\r\n"):
		return errors.New("the vulnerability has no name")
	case s.Timestamp.IsZero():
		return errors.New("the timestamp is missing")
	case s.Status == NotAffected && s.Justification == "" && strings.TrimSpace(s.Impact) == "":
		return errors.New("status not_affected needs a justification or an impact statement")
	}
	return nil
}

// These are the predicate types of attested VEX documents. A version may follow.
const (
	openVEXPredicate   = "https://openvex.dev/ns"
	cycloneDXPredicate = "https://cyclonedx.org/vex"
	csafPredicate      = "https://docs.oasis-open.org/csaf/csaf/v2.0"
)

// IsPredicate reports whether an attestation of this predicate type contains a VEX document.
func IsPredicate(predicateType string) bool {
	return slices.ContainsFunc([]string{openVEXPredicate, cycloneDXPredicate, csafPredicate}, func(known string) bool {
		return predicateType == known || strings.HasPrefix(predicateType, known+"/")
	})
}

// FromAttestation parses an attested document. subjects are the digests, "sha256:<hex>", that the
// attestation is about. If a statement does not name a product, the subjects are its product, as
// the specification of OpenVEX attestations requires. See
// https://github.com/openvex/spec/blob/main/ATTESTING.md.
func FromAttestation(predicateType string, predicate []byte, subjects []string) ([]Statement, error) {
	if !IsPredicate(predicateType) {
		return nil, fmt.Errorf("reading an attested VEX document: predicate type %q is not a VEX type", predicateType)
	}
	out, err := Parse(predicateType, predicate)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Products == nil {
			out[i].Products = slices.Clone(subjects)
		}
	}
	return out, nil
}

// unambiguous rejects JSON with repeated keys, because two readers may use different values. It
// also rejects JSON with more than 100 levels.
func unambiguous(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	type object struct {
		keys map[string]bool // the keys of an object so far; nil for an array
		key  bool            // true if the next token is a key
	}
	var open []object
	for {
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("not valid JSON: %w", err)
		}
		if top := len(open) - 1; top >= 0 && open[top].key {
			if key, ok := token.(string); ok {
				if open[top].keys[key] {
					return fmt.Errorf("key %q is repeated", key)
				}
				open[top].keys[key], open[top].key = true, false
				continue
			}
		}
		switch token {
		case json.Delim('{'):
			open = append(open, object{map[string]bool{}, true})
		case json.Delim('['):
			open = append(open, object{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) > 100 {
			return errors.New("the JSON document has more than 100 levels")
		}
		if len(open) == 0 {
			break
		}
		if token != json.Delim('{') && token != json.Delim('[') {
			open[len(open)-1].key = open[len(open)-1].keys != nil
		}
	}
	if dec.More() {
		return errors.New("the file has data after the JSON document")
	}
	return nil
}

// imageDigest returns "sha256:<hex>", or "" if the text is not a SHA-256 digest.
func imageDigest(s string) string {
	s = strings.ToLower(s)
	hex, ok := strings.CutPrefix(s, "sha256:")
	if !ok {
		hex = s
	}
	if len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return "sha256:" + hex
}

func isPURL(s string) bool { return strings.HasPrefix(s, "pkg:") }
