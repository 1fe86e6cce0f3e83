// Package vex reads what vendors say about which vulnerabilities do not matter
// where: OpenVEX, CycloneDX and CSAF documents become one list of statements.
//
// The path through it is [Parse], which tells the format by the content, and
// [FromAttestation] for a document that somebody attested. A statement can take
// a finding out of the gate's way, so everything unclear is an error, and what
// cannot be tied to an image or a package is bound to nothing.
//
// The package decides nothing: whether a statement counts, and what it covers,
// is the policy's business.
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

// Limits on a document.
const (
	maxBytes      = 10 << 20
	maxStatements = 100_000
)

// Status is what a statement says of a product.
type Status string

// The statuses, as OpenVEX names them.
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
	// Products are names of one and the same product, a package's or an
	// image's: package URLs, and an image's digest, "sha256:<hex>".
	Products []string
	// Subcomponents are the packages in the product that it is about, as
	// package URLs; empty means the product itself and all that is in it.
	Subcomponents []string
	Status        Status
	// Justification is the machine-readable reason, in the words of OpenVEX, and
	// Impact the one for people. NotAffected has one of them at least.
	Justification string
	Impact        string
	// Document and Author are the document's id and who says that he made it.
	// Nobody has verified either.
	Document string
	Author   string
	// Timestamp is from when the statement is.
	Timestamp time.Time
}

// Parse reads a document of at most 10 MiB; name is for messages. An error
// means that nothing in the document counts.
func Parse(name string, data []byte) ([]Statement, error) {
	out, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading VEX document %q: %w", name, err)
	}
	return out, nil
}

func parse(data []byte) ([]Statement, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", maxBytes)
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
		return nil, errors.New("it is neither OpenVEX nor CycloneDX nor CSAF")
	}
	out, err := formats[0](data)
	switch {
	case err != nil:
		return nil, err
	case len(out) > maxStatements:
		return nil, fmt.Errorf("it makes %d statements, more than %d", len(out), maxStatements)
	}
	for i, s := range out {
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("statement %d, about %q: %w", i+1, s.ID, err)
		}
	}
	return out, nil
}

// check demands what every format asks for.
func (s Statement) check() error {
	switch {
	case s.ID == "" || strings.ContainsAny(s.ID, "* \t\r\n"):
		return errors.New("the vulnerability has no name")
	case s.Timestamp.IsZero():
		return errors.New("nobody knows from when it is")
	case s.Status == NotAffected && s.Justification == "" && strings.TrimSpace(s.Impact) == "":
		return errors.New("it is not_affected, and nothing says why")
	}
	return nil
}

// Predicate types under which documents are attested.
const (
	openVEXPredicate   = "https://openvex.dev/ns"
	cycloneDXPredicate = "https://cyclonedx.org/vex"
	csafPredicate      = "https://docs.oasis-open.org/csaf/csaf/v2.0"
)

// IsPredicate reports whether an attestation of this predicate type holds a VEX
// document.
func IsPredicate(predicateType string) bool {
	return slices.ContainsFunc([]string{openVEXPredicate, cycloneDXPredicate, csafPredicate}, func(known string) bool {
		return predicateType == known || strings.HasPrefix(predicateType, known+"/")
	})
}

// FromAttestation reads a document that was attested about subjects, digests
// such as "sha256:<hex>". They are the product of every statement that names
// none, as OpenVEX's specification of attestations has it.
// See https://github.com/openvex/spec/blob/main/ATTESTING.md.
func FromAttestation(predicateType string, predicate []byte, subjects []string) ([]Statement, error) {
	if !IsPredicate(predicateType) {
		return nil, fmt.Errorf("reading an attested VEX document: a %q is none", predicateType)
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

// unambiguous refuses keys that are repeated, of which two readers would take
// two different ones, in bounded depth.
func unambiguous(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	type object struct {
		keys map[string]bool // nil of an array
		key  bool            // the next token is a key
	}
	var open []object
	for {
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("it is not valid JSON: %w", err)
		}
		if top := len(open) - 1; top >= 0 && open[top].key {
			if key, ok := token.(string); ok {
				if open[top].keys[key] {
					return fmt.Errorf("the key %q is repeated", key)
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
			return errors.New("it is nested too deeply")
		}
		if len(open) == 0 {
			break
		}
		if token != json.Delim('{') && token != json.Delim('[') {
			open[len(open)-1].key = open[len(open)-1].keys != nil
		}
	}
	if dec.More() {
		return errors.New("there is more behind the document")
	}
	return nil
}

// imageDigest is "sha256:<hex>", or empty if the text is none.
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
