package trust

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestStatementIsTheseBytes: what is signed must not depend on who encodes it.
func TestStatementIsTheseBytes(t *testing.T) {
	st := Statement{PredicateType: "https://example.com/<x>", Predicate: json.RawMessage("{\"b\":1,\n \"a\":\"<\"}"), Payload: []byte("ignored"),
		Subjects: []Subject{{Name: `a"b`, Digest: digestOf("a")}, {Digest: digestOf("b")}}}
	got, err := st.marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a\"b","digest":{"sha256":"` + strings.Repeat("a", 64) +
		`"}},{"name":"","digest":{"sha256":"` + strings.Repeat("b", 64) + `"}}],"predicateType":"https://example.com/\u003cx\u003e","predicate":{"b":1,` +
		"\n" + ` "a":"<"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestIncompleteStatementIsNotSigned(t *testing.T) {
	s := newSigner(t)
	about := []Subject{{Name: "x", Digest: digestOf("a")}}
	for what, st := range map[string]Statement{
		"zero":           {},
		"no type":        {Subjects: about, Predicate: json.RawMessage("{}")},
		"no subject":     {PredicateType: "x", Predicate: json.RawMessage("{}")},
		"no predicate":   {PredicateType: "x", Subjects: about},
		"null":           {PredicateType: "x", Subjects: about, Predicate: json.RawMessage("null")},
		"text":           {PredicateType: "x", Subjects: about, Predicate: json.RawMessage(`"{}"`)},
		"not JSON":       {PredicateType: "x", Subjects: about, Predicate: json.RawMessage("{")},
		"breaking out":   {PredicateType: "x", Subjects: about, Predicate: json.RawMessage(`{},"subject":[]`)},
		"no digest":      {PredicateType: "x", Subjects: []Subject{{Name: "x"}}, Predicate: json.RawMessage("{}")},
		"another digest": {PredicateType: "x", Subjects: []Subject{{Digest: v1.Hash{Algorithm: "sha512", Hex: strings.Repeat("a", 128)}}}, Predicate: json.RawMessage("{}")},
		"short digest":   {PredicateType: "x", Subjects: []Subject{{Digest: v1.Hash{Algorithm: "sha256", Hex: "aa"}}}, Predicate: json.RawMessage("{}")},
		"too large":      {PredicateType: "x", Subjects: about, Predicate: json.RawMessage(`{"x":"` + strings.Repeat("x", MaxStatement) + `"}`)},
		"just too large": {PredicateType: "x", Subjects: about, Predicate: json.RawMessage(`{"x":"` + strings.Repeat("x", MaxStatement-64) + `"}`)},
	} {
		env, err := Attest(t.Context(), s, Both, st)
		if err == nil || env != nil {
			t.Errorf("%s: signed", what)
			continue
		}
		if large := strings.Contains(what, "too large"); strings.Contains(err.Error(), "more than 33554432") != large {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestStatementIsBoundToItsSubjects(t *testing.T) {
	s := newSigner(t)
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	predicate := `{"z": 1,  "a": "<&>", "n": 12345678901234567890}`
	env := attest(t, s, "https://example.com/x", predicate, digestOf("a"), digestOf("b"))
	for _, d := range []v1.Hash{digestOf("a"), digestOf("b")} {
		st, by, err := tr.VerifyEnvelope(env, d)
		if err != nil || by.String() != Fingerprint(s.PublicKey()) || st.PredicateType != "https://example.com/x" || string(st.Predicate) != predicate {
			t.Errorf("%s: %s, %v", d, st.Predicate, err)
		}
	}
	if _, _, err := tr.VerifyEnvelope(env, digestOf("c")); err == nil {
		t.Error("another subject is accepted")
	}
	edit := func(change func(map[string]any)) Envelope {
		var m map[string]any
		if err := json.Unmarshal(env, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	body, err := env.Payload()
	if err != nil {
		t.Fatal(err)
	}
	for what, e := range map[string]Envelope{
		"another payload": edit(func(m map[string]any) {
			m["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(body, []byte(`"z": 1`), []byte(`"z": 2`), 1))
		}),
		"another payload type": edit(func(m map[string]any) { m["payloadType"] = "text/plain" }),
		"no signatures":        edit(func(m map[string]any) { m["signatures"] = []any{} }),
		"not JSON":             Envelope("{"),
		"empty":                nil,
	} {
		if _, _, err := tr.VerifyEnvelope(e, digestOf("a")); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func TestSignedNonsenseIsNotAStatement(t *testing.T) {
	s := newSigner(t)
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	subject := `[{"name":"x","digest":{"sha256":"` + strings.Repeat("a", 64) + `"}}]`
	for what, body := range map[string]string{
		"another type":  `{"_type":"https://example.com/Statement","subject":` + subject + `,"predicateType":"x","predicate":{}}`,
		"no subject":    `{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x","predicate":{}}`,
		"no type":       `{"_type":"https://in-toto.io/Statement/v1","subject":` + subject + `,"predicate":{}}`,
		"unknown field": `{"_type":"https://in-toto.io/Statement/v1","subject":` + subject + `,"predicateType":"x","predicate":{},"extra":1}`,
		"other digest":  `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha512":"` + strings.Repeat("a", 64) + `"}}],"predicateType":"x","predicate":{}}`,
		"no predicate":  `{"_type":"https://in-toto.io/Statement/v1","subject":` + subject + `,"predicateType":"x"}`,
		"two documents": `{"_type":"https://in-toto.io/Statement/v1","subject":` + subject + `,"predicateType":"x","predicate":{}}{}`,
	} {
		if _, _, err := tr.VerifyEnvelope(envelopeOver(t, body, s), digestOf("a")); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func TestOlderStatementIsRead(t *testing.T) {
	s := newSigner(t)
	body := strings.Replace(statementOver("{}"), "Statement/v1", "Statement/v0.1", 1)
	if _, _, err := (Trust{Keys: []crypto.PublicKey{s.PublicKey()}}).VerifyEnvelope(envelopeOver(t, body, s), digestOf("a")); err != nil {
		t.Error(err)
	}
}

// TestEndlessSignaturesAreNotTried: each would cost a pass over the payload.
func TestEndlessSignaturesAreNotTried(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	signers := make([]*Signer, maxSignatures)
	for i := range signers {
		signers[i] = other
	}
	signers[maxSignatures-1] = s
	if _, _, err := tr.VerifyEnvelope(envelopeOver(t, statementOver("{}"), signers...), digestOf("a")); err != nil {
		t.Errorf("one of %d: %v", maxSignatures, err)
	}
	signers = append(signers, s)
	if _, _, err := tr.VerifyEnvelope(envelopeOver(t, statementOver("{}"), signers...), digestOf("a")); err == nil {
		t.Errorf("one of %d is accepted", len(signers))
	}
}

func TestLargeStatementIsNotRead(t *testing.T) {
	s := newSigner(t)
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	frame := len(statementOver(`{"x":""}`))
	for size, ok := range map[int]bool{MaxStatement - 1: true, MaxStatement: true, MaxStatement + 3: false} {
		body := statementOver(`{"x":"` + strings.Repeat("x", size-frame) + `"}`)
		if _, _, err := tr.VerifyEnvelope(envelopeOver(t, body, s), digestOf("a")); (err == nil) != ok {
			t.Errorf("%d bytes: %v", len(body), err)
		}
	}
}

// FuzzUnsignedEnvelopeIsNotAccepted: no bytes are accepted for a key that has
// signed none.
func FuzzUnsignedEnvelopeIsNotAccepted(f *testing.F) {
	s, other := newSigner(f), newSigner(f)
	f.Add([]byte(nil))
	f.Add([]byte(envelopeOver(f, statementOver("{}"), other)))
	f.Add([]byte(envelopeOver(f, statementOver("{}"))))
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[{"sig":""}]}`))
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"!","signatures":null}`))
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	f.Fuzz(func(t *testing.T, data []byte) {
		if st, by, err := tr.VerifyEnvelope(data, digestOf("a")); err == nil || by != (Signatory{}) || st.Payload != nil {
			t.Errorf("%+v by %s, %v", st, by, err)
		}
	})
}
