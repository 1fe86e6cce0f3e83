package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/imagegate/imagegate/internal/lab"
)

func newKey(t testing.TB) Signer {
	t.Helper()
	private, _, err := GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := LoadSigner(private, func() ([]byte, error) { return []byte("secret"), nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newRepo(t testing.TB, path string) name.Repository {
	t.Helper()
	r, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	repo, err := name.NewRepository(r.Ref(path))
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func digestOf(c string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(c, 64)}
}

func attest(t testing.TB, s Signer, kind, predicate string, subjects ...v1.Hash) Envelope {
	t.Helper()
	st := Statement{PredicateType: kind, Predicate: json.RawMessage(predicate)}
	for _, d := range subjects {
		st.Subjects = append(st.Subjects, Subject{Name: "repo", Digest: d})
	}
	env, err := Attest(t.Context(), s, st)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestPlainKeysAreRead(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for kind, data := range map[string][]byte{
		"ecdsa pkcs8": pkcs8(ec), "rsa pkcs8": pkcs8(rsaKey), "ed25519 pkcs8": pkcs8(ed),
		"ecdsa sec1": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}),
		"rsa pkcs1":  pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}),
	} {
		t.Run(kind, func(t *testing.T) {
			s, err := LoadSigner(data, func() ([]byte, error) { return nil, errors.New("a password was asked for") })
			if err != nil {
				t.Fatal(err)
			}
			tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
			if _, _, err := tr.VerifyEnvelope(attest(t, s, "x", "{}", digestOf("a")), digestOf("a")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnusableKeysAreRefused(t *testing.T) {
	private, public, err := GenerateKey([]byte("the secret word"))
	if err != nil {
		t.Fatal(err)
	}
	right := func() ([]byte, error) { return []byte("the secret word"), nil }
	wrong := func() ([]byte, error) { return []byte("another secret"), nil }
	none := errors.New("nobody there to ask")
	for what, c := range map[string]struct {
		data     []byte
		password func() ([]byte, error)
	}{
		"wrong password":  {private, wrong},
		"no password":     {private, func() ([]byte, error) { return nil, none }},
		"public key":      {public, right},
		"not PEM":         {[]byte("hello"), right},
		"two keys":        {append(bytes.Clone(private), private...), right},
		"cut short":       {private[:len(private)/2], right},
		"damaged content": {bytes.Replace(private, []byte("\ney"), []byte("\nez"), 1), right},
	} {
		s, err := LoadSigner(c.data, c.password)
		if err == nil || s != nil {
			t.Errorf("%s: loaded", what)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", what, err)
		}
	}
	if _, err := LoadSigner(private, right); err != nil {
		t.Error(err)
	}
	for what, data := range map[string][]byte{"private": private, "empty": nil, "text": []byte("x"), "key and text": append(bytes.Clone(public), "x"...)} {
		if keys, err := LoadPublicKeys(data); err == nil {
			t.Errorf("%s: %v", what, keys)
		}
	}
	if keys, err := LoadPublicKeys(append(bytes.Clone(public), public...)); err != nil || len(keys) != 2 {
		t.Errorf("two keys: %d, %v", len(keys), err)
	}
}

func TestNobodyIsTrustedByDefault(t *testing.T) {
	s, repo := newKey(t), newRepo(t, "app")
	sig, err := SignImage(t.Context(), s, repo, digestOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	var zero Trust
	if _, err := zero.VerifySignature(sig, repo, digestOf("a")); !errors.Is(err, errNobody) {
		t.Errorf("%v", err)
	}
	if _, _, err := zero.VerifyEnvelope(attest(t, s, "x", "{}", digestOf("a")), digestOf("a")); !errors.Is(err, errNobody) {
		t.Errorf("%v", err)
	}
}

func TestSignatureIsBoundToDigestAndRepository(t *testing.T) {
	s, repo := newKey(t), newRepo(t, "app")
	sig, err := SignImage(t.Context(), s, repo, digestOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := name.NewRepository(repo.RegistryStr() + "/other")
	if err != nil {
		t.Fatal(err)
	}
	tr := Trust{Keys: []crypto.PublicKey{newKey(t).PublicKey(), s.PublicKey()}}
	by, err := tr.VerifySignature(sig, repo, digestOf("a"))
	if err != nil || by != Fingerprint(s.PublicKey()) {
		t.Fatalf("%q, %v", by, err)
	}
	changed := sig
	changed.Payload = bytes.Replace(sig.Payload, []byte(strings.Repeat("a", 64)), []byte(strings.Repeat("b", 64)), 1)
	for what, err := range map[string]error{
		"another digest":     errOf(tr.VerifySignature(sig, repo, digestOf("b"))),
		"another repository": errOf(tr.VerifySignature(sig, elsewhere, digestOf("a"))),
		"another key":        errOf(Trust{Keys: []crypto.PublicKey{newKey(t).PublicKey()}}.VerifySignature(sig, repo, digestOf("a"))),
		"another payload":    errOf(tr.VerifySignature(changed, repo, digestOf("b"))),
		"no signature":       errOf(tr.VerifySignature(Signature{Payload: sig.Payload}, repo, digestOf("a"))),
	} {
		if err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestStatementIsBoundToItsSubjects(t *testing.T) {
	s := newKey(t)
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	predicate := `{"z": 1,  "a": "<&>", "n": 12345678901234567890}`
	env := attest(t, s, "https://example.com/x", predicate, digestOf("a"), digestOf("b"))
	for _, d := range []v1.Hash{digestOf("a"), digestOf("b")} {
		st, by, err := tr.VerifyEnvelope(env, d)
		if err != nil || by != Fingerprint(s.PublicKey()) || st.PredicateType != "https://example.com/x" || string(st.Predicate) != predicate {
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

// TestSignedNonsenseIsNotAStatement: the key signed it, and it is still no
// in-toto statement.
func TestSignedNonsenseIsNotAStatement(t *testing.T) {
	s := newKey(t)
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	subject := `[{"name":"x","digest":{"sha256":"` + strings.Repeat("a", 64) + `"}}]`
	for what, body := range map[string]string{
		"another type":  `{"_type":"https://example.com/Statement","subject":` + subject + `,"predicateType":"x","predicate":{}}`,
		"no subject":    `{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x","predicate":{}}`,
		"no type":       `{"_type":"https://in-toto.io/Statement/v1","subject":` + subject + `,"predicate":{}}`,
		"unknown field": `{"_type":"https://in-toto.io/Statement/v1","subject":` + subject + `,"predicateType":"x","predicate":{},"extra":1}`,
		"two documents": `{"_type":"https://in-toto.io/Statement/v1","subject":` + subject + `,"predicateType":"x","predicate":{}}{}`,
	} {
		sig, err := s.Sign(t.Context(), pae([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		env := fmt.Appendf(nil, `{"payloadType":%q,"payload":%q,"signatures":[{"sig":%q}]}`, payloadType,
			base64.StdEncoding.EncodeToString([]byte(body)), base64.StdEncoding.EncodeToString(sig))
		if _, _, err := tr.VerifyEnvelope(env, digestOf("a")); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func TestLargeStatementIsRefused(t *testing.T) {
	predicate := json.RawMessage(`"` + strings.Repeat("x", MaxStatement) + `"`)
	_, err := Attest(t.Context(), newKey(t), Statement{PredicateType: "x", Subjects: []Subject{{Digest: digestOf("a")}}, Predicate: predicate})
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v", err)
	}
}

// TestCosignAgrees has cosign's own library verify what is stored, before the
// image itself is there would be too early for it: so the image is pushed.
func TestCosignAgrees(t *testing.T) {
	s, repo := newKey(t), newRepo(t, "app")
	img, err := lab.Image(lab.ImageSpec{Files: []lab.File{{Path: "x", Content: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	store := func(d v1.Hash) {
		t.Helper()
		sig, err := SignImage(t.Context(), s, repo, d)
		if err != nil {
			t.Fatal(err)
		}
		a := Attachments{Signatures: []Signature{sig}, Envelopes: []Envelope{attest(t, s, "https://spdx.dev/Document", `{"spdxVersion":"SPDX-2.3"}`, d)}}
		if err := Attach(t.Context(), s.PublicKey(), repo, d, a); err != nil {
			t.Fatal(err)
		}
	}
	store(digest) // before the image
	if _, err := lab.Push(t.Context(), repo.Name()+":1", img); err != nil {
		t.Fatal(err)
	}
	check := func(key crypto.PublicKey) error {
		v, err := signature.LoadVerifier(key, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		ref := repo.Digest(digest.String())
		opts := &cosign.CheckOpts{SigVerifier: v, IgnoreTlog: true, Offline: true, ClaimVerifier: cosign.SimpleClaimVerifier}
		if _, _, err := cosign.VerifyImageSignatures(t.Context(), ref, opts); err != nil {
			return err
		}
		opts.ClaimVerifier = cosign.IntotoSubjectClaimVerifier
		_, _, err = cosign.VerifyImageAttestations(t.Context(), ref, opts)
		return err
	}
	if err := check(s.PublicKey()); err != nil {
		t.Errorf("cosign refuses: %v", err)
	}
	if err := check(newKey(t).PublicKey()); err == nil {
		t.Error("cosign accepts another key")
	}
}

func TestNothingOfOthersIsLost(t *testing.T) {
	s, other, repo, d := newKey(t), newKey(t), newRepo(t, "app"), digestOf("a")
	put := func(by Signer, predicate string) {
		t.Helper()
		sig, err := SignImage(t.Context(), by, repo, d)
		if err != nil {
			t.Fatal(err)
		}
		a := Attachments{Signatures: []Signature{sig}, Envelopes: []Envelope{attest(t, by, "x", predicate, d), attest(t, by, "y", "{}", d)}}
		if err := Attach(t.Context(), by.PublicKey(), repo, d, a); err != nil {
			t.Fatal(err)
		}
	}
	put(other, `{"n":1}`)
	for _, predicate := range []string{`{"n":1}`, `{"n":1}`, `{"n":2}`} {
		put(s, predicate)
	}
	got, err := Read(t.Context(), repo.Digest(d.String()))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Signatures) != 2 || len(got.Envelopes) != 4 {
		t.Errorf("%d signatures and %d envelopes", len(got.Signatures), len(got.Envelopes))
	}
	var mine, theirs []string
	for _, e := range got.Envelopes {
		for list, key := range map[*[]string]crypto.PublicKey{&mine: s.PublicKey(), &theirs: other.PublicKey()} {
			if st, _, err := (Trust{Keys: []crypto.PublicKey{key}}).VerifyEnvelope(e, d); err == nil && st.PredicateType == "x" {
				*list = append(*list, string(st.Predicate))
			}
		}
	}
	if fmt.Sprint(mine, theirs) != `[{"n":2}] [{"n":1}]` {
		t.Errorf("mine %v, theirs %v", mine, theirs)
	}
}

func TestConcurrentWritersLoseNothing(t *testing.T) {
	repo, d := newRepo(t, "app"), digestOf("a")
	const writers = 8
	var group sync.WaitGroup
	for i := range writers {
		s := newKey(t)
		group.Go(func() {
			env := attest(t, s, fmt.Sprintf("type-%d", i), "{}", d)
			if err := Attach(t.Context(), s.PublicKey(), repo, d, Attachments{Envelopes: []Envelope{env}}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got, err := Read(t.Context(), repo.Digest(d.String()))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Envelopes) != writers {
		t.Errorf("%d of %d envelopes are there", len(got.Envelopes), writers)
	}
}

// TestOverwrittenEntryIsWrittenAgain: another process writes between our write
// and our reading back, once.
func TestOverwrittenEntryIsWrittenAgain(t *testing.T) {
	r, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	repo, err := name.NewRepository(r.Ref("app"))
	if err != nil {
		t.Fatal(err)
	}
	d, s := digestOf("a"), newKey(t)
	var once sync.Once
	r.SetHook(func(_ http.ResponseWriter, req *http.Request) bool {
		if req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, ".att") && len(r.Writes()) > 0 {
			once.Do(func() {
				stray, err := mutate.Append(empty.Image, mutate.Addendum{Layer: static.NewLayer([]byte("{}"), envelopeLayer), MediaType: envelopeLayer})
				if err == nil {
					err = remote.Write(attestationTag(repo, d), stray)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		return false
	})
	env := attest(t, s, "x", "{}", d)
	if err := Attach(t.Context(), s.PublicKey(), repo, d, Attachments{Envelopes: []Envelope{env}}); err != nil {
		t.Fatal(err)
	}
	got, err := Read(t.Context(), repo.Digest(d.String()))
	if err != nil || len(got.Envelopes) != 2 {
		t.Errorf("%d envelopes, %v", len(got.Envelopes), err)
	}
}

// TestUnreadableTagIsNotTakenForEmpty: what cannot be read must not be
// overwritten.
func TestUnreadableTagIsNotTakenForEmpty(t *testing.T) {
	r, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	repo, err := name.NewRepository(r.Ref("app"))
	if err != nil {
		t.Fatal(err)
	}
	s, d := newKey(t), digestOf("a")
	r.SetHook(lab.When(func(req *http.Request) bool { return !lab.IsWrite(req) && lab.IsManifest(req) }, lab.Fail(http.StatusForbidden)))
	if err := Attach(t.Context(), s.PublicKey(), repo, d, Attachments{Envelopes: []Envelope{attest(t, s, "x", "{}", d)}}); err == nil {
		t.Error("attached")
	}
	if _, err := Read(t.Context(), repo.Digest(d.String())); err == nil {
		t.Error("read")
	}
	if got := r.Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
}

func TestGarbageBesideAnImageIsNotAccepted(t *testing.T) {
	s, repo, d := newKey(t), newRepo(t, "app"), digestOf("a")
	img := v1.Image(empty.Image)
	var err error
	for mediaType, body := range map[types.MediaType]string{envelopeLayer: "not JSON", "text/plain": "something else", types.OCILayer: "x"} {
		if img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer([]byte(body), mediaType), MediaType: mediaType}); err != nil {
			t.Fatal(err)
		}
	}
	if err := remote.Write(attestationTag(repo, d), img); err != nil {
		t.Fatal(err)
	}
	env := attest(t, s, "x", "{}", d)
	if err := Attach(context.WithoutCancel(t.Context()), s.PublicKey(), repo, d, Attachments{Envelopes: []Envelope{env}}); err != nil {
		t.Fatal(err)
	}
	got, err := Read(t.Context(), repo.Digest(d.String()))
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, e := range got.Envelopes {
		if _, _, err := (Trust{Keys: []crypto.PublicKey{s.PublicKey()}}).VerifyEnvelope(e, d); err == nil {
			accepted++
		}
	}
	if accepted != 1 || len(got.Envelopes) != 2 {
		t.Errorf("%d envelopes, %d accepted", len(got.Envelopes), accepted)
	}
}
