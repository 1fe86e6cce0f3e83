package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"google.golang.org/protobuf/encoding/protojson"
)

// Stored is one attachment of a digest, by any signer.
type Stored struct {
	// Form is Legacy or Bundle.
	Form Format
	// Copied means that only the copy of the list has the attachment: another writer has
	// overwritten the list.
	Copied bool
	// Signature is nil for a statement. Then Envelope is set.
	Signature *Signature
	Envelope  Envelope

	annotations map[string]string // in the legacy form
}

// Claim is unverified information about an attachment, from the attachment itself. Missing or
// unreadable values are empty.
type Claim struct {
	// PredicateType is SignatureType for a signature in either form.
	PredicateType string
	// Digest is the SHA-256 of the signed content, "sha256:<hex>".
	Digest string
	// By is the signer. The fingerprint of a key is known only for bundles. By.At is the time that
	// the log states for its entry.
	By SignerIdentity
}

// Claim returns the unverified information about the attachment.
func (s Stored) Claim() Claim {
	c := Claim{PredicateType: SignatureType}
	body := []byte(nil)
	if s.Signature == nil {
		c.PredicateType = s.Envelope.predicateType()
	}
	if s.Signature != nil && s.Signature.Statement == nil {
		body = s.Signature.Payload
	} else {
		body, _ = s.envelope().Payload()
	}
	if body != nil {
		sum := sha256.Sum256(body)
		c.Digest = fingerprintPrefix + hex.EncodeToString(sum[:])
	}
	if s.Form == Bundle {
		c.By = bundleClaim(s.envelope())
	} else {
		c.By = annotationClaim(s.annotations)
	}
	return c
}

func (s Stored) envelope() Envelope {
	if s.Signature != nil {
		return s.Signature.Statement
	}
	return s.Envelope
}

func bundleClaim(e Envelope) SignerIdentity {
	var b protobundle.Bundle
	if (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(e, &b) != nil {
		return SignerIdentity{}
	}
	var by SignerIdentity
	m := b.GetVerificationMaterial()
	der := m.GetCertificate().GetRawBytes()
	if chain := m.GetX509CertificateChain().GetCertificates(); len(chain) > 0 {
		der = chain[0].GetRawBytes()
	}
	if der != nil {
		by = certificateClaim(der)
	} else if sum, err := base64.StdEncoding.DecodeString(m.GetPublicKey().GetHint()); err == nil && len(sum) == sha256.Size {
		by.Key = fingerprintPrefix + hex.EncodeToString(sum)
	}
	for _, e := range m.GetTlogEntries() {
		if at := e.GetIntegratedTime(); at > 0 {
			by.At = time.Unix(at, 0).UTC()
		}
	}
	return by
}

func annotationClaim(annotations map[string]string) SignerIdentity {
	var by SignerIdentity
	if block, _ := pem.Decode([]byte(annotations[certificateAnnotation])); block != nil {
		by = certificateClaim(block.Bytes)
	}
	var logged legacyEntry
	if json.Unmarshal([]byte(annotations[logAnnotation]), &logged) == nil && logged.Payload.IntegratedTime > 0 {
		by.At = time.Unix(logged.Payload.IntegratedTime, 0).UTC()
	}
	return by
}

func certificateClaim(der []byte) SignerIdentity {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return SignerIdentity{}
	}
	summary, err := certificate.SummarizeCertificate(cert)
	if err != nil {
		return SignerIdentity{}
	}
	return SignerIdentity{Issuer: summary.Issuer, Subject: summary.SubjectAlternativeName}
}
