package trust

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

const (
	payloadType = "application/vnd.in-toto+json"
	// maxSignatures bounds the work that one envelope can ask for: each
	// signature costs a pass over the payload.
	maxSignatures = 16
)

// Envelope is a signed statement, DSSE in JSON:
// https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
type Envelope []byte

// Payload returns the statement's bytes. Nothing is verified.
func (e Envelope) Payload() ([]byte, error) {
	body, _, err := decodeEnvelope(e)
	return body, err
}

// Attest signs a statement. It asks the signer only, no registry.
func Attest(ctx context.Context, s Signer, st Statement) (Envelope, error) {
	body, err := st.marshal()
	if err != nil {
		return nil, fmt.Errorf("attesting %q: %w", st.PredicateType, err)
	}
	sig, err := s.Sign(ctx, pae(body))
	if err != nil {
		return nil, fmt.Errorf("attesting %q: %w", st.PredicateType, err)
	}
	return json.Marshal(dsse.Envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(body),
		Signatures:  []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}},
	})
}

// pae is what is signed of a payload: its bytes and its type.
func pae(body []byte) []byte { return dsse.PAE(payloadType, body) }

// decodeEnvelope returns what an envelope says was signed, and the signatures.
// Nothing is verified.
func decodeEnvelope(e Envelope) (body []byte, signatures [][]byte, err error) {
	var wire dsse.Envelope
	if err := json.Unmarshal(e, &wire); err != nil {
		return nil, nil, fmt.Errorf("reading an envelope: %w", err)
	}
	if wire.PayloadType != payloadType {
		return nil, nil, fmt.Errorf("reading an envelope: its payload is a %q", wire.PayloadType)
	}
	if n := len(wire.Signatures); n > maxSignatures {
		return nil, nil, fmt.Errorf("reading an envelope: it has %d signatures, more than %d", n, maxSignatures)
	}
	if n := base64.StdEncoding.DecodedLen(len(wire.Payload)); n > MaxStatement+2 { // padding counts as up to two bytes
		return nil, nil, fmt.Errorf("reading an envelope: the statement has %d bytes, more than %d", n, MaxStatement)
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
