package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/digitorus/timestamp"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"
)

// The two signature formats have different timestamps. In a bundle, a timestamp covers the
// signature. In the legacy format, the timestamp of a statement covers the whole stored envelope,
// because cosign stores the signature of a statement in the envelope and not in an annotation. An
// Envelope for the legacy format has both kinds of timestamps. Storing it in one format removes the
// timestamps of the other format.

// timestampEnvelope adds timestamps over the stored envelope to a bundle, for the legacy format.
func (s *Signer) timestampEnvelope(ctx context.Context, e Envelope) (Envelope, error) {
	if len(s.services.TimestampAuthorities) == 0 {
		return e, nil
	}
	stored, err := e.DSSE()
	if err != nil {
		return nil, err
	}
	var b protobundle.Bundle
	if err := protojson.Unmarshal(e, &b); err != nil {
		return nil, fmt.Errorf("reading a bundle: %w", err)
	}
	before := len(b.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps())
	if err := s.timestamp(ctx, &b, stored); err != nil {
		return nil, err
	}
	for _, raw := range b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps[before:] {
		if err := s.services.Root.verifyTimestamp(raw.GetSignedTimestamp(), stored); err != nil {
			return nil, fmt.Errorf("verifying the responses of the Sigstore services: %w", err)
		}
	}
	return encodeBundle(&b)
}

// verifyTimestamp verifies that raw is a timestamp over message by an authority in the root.
func (r *Root) verifyTimestamp(raw, message []byte) error {
	err := errors.New("the trusted root has no timestamp authority")
	for _, authority := range r.material.TimestampingAuthorities() {
		if _, err = authority.Verify(raw, message); err == nil {
			return nil
		}
	}
	return err
}

// timestampOver returns the first timestamp over message, or nil if timestamps has none.
func timestampOver(timestamps []*protocommon.RFC3161SignedTimestamp, message []byte) []byte {
	for _, s := range timestamps {
		if isTimestampOver(s.GetSignedTimestamp(), message) {
			return s.GetSignedTimestamp()
		}
	}
	return nil
}

func isTimestampOver(raw, message []byte) bool {
	parsed, err := timestamp.ParseResponse(raw)
	if err != nil || !parsed.HashAlgorithm.Available() {
		return false
	}
	h := parsed.HashAlgorithm.New()
	h.Write(message)
	return bytes.Equal(h.Sum(nil), parsed.HashedMessage)
}

// withoutEnvelopeTimestamps returns the bundle without the timestamps over its stored envelope.
func (e Envelope) withoutEnvelopeTimestamps() (Envelope, error) {
	stored, err := e.DSSE()
	if err != nil {
		return nil, err
	}
	var b protobundle.Bundle
	if err := protojson.Unmarshal(e, &b); err != nil {
		return nil, fmt.Errorf("reading a bundle: %w", err)
	}
	data := b.GetVerificationMaterial().GetTimestampVerificationData()
	var kept []*protocommon.RFC3161SignedTimestamp
	for _, s := range data.GetRfc3161Timestamps() {
		if !isTimestampOver(s.GetSignedTimestamp(), stored) {
			kept = append(kept, s)
		}
	}
	if len(kept) == len(data.GetRfc3161Timestamps()) {
		return e, nil
	}
	data.Rfc3161Timestamps = kept
	return encodeBundle(&b)
}

// legacyRoot is a trusted root that also accepts timestamps over the stored envelope. The envelope
// contains the signature, so such a timestamp proves that the signature existed at that time.
type legacyRoot struct {
	root.TrustedMaterial
	stored []byte
}

func (m legacyRoot) TimestampingAuthorities() []root.TimestampingAuthority {
	var out []root.TimestampingAuthority
	for _, a := range m.TrustedMaterial.TimestampingAuthorities() {
		out = append(out, legacyAuthority{a, m.stored})
	}
	return out
}

type legacyAuthority struct {
	root.TimestampingAuthority
	stored []byte
}

func (a legacyAuthority) Verify(raw, sig []byte) (*root.Timestamp, error) {
	at, err := a.TimestampingAuthority.Verify(raw, sig)
	if err != nil {
		at, err = a.TimestampingAuthority.Verify(raw, a.stored)
	}
	return at, err
}
