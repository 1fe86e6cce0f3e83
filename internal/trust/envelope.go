package trust

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore-go/pkg/sign"
)

const (
	payloadType = "application/vnd.in-toto+json"
	// maxSignatures limits the number of signatures in one envelope, because verifying a signature
	// reads the whole payload.
	maxSignatures = 16
)

// Envelope is a signed statement in JSON: a DSSE envelope, or a Sigstore bundle with an envelope.
// https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
// https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
type Envelope []byte

// Payload returns the bytes of the statement, without verifying a signature.
func (e Envelope) Payload() ([]byte, error) {
	wire, err := parseEnvelope(e)
	if err != nil {
		return nil, err
	}
	body, _, err := wire.decode()
	return body, err
}

// DSSE returns the envelope without its bundle, for readers that do not support bundles. It does
// not verify a signature.
func (e Envelope) DSSE() ([]byte, error) {
	wire, err := parseEnvelope(e)
	if err != nil {
		return nil, err
	}
	if wire.MediaType == "" {
		return slices.Clone(e), nil
	}
	return json.Marshal(wire.Envelope)
}

// Attest signs a statement for storage in the signature format f. It sends requests to the signer
// and its services, but not to a registry.
func Attest(ctx context.Context, s *Signer, f Format, st Statement) (Envelope, error) {
	body, err := st.marshal()
	if err != nil {
		return nil, fmt.Errorf("attesting %q: %w", st.PredicateType, err)
	}
	if !s.isPlain() {
		b, err := s.signBundle(ctx, &sign.DSSEData{Data: body, PayloadType: payloadType})
		if err != nil {
			return nil, fmt.Errorf("attesting %q: %w", st.PredicateType, err)
		}
		env, err := encodeBundle(b)
		if err == nil && f.HasLegacy() {
			env, err = s.timestampEnvelope(ctx, env)
		}
		if err != nil {
			return nil, fmt.Errorf("attesting %q: %w", st.PredicateType, err)
		}
		return env, nil
	}
	sig, err := s.key.Sign(ctx, pae(body))
	if err != nil {
		return nil, fmt.Errorf("attesting %q: %w", st.PredicateType, err)
	}
	return json.Marshal(dsse.Envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(body),
		Signatures:  []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}},
	})
}

// pae returns DSSE's pre-authentication encoding, the bytes that are signed: the type and the
// content of the payload.
func pae(body []byte) []byte { return dsse.PAE(payloadType, body) }

// wireEnvelope is a parsed Envelope. MediaType is the media type of the bundle, or empty for a
// plain envelope.
type wireEnvelope struct {
	dsse.Envelope
	MediaType string `json:"mediaType"`
	Material  struct {
		Certificate json.RawMessage `json:"certificate"`
		Chain       json.RawMessage `json:"x509CertificateChain"`
	} `json:"verificationMaterial"`
}

// isCertified reports whether an identity, not a key, signed the envelope.
func (wire wireEnvelope) isCertified() bool {
	return wire.Material.Certificate != nil || wire.Material.Chain != nil
}

func parseEnvelope(e Envelope) (wireEnvelope, error) {
	if plain, ok := parsePlain(e); ok {
		return wireEnvelope{Envelope: plain}, nil
	}
	return parseWire(e)
}

// parseWire parses an envelope, or a bundle with exactly one envelope and one signature, in any
// JSON encoding.
func parseWire(e Envelope) (wireEnvelope, error) {
	var wire struct {
		wireEnvelope
		Inner   *dsse.Envelope  `json:"dsseEnvelope"`
		Message json.RawMessage `json:"messageSignature"`
	}
	if err := json.Unmarshal(e, &wire); err != nil {
		return wireEnvelope{}, fmt.Errorf("reading an envelope: %w", err)
	}
	if wire.MediaType == "" {
		if wire.Inner != nil {
			return wireEnvelope{}, errors.New("reading an envelope: the bundle has no media type")
		}
		return wire.wireEnvelope, nil
	}
	switch {
	case !IsBundle(wire.MediaType):
		return wireEnvelope{}, fmt.Errorf("reading an envelope: unexpected media type %q", wire.MediaType)
	case wire.Inner == nil || wire.Message != nil || wire.Envelope.Payload != "" || len(wire.Envelope.Signatures) > 0:
		return wireEnvelope{}, errors.New("reading an envelope: the bundle does not contain exactly one statement")
	case len(wire.Inner.Signatures) != 1:
		return wireEnvelope{}, fmt.Errorf("reading an envelope: the bundle has %d signatures, expected one", len(wire.Inner.Signatures))
	}
	wire.Envelope = *wire.Inner
	return wire.wireEnvelope, nil
}

// plainStart is the beginning of a DSSE envelope with a statement, as imagegate and cosign write
// it.
const plainStart = `{"payloadType":"` + payloadType + `","payload":"`

// parsePlain parses an envelope that is byte for byte the output of Go's JSON encoder. It is a fast
// path for payloads of several megabytes, because the JSON decoder reads each byte three times.
func parsePlain(e Envelope) (dsse.Envelope, bool) {
	rest, ok := bytes.CutPrefix(e, []byte(plainStart))
	if !ok {
		return dsse.Envelope{}, false
	}
	payload, rest, ok := bytes.Cut(rest, []byte(`"`))
	if !ok || len(rest) > maxPlainEnd || !isBase64(payload) {
		return dsse.Envelope{}, false
	}
	emptied := slices.Concat([]byte(plainStart), []byte(`"`), rest)
	var out dsse.Envelope
	if json.Unmarshal(emptied, &out) != nil {
		return dsse.Envelope{}, false
	}
	// If the envelope had another meaning, for example because of a second payload field, its
	// encoding would differ from the original.
	if again, err := json.Marshal(out); err != nil || !bytes.Equal(again, emptied) {
		return dsse.Envelope{}, false
	}
	out.Payload = string(payload)
	return out, true
}

// maxPlainEnd is the maximum number of bytes after the payload of a plain envelope. These bytes
// contain the signatures.
const maxPlainEnd = 64 << 10

// isBase64 reports whether all bytes are in base64's standard alphabet or padding. JSON strings do
// not escape these bytes.
func isBase64(b []byte) bool {
	for _, c := range b {
		if !base64Bytes[c] {
			return false
		}
	}
	return true
}

var base64Bytes = func() (all [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") {
		all[c] = true
	}
	return all
}()

// decode returns the payload and the signatures of an envelope, without verifying them.
func (wire wireEnvelope) decode() (body []byte, signatures [][]byte, err error) {
	if wire.PayloadType != payloadType {
		return nil, nil, fmt.Errorf("reading an envelope: unexpected payload type %q", wire.PayloadType)
	}
	if n := len(wire.Signatures); n > maxSignatures {
		return nil, nil, fmt.Errorf("reading an envelope: found %d signatures, the limit is %d", n, maxSignatures)
	}
	if n := base64.StdEncoding.DecodedLen(len(wire.Payload)); n > MaxStatement+2 { // base64 padding counts as up to two bytes
		return nil, nil, fmt.Errorf("reading an envelope: the statement has %d bytes, the limit is %d", n, MaxStatement)
	}
	if body, err = base64.StdEncoding.DecodeString(wire.Payload); err != nil {
		return nil, nil, fmt.Errorf("reading an envelope: %w", err)
	}
	for _, s := range wire.Signatures {
		sig, err := base64.StdEncoding.DecodeString(s.Sig)
		if err != nil {
			return nil, nil, fmt.Errorf("reading an envelope: %w", err)
		}
		signatures = append(signatures, sig)
	}
	return body, signatures, nil
}
