package trust

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/lab"
)

// newSigner returns a signer with an unencrypted key, because decrypting a key takes a second.
func newSigner(t testing.TB) *Signer {
	t.Helper()
	key, err := asKey(ecKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(key, Services{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newRegistry(t testing.TB) *lab.Registry {
	t.Helper()
	r, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func repoIn(t testing.TB, r *lab.Registry, path string) name.Repository {
	t.Helper()
	repo, err := name.NewRepository(r.Ref(path))
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func newRepo(t testing.TB, path string) name.Repository {
	t.Helper()
	return repoIn(t, newRegistry(t), path)
}

func signLegacy(t testing.TB, s *Signer, repo name.Repository, d v1.Hash) Signature {
	t.Helper()
	return signAs(t, s, Legacy, repo, d)[0]
}

func signAs(t testing.TB, s *Signer, f Format, repo name.Repository, d v1.Hash) []Signature {
	t.Helper()
	out, err := SignImage(t.Context(), s, f, repo, d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func digestOf(c string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(c, 64)}
}

func attest(t testing.TB, s *Signer, kind, predicate string, subjects ...v1.Hash) Envelope {
	t.Helper()
	st := Statement{PredicateType: kind, Predicate: json.RawMessage(predicate)}
	for _, d := range subjects {
		st.Subjects = append(st.Subjects, Subject{Name: "repo", Digest: d})
	}
	env, err := Attest(t.Context(), s, Both, st)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// envelopeOver returns an envelope with the given payload, signed by the signers.
func envelopeOver(t testing.TB, body string, signers ...*Signer) Envelope {
	t.Helper()
	var signatures []map[string]string
	for _, s := range signers {
		sig, err := s.key.Sign(t.Context(), pae([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, map[string]string{"sig": base64.StdEncoding.EncodeToString(sig)})
	}
	env, err := json.Marshal(map[string]any{
		"payloadType": payloadType, "payload": base64.StdEncoding.EncodeToString([]byte(body)), "signatures": signatures,
	})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func statementOver(predicate string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"repo","digest":{"sha256":"` + strings.Repeat("a", 64) +
		`"}}],"predicateType":"x","predicate":` + predicate + `}`
}

func TestNoSignerIsTrustedByDefault(t *testing.T) {
	s, repo := newSigner(t), newRepo(t, "app")
	sig := signLegacy(t, s, repo, digestOf("a"))
	var zero Trust
	if _, err := zero.VerifySignature(sig, repo, digestOf("a")); !errors.Is(err, errNoTrust) {
		t.Errorf("%v", err)
	}
	if _, _, err := zero.VerifyEnvelope(attest(t, s, "x", "{}", digestOf("a")), digestOf("a")); !errors.Is(err, errNoTrust) {
		t.Errorf("%v", err)
	}
}

func TestSignatureIsBoundToDigestAndRepository(t *testing.T) {
	s, repo := newSigner(t), newRepo(t, "app")
	sig := signLegacy(t, s, repo, digestOf("a"))
	elsewhere, err := name.NewRepository(repo.RegistryStr() + "/other")
	if err != nil {
		t.Fatal(err)
	}
	tr := Trust{Keys: []crypto.PublicKey{newSigner(t).PublicKey(), s.PublicKey()}}
	by, err := tr.VerifySignature(sig, repo, digestOf("a"))
	if err != nil || by.String() != Fingerprint(s.PublicKey()) {
		t.Fatalf("%s, %v", by, err)
	}
	changed := sig
	changed.Payload = bytes.Replace(sig.Payload, []byte(strings.Repeat("a", 64)), []byte(strings.Repeat("b", 64)), 1)
	for what, err := range map[string]error{
		"another digest":     errOf(tr.VerifySignature(sig, repo, digestOf("b"))),
		"another repository": errOf(tr.VerifySignature(sig, elsewhere, digestOf("a"))),
		"another key":        errOf(Trust{Keys: []crypto.PublicKey{newSigner(t).PublicKey()}}.VerifySignature(sig, repo, digestOf("a"))),
		"another payload":    errOf(tr.VerifySignature(changed, repo, digestOf("b"))),
		"no signature":       errOf(tr.VerifySignature(Signature{Payload: sig.Payload}, repo, digestOf("a"))),
	} {
		if err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

// TestOtherSignedDocumentIsNotASignature checks that a signed document of another type is refused,
// even if it has the same fields. skopeo writes such documents, for example.
func TestOtherSignedDocumentIsNotASignature(t *testing.T) {
	s, repo, d := newSigner(t), newRepo(t, "app"), digestOf("a")
	good := signLegacy(t, s, repo, d)
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	for what, doc := range map[string][]byte{
		"another type": bytes.Replace(good.Payload, []byte("cosign container image signature"), []byte("atomic container signature"), 1),
		"no identity":  bytes.Replace(good.Payload, []byte(repo.Name()), nil, 1),
		"two":          append(bytes.Clone(good.Payload), good.Payload...),
		"not JSON":     []byte("signed"),
	} {
		raw, err := s.key.Sign(t.Context(), doc)
		if err != nil {
			t.Fatal(err)
		}
		if by, err := tr.VerifySignature(Signature{Payload: doc, Base64: base64.StdEncoding.EncodeToString(raw)}, repo, d); err == nil {
			t.Errorf("%s is accepted: %s", what, by)
		}
	}
}

// TestUnusableKeyIsNotSkipped checks that verification fails if one of the trusted keys is
// unusable.
func TestUnusableKeyIsNotSkipped(t *testing.T) {
	s := newSigner(t)
	env := attest(t, s, "x", "{}", digestOf("a"))
	if _, _, err := (Trust{Keys: []crypto.PublicKey{nil, s.PublicKey()}}).VerifyEnvelope(env, digestOf("a")); err == nil {
		t.Error("accepted")
	}
}
