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

// UnverifiedSigner returns the signer that a bundle claims, unverified. At is the time of the log
// entry. Missing or unreadable values are empty.
func (e Envelope) UnverifiedSigner() SignerIdentity {
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
		by = certificateSigner(der)
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

// UnverifiedSigner returns the signer that the annotations of the layer claim, unverified. The
// result is the identity in the certificate, because the annotations never contain a key. At is the
// time of the log entry.
func (l Layer) UnverifiedSigner() SignerIdentity {
	var by SignerIdentity
	if block, _ := pem.Decode([]byte(l.Annotations[certificateAnnotation])); block != nil {
		by = certificateSigner(block.Bytes)
	}
	var logged legacyEntry
	if json.Unmarshal([]byte(l.Annotations[logAnnotation]), &logged) == nil && logged.Payload.IntegratedTime > 0 {
		by.At = time.Unix(logged.Payload.IntegratedTime, 0).UTC()
	}
	return by
}

func certificateSigner(der []byte) SignerIdentity {
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

// UnverifiedType returns the unverified predicate type of the statement, or "" if it is unreadable.
func (e Envelope) UnverifiedType() string {
	body, err := e.Payload()
	if err != nil {
		return ""
	}
	var st struct {
		PredicateType string `json:"predicateType"`
	}
	if json.Unmarshal(body, &st) != nil {
		return ""
	}
	return st.PredicateType
}
