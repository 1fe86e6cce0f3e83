package evidence

import "fmt"

// Attestation is a verified signature or statement about the image in the staging registry.
type Attestation struct {
	// Digest is the SHA-256 of the signed content, "sha256:<hex>".
	Digest string `json:"digest"`
	// Subject is the digest of the image or platform that the attestation is about.
	Subject string `json:"subject"`
	// PredicateType is the type of a statement. It is empty for a signature.
	PredicateType string `json:"predicateType,omitempty"`
	Signer        Signer `json:"signer"`
	// Provenance is the content of a SLSA provenance statement, or nil.
	Provenance *Provenance `json:"provenance,omitempty"`
}

// Provenance is the origin that a provenance statement gives for an image.
type Provenance struct {
	Builder string `json:"builder,omitempty"`
	// Source is the URL of the source repository, and Revision the revision that was built. Each is
	// empty if the statement does not name it.
	Source   string `json:"source,omitempty"`
	Revision string `json:"revision,omitempty"`
}

// Signer is a verified signer.
type Signer struct {
	// Key is the fingerprint of the key, "sha256:<hex>" of its DER form (SubjectPublicKeyInfo). It
	// is empty for an identity.
	Key string `json:"key,omitempty"`
	// Issuer and Subject come from the certificate. They are empty for a key.
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
}

// String returns the key's fingerprint, or the subject and its issuer.
func (s *Signer) String() string {
	switch {
	case s == nil:
		return ""
	case s.Key != "":
		return "key " + s.Key
	}
	return fmt.Sprintf("%s (%s)", s.Subject, s.Issuer)
}
