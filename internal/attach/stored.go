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
	// Copied means that the attachment exists only in the backup copy of the attachment list,
	// because another writer has overwritten the list.
	Copied bool
	// Signature is set for a signature, Envelope for a statement.
	Signature *trust.Signature
	Envelope  trust.Envelope

	annotations map[string]string // the annotations of the layer; only in the legacy format
}

// Unverified is unverified information about an attachment, from the attachment itself. Missing or
// unreadable values are empty.
type Unverified struct {
	// PredicateType is the type of a statement, or SignatureType for a signature in either format.
	PredicateType string
	// Digest is the SHA-256 of the signed content, "sha256:<hex>".
	Digest string
	// Signer is the claimed signer. The fingerprint of a key is known only for bundles. Signer.At
	// is the time of the log entry.
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
