package trust

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestEncodingOfAStatement checks that the encoding of a statement has not changed, because the
// digest of a statement identifies it.
func TestEncodingOfAStatement(t *testing.T) {
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
		if large := strings.Contains(what, "too large"); strings.Contains(err.Error(), "the limit is 33554432") != large {
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

func TestInvalidStatementIsRefused(t *testing.T) {
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

// TestNumberOfSignaturesIsLimited checks that an envelope with too many signatures is refused,
// because verifying each signature reads the whole payload.
func TestNumberOfSignaturesIsLimited(t *testing.T) {
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

// FuzzUnsignedEnvelopeIsNotAccepted checks that no input is accepted, because the trusted key has
// not signed anything.
func FuzzUnsignedEnvelopeIsNotAccepted(f *testing.F) {
	s, other := newSigner(f), newSigner(f)
	f.Add([]byte(nil))
	f.Add([]byte(envelopeOver(f, statementOver("{}"), other)))
	f.Add([]byte(envelopeOver(f, statementOver("{}"))))
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[{"sig":""}]}`))
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"!","signatures":null}`))
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	f.Fuzz(func(t *testing.T, data []byte) {
		if st, by, err := tr.VerifyEnvelope(data, digestOf("a")); err == nil || by != (SignerIdentity{}) || st.Payload != nil {
			t.Errorf("%+v by %s, %v", st, by, err)
		}
	})
}

// TestFastPathForStatementsAgreesWithTheDecoder checks that the fast path and the JSON decoder
// parse the same subjects and predicate.
func TestFastPathForStatementsAgreesWithTheDecoder(t *testing.T) {
	const subject = `[{"name":"x","digest":{"sha256":"aa"}}]`
	statement := func(subject, predicate string) string {
		return `{"_type":"` + statementType + `","subject":` + subject + `,"predicateType":"p","predicate":` + predicate + `}`
	}
	for name, c := range map[string]struct {
		body  string
		short bool
	}{
		"ours":                     {statement(subject, `{"a":[1,{"b":"}"}]}`), true},
		"spaces within":            {statement(subject, "{ \"a\": 1,\n\"b\": 2 }"), true},
		"the same twice":           {statement(subject, `{"x":1,"predicate":{}}`), true},
		"two subjects":             {statement(`[{"name":"x","digest":{"sha256":"aa"}},{"name":"","digest":{"sha256":"bb"}}]`, "{}"), true},
		"a name with quotes":       {statement(`[{"name":"x\",\"predicate\":{","digest":{"sha256":"aa"}}]`, "{}"), true},
		"old":                      {strings.Replace(statement(subject, "{}"), statementType, oldStatementType, 1), false},
		"another type":             {strings.Replace(statement(subject, "{}"), statementType, "x", 1), false},
		"an additional digest":     {statement(`[{"name":"x","digest":{"sha256":"aa","sha512":"bb"}}]`, "{}"), false},
		"no digest":                {statement(`[{"name":"x","digest":{}}]`, "{}"), false},
		"no subject":               {statement(`[]`, "{}"), false},
		"a subject with more":      {statement(`[{"name":"x","digest":{"sha256":"aa"},"annotations":{"a":1,"predicate":2}}]`, "{}"), false},
		"a second predicate":       {statement(subject, `{},"predicate":{"a":1}`), false},
		"a second subject list":    {statement(subject, `{},"subject":[{"name":"y","digest":{"sha256":"bb"}}]`), false},
		"a second type before":     {strings.Replace(statement(subject, "{}"), `,"predicateType"`, `,"predicateType":"q","predicateType"`, 1), false},
		"in other letters":         {strings.Replace(statement(subject, "{}"), `"predicateType"`, `"PredicateType"`, 1), false},
		"something unknown":        {statement(subject, `{},"x":1`), false},
		"spaces before":            {" " + statement(subject, "{}"), false},
		"spaces behind":            {statement(subject, "{}") + "\n", false},
		"spaces before predicate":  {statement(subject, " {}"), false},
		"spaces behind predicate":  {statement(subject, "{} "), false},
		"a list":                   {statement(subject, "[]"), false},
		"null":                     {statement(subject, "null"), false},
		"not JSON":                 {statement(subject, `{"a":}`), false},
		"two":                      {statement(subject, "{}") + statement(subject, "{}"), false},
		"cut off":                  {strings.TrimSuffix(statement(subject, `{"a":1}`), "}"), false},
		"another order":            {`{"predicate":{},"_type":"` + statementType + `","subject":` + subject + `,"predicateType":"p"}`, false},
		"no predicate":             {`{"_type":"` + statementType + `","subject":` + subject + `,"predicateType":"p"}`, false},
		"no UTF-8":                 {statement("[{\"name\":\"\xff\",\"digest\":{\"sha256\":\"aa\"}}]", "{}"), false},
		"nothing":                  {"", false},
		"no UTF-8 in its document": {statement(subject, "{\"a\":\"\xff\"}"), true},
	} {
		short, ok := parseOwn([]byte(c.body))
		if ok != c.short {
			t.Errorf("%s: read the short way: %t", name, ok)
		}
		want, err := parseAny([]byte(c.body))
		if ok && (err != nil || !reflect.DeepEqual(short, want)) {
			t.Errorf("%s: got %+v, want %+v, %v", name, short, want, err)
		}
		got, gerr := parseStatement([]byte(c.body))
		if !reflect.DeepEqual(got, want) || (gerr == nil) != (err == nil) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", name, got, gerr, want, err)
		}
	}
}

// FuzzFastPathsAgreeWithTheDecoder checks that the fast paths for statements and for envelopes give
// the same results as the JSON decoder.
func FuzzFastPathsAgreeWithTheDecoder(f *testing.F) {
	head := `{"_type":"` + statementType + `","subject":[{"name":"x","digest":{"sha256":"aa"}}],"predicateType":"p","predicate":`
	f.Add([]byte(head + `{"a":[1,{"b":"}"}]}}`))
	f.Add([]byte(head + `{},"predicate":{}}`))
	f.Add([]byte(plainStart + `e30=","signatures":[{"keyid":"","sig":"c2ln"}]}`))
	f.Add([]byte(plainStart + `e30=","payload":"","signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if short, ok := parseOwn(data); ok {
			if want, err := parseAny(data); err != nil || !reflect.DeepEqual(short, want) {
				t.Errorf("statement: got %+v, want %+v, %v", short, want, err)
			}
		}
		if short, ok := parsePlain(data); ok {
			if want, err := parseWire(data); err != nil || !reflect.DeepEqual(wireEnvelope{Envelope: short}, want) {
				t.Errorf("envelope: got %+v, want %+v, %v", short, want, err)
			}
		}
	})
}
