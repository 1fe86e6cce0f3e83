package trust

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// The formats of what is signed.
const (
	statementType = "https://in-toto.io/Statement/v1"
	payloadType   = "application/vnd.in-toto+json"
)

// MaxStatement bounds a statement: what is larger, registries and logs refuse.
const MaxStatement = 32 << 20

// Subject is what a statement is about.
type Subject struct {
	Name   string
	Digest v1.Hash
}

// Statement is an in-toto statement.
type Statement struct {
	PredicateType string
	Subjects      []Subject
	// Predicate is JSON, and is signed as the very bytes that it is.
	Predicate json.RawMessage
	// Payload is what was signed; Attest and VerifyEnvelope fill it in.
	Payload []byte
}

// Envelope is a signed statement, DSSE in JSON.
type Envelope []byte

// Payload returns the statement's bytes. Nothing is verified.
func (e Envelope) Payload() ([]byte, error) {
	body, _, err := decodeEnvelope(e)
	return body, err
}

// Signature is a signature over an image's digest, with the document that
// states it: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
type Signature struct {
	Payload []byte
	Base64  string
}

// SignImage signs a digest in a repository.
func SignImage(ctx context.Context, s Signer, repo name.Repository, digest v1.Hash) (Signature, error) {
	doc, err := payload.Cosign{Image: repo.Digest(digest.String())}.MarshalJSON()
	if err != nil {
		return Signature{}, err
	}
	sig, err := s.Sign(ctx, doc)
	if err != nil {
		return Signature{}, err
	}
	return Signature{Payload: doc, Base64: base64.StdEncoding.EncodeToString(sig)}, nil
}

// Attest signs a statement.
func Attest(ctx context.Context, s Signer, st Statement) (Envelope, error) {
	if st.PredicateType == "" || len(st.Subjects) == 0 || !json.Valid(st.Predicate) {
		return nil, errors.New("a statement needs a predicate type, a subject and a predicate")
	}
	body, err := st.marshal()
	if err != nil {
		return nil, err
	}
	if len(body) > MaxStatement {
		return nil, fmt.Errorf("the statement has %d bytes, more than %d", len(body), MaxStatement)
	}
	sig, err := s.Sign(ctx, pae(body))
	if err != nil {
		return nil, err
	}
	return json.Marshal(dsse.Envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(body),
		Signatures:  []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}},
	})
}

// pae is what is signed of a payload: its bytes and its type.
func pae(body []byte) []byte { return dsse.PAE(payloadType, body) }

type wireSubject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// marshal writes the statement by hand around the predicate: a round trip
// through the encoder would copy a large SBOM several times and change its
// bytes.
func (st Statement) marshal() ([]byte, error) {
	subjects := make([]wireSubject, len(st.Subjects))
	for i, s := range st.Subjects {
		subjects[i] = wireSubject{s.Name, map[string]string{s.Digest.Algorithm: s.Digest.Hex}}
	}
	about, err := json.Marshal(subjects)
	if err != nil {
		return nil, err
	}
	kind, err := json.Marshal(st.PredicateType)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	buf.Grow(len(st.Predicate) + len(about) + 256)
	fmt.Fprintf(&buf, `{"_type":%q,"subject":%s,"predicateType":%s,"predicate":`, statementType, about, kind)
	buf.Write(st.Predicate)
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

// parseStatement reads a payload strictly.
func parseStatement(body []byte) (Statement, error) {
	var wire struct {
		Type          string          `json:"_type"`
		Subject       []wireSubject   `json:"subject"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&wire); err != nil {
		return Statement{}, fmt.Errorf("reading a statement: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Statement{}, errors.New("reading a statement: there is more behind it")
	}
	// Version 0.1 differs in nothing that is used here, and cosign writes it.
	if wire.Type != statementType && wire.Type != "https://in-toto.io/Statement/v0.1" {
		return Statement{}, fmt.Errorf("reading a statement: its type is %q", wire.Type)
	}
	st := Statement{PredicateType: wire.PredicateType, Predicate: wire.Predicate, Payload: body}
	for _, s := range wire.Subject {
		if hex, ok := s.Digest["sha256"]; ok {
			st.Subjects = append(st.Subjects, Subject{s.Name, v1.Hash{Algorithm: "sha256", Hex: hex}})
		}
	}
	if st.PredicateType == "" || len(st.Subjects) == 0 || len(st.Predicate) == 0 {
		return Statement{}, errors.New("reading a statement: it lacks a predicate type, a subject or a predicate")
	}
	return st, nil
}

// about reports whether the statement has the digest among its subjects.
func (st Statement) about(digest v1.Hash) bool {
	return slices.ContainsFunc(st.Subjects, func(s Subject) bool { return s.Digest == digest })
}

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
