package attach

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/imagegate/imagegate/internal/trust"
)

// Stored is one attachment of a digest, by any signer.
type Stored struct {
	// Form is Legacy or Bundle.
	Form trust.Format
	// Copied means that only the copy of the list has the attachment: another writer has
	// overwritten the list.
	Copied bool
	// Signature is nil for a statement. Then Envelope is set.
	Signature *trust.Signature
	Envelope  trust.Envelope

	annotations map[string]string // in the legacy form
}

// Unverified is unverified information about an attachment, from the attachment itself. Missing or
// unreadable values are empty.
type Unverified struct {
	// PredicateType is SignatureType for a signature in either form.
	PredicateType string
	// Digest is the SHA-256 of the signed content, "sha256:<hex>".
	Digest string
	// Signer is the signer. The fingerprint of a key is known only for bundles. Signer.At is the
	// time that the log states for its entry.
	Signer trust.SignerIdentity
}

// Unverified returns the unverified information about the attachment.
func (s Stored) Unverified() Unverified {
	c := Unverified{PredicateType: trust.SignatureType}
	body := []byte(nil)
	if s.Signature == nil {
		c.PredicateType = s.Envelope.UnverifiedType()
	}
	if s.Signature != nil && s.Signature.Statement == nil {
		body = s.Signature.Payload
	} else {
		body, _ = s.envelope().Payload()
	}
	if body != nil {
		sum := sha256.Sum256(body)
		c.Digest = digestPrefix + hex.EncodeToString(sum[:])
	}
	if s.Form == trust.Bundle {
		c.Signer = s.envelope().UnverifiedSigner()
	} else {
		c.Signer = trust.Layer{Annotations: s.annotations}.UnverifiedSigner()
	}
	return c
}

func (s Stored) envelope() trust.Envelope {
	if s.Signature != nil {
		return s.Signature.Statement
	}
	return s.Envelope
}
