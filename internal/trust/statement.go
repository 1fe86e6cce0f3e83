package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// These are the statement types that imagegate reads. imagegate writes the first one, cosign the
// second. The fields that this package uses are the same in both.
const (
	statementType    = "https://in-toto.io/Statement/v1"
	oldStatementType = "https://in-toto.io/Statement/v0.1"
)

// MaxStatement is the maximum size of a statement in bytes. Registries and logs refuse larger ones.
const MaxStatement = 32 << 20

// Subject is an artifact that a statement is about.
type Subject struct {
	Name   string
	Digest v1.Hash // the SHA-256 digest of the artifact
}

// Statement is an in-toto statement:
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
type Statement struct {
	PredicateType string
	Subjects      []Subject
	// Predicate is a JSON object. Exactly these bytes are signed.
	Predicate json.RawMessage
	// Payload is the signed content. VerifyEnvelope sets it; Attest ignores it.
	Payload []byte
}

type wireSubject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// readSubject is a subject in a statement by any program. Fields other than name and digest are
// accepted and ignored; for example, "cosign sign -a" writes annotations:
// https://github.com/in-toto/attestation/blob/main/spec/v1/resource_descriptor.md
type readSubject struct {
	wireSubject
	URI              json.RawMessage `json:"uri"`
	Content          json.RawMessage `json:"content"`
	DownloadLocation json.RawMessage `json:"downloadLocation"`
	MediaType        json.RawMessage `json:"mediaType"`
	Annotations      json.RawMessage `json:"annotations"`
}

// marshal encodes the statement. It does not use the JSON encoder for the whole statement, because
// the encoder would copy a large SBOM several times and change its bytes.
func (st Statement) marshal() ([]byte, error) {
	if err := st.check(); err != nil {
		return nil, err
	}
	head, err := st.head()
	if err != nil {
		return nil, err
	}
	body := slices.Concat(head, st.Predicate, []byte("}"))
	if len(body) > MaxStatement {
		return nil, fmt.Errorf("the statement has %d bytes, the limit is %d", len(body), MaxStatement)
	}
	return body, nil
}

// head returns the JSON of the statement up to the predicate: the type, the subjects and the
// predicate type.
func (st Statement) head() ([]byte, error) {
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
	return fmt.Appendf(nil, `{"_type":%q,"subject":%s,"predicateType":%s%s`, statementType, about, kind, beforePredicate), nil
}

// beforePredicate is the end of the head of a statement. It contains quotes, which JSON strings
// escape. So its first occurrence in a statement is the end of the head.
const beforePredicate = `,"predicate":`

// check rejects a statement that readers would refuse.
func (st Statement) check() error {
	switch {
	case st.PredicateType == "":
		return errors.New("the statement has no predicate type")
	case len(st.Subjects) == 0:
		return errors.New("the statement has no subject")
	case len(st.Predicate) > MaxStatement:
		return fmt.Errorf("the predicate has %d bytes, the limit is %d", len(st.Predicate), MaxStatement)
	case !bytes.HasPrefix(bytes.TrimLeft(st.Predicate, " \t\r\n"), []byte("{")) || !json.Valid(st.Predicate):
		return errors.New("the predicate is not a JSON object")
	}
	for _, s := range st.Subjects {
		if h, err := v1.NewHash(s.Digest.String()); err != nil || h.Algorithm != "sha256" {
			return fmt.Errorf("the digest of subject %q is not a SHA-256 digest: %q", s.Name, s.Digest)
		}
	}
	return nil
}

// parseStatement parses a payload. Unknown fields and data after the statement are errors.
func parseStatement(body []byte) (Statement, error) {
	if st, ok := parseOwn(body); ok {
		return st, nil
	}
	return parseAny(body)
}

// parseOwn parses a statement in the encoding that marshal writes. It is a fast path for predicates
// of several megabytes: it reads the predicate once, while the JSON decoder reads it three times.
func parseOwn(body []byte) (Statement, bool) {
	head, predicate, ok := bytes.Cut(body, []byte(beforePredicate))
	if !ok {
		return Statement{}, false
	}
	head = body[:len(head)+len(beforePredicate)]
	predicate, ok = bytes.CutSuffix(predicate, []byte("}"))
	if !ok || !bytes.HasPrefix(predicate, []byte("{")) || !bytes.HasSuffix(predicate, []byte("}")) || !json.Valid(predicate) {
		return Statement{}, false
	}
	st, err := parseAny(slices.Concat(head, []byte("{}}")))
	if err != nil {
		return Statement{}, false
	}
	// If the head had other content, such as a second predicate, its encoding would differ from the
	// original.
	if again, err := st.head(); err != nil || !bytes.Equal(again, head) {
		return Statement{}, false
	}
	st.Predicate, st.Payload = predicate, body
	return st, true
}

// parseAny parses a statement in any JSON encoding.
func parseAny(body []byte) (Statement, error) {
	var wire struct {
		Type          string          `json:"_type"`
		Subject       []readSubject   `json:"subject"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&wire); err != nil {
		return Statement{}, fmt.Errorf("reading a statement: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Statement{}, errors.New("reading a statement: unexpected data after the statement")
	}
	if wire.Type != statementType && wire.Type != oldStatementType {
		return Statement{}, fmt.Errorf("reading a statement: unexpected type %q", wire.Type)
	}
	st := Statement{PredicateType: wire.PredicateType, Predicate: wire.Predicate, Payload: body}
	for _, s := range wire.Subject {
		if hex, ok := s.Digest["sha256"]; ok {
			st.Subjects = append(st.Subjects, Subject{s.Name, v1.Hash{Algorithm: "sha256", Hex: hex}})
		}
	}
	// cosign omits the predicate of a signature statement.
	empty := len(st.Predicate) == 0 && st.PredicateType != SignatureType
	if st.PredicateType == "" || len(st.Subjects) == 0 || empty {
		return Statement{}, errors.New("reading a statement: the predicate type, subject or predicate is missing")
	}
	return st, nil
}

// about reports whether the digest is among the subjects of the statement.
func (st Statement) about(digest v1.Hash) bool {
	return slices.ContainsFunc(st.Subjects, func(s Subject) bool { return s.Digest == digest })
}
