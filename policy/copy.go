package policy

import (
	"errors"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
)

// CopyRule selects attestations to copy from the staging registry to the approved registry:
// statements of one type, or signatures of the image, made by trusted signers. Attestations that no
// rule selects are skipped.
type CopyRule struct {
	Position Position `json:"position"`
	// Type sets the predicate type of the statements, or "signature" for signatures of the image.
	// imagegate never copies its own signatures and statements, which have a type that it attests
	// and were signed with its own key or identity. Mandatory. Example: "type:
	// https://slsa.dev/provenance/v1".
	Type string `json:"type"`
	// Signers lists names of entries in the section signers. One of these signers must have made
	// the attestation. Mandatory. Example: "signers: [ci]".
	Signers []string `json:"signers"`
}

// CopySignature is the type of a CopyRule for signatures.
const CopySignature = "signature"

func (d *decoder) copyAttestations(to *[]CopyRule) strict.Reader {
	return d.List(strict.MaxItems, func(n *yaml.Node) {
		r := CopyRule{Position: d.position(n)}
		d.Mapping(n, "a copyAttestations rule",
			strict.Mandatory("type", d.copiedType(&r.Type)),
			strict.Mandatory("signers", d.Texts(&r.Signers, func(string) error { return nil }, "list at least one signer")),
		)
		*to = append(*to, r)
	})
}

func (d *decoder) copiedType(to *string) strict.Reader {
	return strict.Scalar(d.Decoder, to, "a predicate type, or signature", func(s string) (string, error) {
		if s == "" {
			return "", errors.New("the predicate type is empty")
		}
		return s, nil
	}, "!!str")
}

// Copies reports whether every policy allows copying an attestation: one of this type, by this
// signer, about an image of this repository. An additional policy can only cause more attestations
// to be skipped. predicateType is empty for a signature.
func (s Set) Copies(repository, predicateType string, by evidence.Signer) bool {
	what := predicateType
	if what == "" {
		what = CopySignature
	}
	for _, p := range s {
		if p == nil || !p.forImage(repository).copies(what, by) {
			return false
		}
	}
	return len(s) > 0
}

func (p *Policy) copies(what string, by evidence.Signer) bool {
	known := knownSigners(p.Signers)
	return slices.ContainsFunc(p.CopyAttestations, func(r CopyRule) bool { return r.Type == what && known.Has(r.Signers, by) })
}

// CopiesAny reports whether every policy has at least one copyAttestations rule for the images of a
// repository.
func (s Set) CopiesAny(repository string) bool {
	return len(s) > 0 && !slices.ContainsFunc(s, func(p *Policy) bool { return p == nil || len(p.forImage(repository).CopyAttestations) == 0 })
}
