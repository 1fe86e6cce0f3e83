package sigstore

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/trust"
)

func newRepo(t *testing.T) name.Repository {
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
	repo, err := name.NewRepository(r.Ref("app"))
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func pushImage(t *testing.T, repo name.Repository) v1.Hash {
	t.Helper()
	img, err := lab.Image(lab.ImageSpec{Files: []lab.File{{Path: "x", Content: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Push(t.Context(), repo.Digest(digest.String()).String(), img); err != nil {
		t.Fatal(err)
	}
	return digest
}

// store signs and attests an image, stores the signature and the statement, and reads them back.
func store(t *testing.T, s *trust.Signer, f trust.Format, repo name.Repository, d v1.Hash) (attach.Attachments, error) {
	t.Helper()
	signatures, err := trust.SignImage(t.Context(), s, f, repo, d)
	if err != nil {
		return attach.Attachments{}, err
	}
	env, err := trust.Attest(t.Context(), s, f, statement(repo, d))
	if err != nil {
		return attach.Attachments{}, err
	}
	a := attach.Attachments{Signatures: signatures, Envelopes: []trust.Envelope{env}}
	if err := storeAs(t.Context(), s.Trust(), f, repo, d, a); err != nil {
		return attach.Attachments{}, err
	}
	return attach.Read(t.Context(), f, repo.Digest(d.String()))
}

func statement(repo name.Repository, d v1.Hash) trust.Statement {
	return trust.Statement{PredicateType: "https://spdx.dev/Document", Predicate: json.RawMessage(`{"spdxVersion":"SPDX-2.3"}`),
		Subjects: []trust.Subject{{Name: repo.Name(), Digest: d}}}
}

// accepts verifies all signatures and statements with the Trust tr. It returns the signer, or the
// first error.
func accepts(tr trust.Trust, a attach.Attachments, repo name.Repository, d v1.Hash) (trust.SignerIdentity, error) {
	var by trust.SignerIdentity
	var err error
	for _, s := range a.Signatures {
		if by, err = tr.VerifySignature(s, repo, d); err != nil {
			return by, err
		}
	}
	for _, e := range a.Envelopes {
		if _, by, err = tr.VerifyEnvelope(e, d); err != nil {
			return by, err
		}
	}
	if len(a.Signatures) == 0 || len(a.Envelopes) == 0 {
		return by, errors.New("there is nothing")
	}
	return by, nil
}

func TestIdentityIsVerifiedOffline(t *testing.T) {
	s := startStack(t)
	other := startStack(t)
	signer, err := trust.NewKeyless(t.Context(), s.issuer.token, s.services(t))
	if err != nil {
		t.Fatal(err)
	}
	repo := newRepo(t)
	digest := pushImage(t, repo)
	before := time.Now().Add(-time.Minute)
	a, err := store(t, signer, trust.Bundle, repo, digest)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := store(t, signer, trust.Bundle, repo, digest); err != nil || len(again.Signatures) != 1 || len(again.Envelopes) != 1 {
		t.Errorf("again: %d signatures and %d envelopes, %v", len(again.Signatures), len(again.Envelopes), err)
	}
	if n := s.issuer.asked.Load(); n != 1 {
		t.Errorf("%d tokens for one certificate", n)
	}
	if err := cosignAccepts(t, s, repo.Digest(digest.String())); err != nil {
		t.Errorf("cosign refuses: %v", err)
	}
	issuer := s.issuer.server.URL
	trusted := s.trustedRoot(t)
	s.close()

	exact := trust.Identity{Issuer: issuer, Subject: email}
	by, err := accepts(trust.Trust{Identities: []trust.Identity{exact}, Root: trusted}, a, repo, digest)
	if err != nil || by.Issuer != issuer || by.Subject != email || by.Key != "" || by.At.Before(before) {
		t.Errorf("%+v, %v", by, err)
	}
	elsewhere := repo.Registry.Repo("other")
	another := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	key := signerOf(t, trust.Services{}).Trust().Keys
	for what, c := range map[string]struct {
		trust trust.Trust
		repo  name.Repository
		d     v1.Hash
		ok    bool
	}{
		"exact":                         {trust.Trust{Identities: []trust.Identity{exact}, Root: trusted}, repo, digest, true},
		"pattern":                       {trust.Trust{Identities: []trust.Identity{{IssuerPattern: `http://127\.0\.0\.1:[0-9]+`, SubjectPattern: `[a-z]+@example\.com`}}, Root: trusted}, repo, digest, true},
		"one of two":                    {trust.Trust{Identities: []trust.Identity{{Issuer: issuer, Subject: "x"}, exact}, Root: trusted}, repo, digest, true},
		"beside a key":                  {trust.Trust{Keys: key, Identities: []trust.Identity{exact}, Root: trusted}, repo, digest, true},
		"nobody":                        {trust.Trust{Root: trusted}, repo, digest, false},
		"a key":                         {trust.Trust{Keys: key, Root: trusted}, repo, digest, false},
		"no root":                       {trust.Trust{Identities: []trust.Identity{exact}}, repo, digest, false},
		"another root":                  {trust.Trust{Identities: []trust.Identity{exact}, Root: other.trustedRoot(t)}, repo, digest, false},
		"the zero identity":             {trust.Trust{Identities: []trust.Identity{{}}, Root: trusted}, repo, digest, false},
		"no issuer":                     {trust.Trust{Identities: []trust.Identity{{Subject: email}}, Root: trusted}, repo, digest, false},
		"no subject":                    {trust.Trust{Identities: []trust.Identity{{Issuer: issuer}}, Root: trusted}, repo, digest, false},
		"exact and pattern":             {trust.Trust{Identities: []trust.Identity{{Issuer: issuer, Subject: email, SubjectPattern: ".*"}}, Root: trusted}, repo, digest, false},
		"another subject":               {trust.Trust{Identities: []trust.Identity{{Issuer: issuer, Subject: "release@example.com"}}, Root: trusted}, repo, digest, false},
		"another issuer":                {trust.Trust{Identities: []trust.Identity{{Issuer: other.issuer.server.URL, Subject: email}}, Root: trusted}, repo, digest, false},
		"pattern for the beginning":     {trust.Trust{Identities: []trust.Identity{{Issuer: issuer, SubjectPattern: `releases@example`}}, Root: trusted}, repo, digest, false},
		"pattern for the end":           {trust.Trust{Identities: []trust.Identity{{Issuer: issuer, SubjectPattern: `example\.com`}}, Root: trusted}, repo, digest, false},
		"pattern that leaves its group": {trust.Trust{Identities: []trust.Identity{{Issuer: issuer, SubjectPattern: `x)|(?:`}}, Root: trusted}, repo, digest, false},
		"pattern with a choice":         {trust.Trust{Identities: []trust.Identity{{Issuer: issuer, SubjectPattern: `x|releases`}}, Root: trusted}, repo, digest, false},
		"another repository":            {trust.Trust{Identities: []trust.Identity{exact}, Root: trusted}, elsewhere, digest, false},
		"another digest":                {trust.Trust{Identities: []trust.Identity{exact}, Root: trusted}, repo, another, false},
	} {
		if by, err := accepts(c.trust, a, c.repo, c.d); (err == nil) != c.ok {
			t.Errorf("%s: %s, %v", what, by, err)
		}
	}
}

// cosignAccepts verifies the bundles of an image with cosign's library.
func cosignAccepts(t *testing.T, s *stack, ref name.Digest) error {
	t.Helper()
	material, err := root.NewTrustedRootFromJSON(s.root)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = cosign.VerifyImageAttestations(t.Context(), ref, &cosign.CheckOpts{TrustedMaterial: material, NewBundleFormat: true,
		Identities: []cosign.Identity{{Issuer: s.issuer.server.URL, Subject: email}}, IgnoreSCT: true, Offline: true, UseSignedTimestamps: true,
		ClaimVerifier: cosign.IntotoSubjectClaimVerifier})
	return err
}

// cosignAcceptsLegacy verifies the signature and the statement in cosign's tags with cosign's
// library. cosign takes the signing times only from timestamps.
func cosignAcceptsLegacy(t *testing.T, s *stack, ref name.Digest) error {
	t.Helper()
	material, err := root.NewTrustedRootFromJSON(s.root)
	if err != nil {
		t.Fatal(err)
	}
	opts := cosign.CheckOpts{TrustedMaterial: material, Identities: []cosign.Identity{{Issuer: s.issuer.server.URL, Subject: email}},
		IgnoreSCT: true, IgnoreTlog: true, Offline: true, UseSignedTimestamps: true, ClaimVerifier: cosign.SimpleClaimVerifier}
	if _, _, err := cosign.VerifyImageSignatures(t.Context(), ref, &opts); err != nil {
		return err
	}
	opts.ClaimVerifier = cosign.IntotoSubjectClaimVerifier
	_, _, err = cosign.VerifyImageAttestations(t.Context(), ref, &opts)
	return err
}

// TestEachFormHasItsOwnTimestamps checks that each signature format has its own timestamps if both
// formats are stored. Each bundle has one timestamp, which covers only its signature.
func TestEachFormHasItsOwnTimestamps(t *testing.T) {
	s := startStack(t)
	signer, err := trust.NewKeyless(t.Context(), s.issuer.token, s.services(t))
	if err != nil {
		t.Fatal(err)
	}
	repo := newRepo(t)
	digest := pushImage(t, repo)
	if _, err := store(t, signer, trust.Both, repo, digest); err != nil {
		t.Fatal(err)
	}
	ref := repo.Digest(digest.String())
	if err := cosignAccepts(t, s, ref); err != nil {
		t.Errorf("cosign refuses the bundle: %v", err)
	}
	if err := cosignAcceptsLegacy(t, s, ref); err != nil {
		t.Errorf("cosign refuses the legacy form: %v", err)
	}
	bundles, err := attach.Read(t.Context(), trust.Bundle, ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range bundles.Envelopes {
		var b struct {
			VerificationMaterial struct {
				TimestampVerificationData struct{ Rfc3161Timestamps []json.RawMessage }
			}
		}
		if err := json.Unmarshal(e, &b); err != nil {
			t.Fatal(err)
		}
		if n := len(b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps); n != 1 {
			t.Errorf("a bundle has %d timestamps", n)
		}
	}
	tr := trust.Trust{Identities: []trust.Identity{{Issuer: s.issuer.server.URL, Subject: email}}, Root: s.trustedRoot(t), AllowUnlogged: true}
	for _, f := range []trust.Format{trust.Legacy, trust.Bundle, trust.Both} {
		a, err := attach.Read(t.Context(), f, ref)
		if err != nil {
			t.Fatal(err)
		}
		if by, err := accepts(tr, a, repo, digest); err != nil || by.At.IsZero() {
			t.Errorf("%s: %+v, %v", f, by, err)
		}
	}
}

// TestTamperedBundleOfAnIdentityIsNotAccepted checks that a bundle signed by an identity is refused
// if one of its parts is missing or replaced, or if a public key is added.
func TestTamperedBundleOfAnIdentityIsNotAccepted(t *testing.T) {
	s := startStack(t)
	signer, err := trust.NewKeyless(t.Context(), s.issuer.token, s.services(t))
	if err != nil {
		t.Fatal(err)
	}
	repo, digest := newRepo(t), v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	good, err := trust.Attest(t.Context(), signer, trust.Bundle, statement(repo, digest))
	if err != nil {
		t.Fatal(err)
	}
	tr := trust.Trust{Identities: []trust.Identity{{Issuer: s.issuer.server.URL, Subject: email}}, Root: s.trustedRoot(t)}
	if _, _, err := tr.VerifyEnvelope(good, digest); err != nil {
		t.Fatal(err)
	}
	edit := func(change func(b, material, envelope map[string]any)) trust.Envelope {
		var b map[string]any
		if err := json.Unmarshal(good, &b); err != nil {
			t.Fatal(err)
		}
		change(b, b["verificationMaterial"].(map[string]any), b["dsseEnvelope"].(map[string]any))
		out, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	fresh, err := trust.NewKeyless(t.Context(), s.issuer.token, s.services(t))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := trust.Attest(t.Context(), fresh, trust.Both, trust.Statement{PredicateType: "x", Predicate: json.RawMessage("{}"), Subjects: []trust.Subject{{Digest: digest}}})
	if err != nil {
		t.Fatal(err)
	}
	var theirs map[string]any
	if err := json.Unmarshal(foreign, &theirs); err != nil {
		t.Fatal(err)
	}
	their := theirs["verificationMaterial"].(map[string]any)
	for what, e := range map[string]trust.Envelope{
		"no log entry":           edit(func(_, m, _ map[string]any) { delete(m, "tlogEntries") }),
		"no timestamp":           edit(func(_, m, _ map[string]any) { delete(m, "timestampVerificationData") }),
		"another's log entry":    edit(func(_, m, _ map[string]any) { m["tlogEntries"] = their["tlogEntries"] }),
		"another's timestamp":    edit(func(_, m, _ map[string]any) { m["timestampVerificationData"] = their["timestampVerificationData"] }),
		"another's certificate":  edit(func(_, m, _ map[string]any) { m["certificate"] = their["certificate"] }),
		"another's statement":    edit(func(_, _, e map[string]any) { e["payload"] = theirs["dsseEnvelope"].(map[string]any)["payload"] }),
		"a key in place of it":   edit(func(_, m, _ map[string]any) { delete(m, "certificate"); m["publicKey"] = map[string]any{"hint": "x"} }),
		"a key beside it":        edit(func(_, m, _ map[string]any) { m["publicKey"] = map[string]any{"hint": "x"} }),
		"no material":            edit(func(b, _, _ map[string]any) { delete(b, "verificationMaterial") }),
		"a certificate of noise": edit(func(_, m, _ map[string]any) { m["certificate"] = map[string]any{"rawBytes": "AAAA"} }),
	} {
		if st, by, err := tr.VerifyEnvelope(e, digest); err == nil {
			t.Errorf("%s is accepted: %s by %s", what, st.PredicateType, by)
		}
	}
}

// TestLegacyFormOfAnIdentityNeedsATimestamp checks that the legacy format is accepted only with a
// timestamp and with AllowUnlogged set. A Rekor v2 log does not return an inclusion promise, and
// the legacy format cannot store the other proofs of the log.
func TestLegacyFormOfAnIdentityNeedsATimestamp(t *testing.T) {
	s := startStack(t)
	signer, err := trust.NewKeyless(t.Context(), s.issuer.token, s.services(t))
	if err != nil {
		t.Fatal(err)
	}
	repo := newRepo(t)
	digest := pushImage(t, repo)
	a, err := store(t, signer, trust.Legacy, repo, digest)
	if err != nil {
		t.Fatal(err)
	}
	tr := trust.Trust{Identities: []trust.Identity{{Issuer: s.issuer.server.URL, Subject: email}}, Root: s.trustedRoot(t)}
	if by, err := accepts(tr, a, repo, digest); err == nil {
		t.Errorf("without a log entry: %s", by)
	}
	tr.AllowUnlogged = true
	if by, err := accepts(tr, a, repo, digest); err != nil || by.Subject != email || by.At.IsZero() {
		t.Errorf("%+v, %v", by, err)
	}
	if err := cosignAcceptsLegacy(t, s, repo.Digest(digest.String())); err != nil {
		t.Errorf("cosign refuses: %v", err)
	}
}

func TestTokenThatIsRefusedStopsBeforeAnythingIsSigned(t *testing.T) {
	s := startStack(t)
	other := newIssuer(t)
	defer other.server.Close()
	for what, token := range map[string]trust.TokenSource{"another issuer's": other.token, "broken": trust.FileToken("/nonexistent")} {
		if signer, err := trust.NewKeyless(t.Context(), token, s.services(t)); err == nil {
			t.Errorf("%s: %v", what, signer.Trust())
		}
	}
}

func signerOf(t *testing.T, services trust.Services) *trust.Signer {
	t.Helper()
	private, _, err := trust.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.LoadKey(private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	s, err := trust.NewSigner(key, services)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func unavailable(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
	w.WriteHeader(http.StatusServiceUnavailable)
	return true
}

// TestLogInTrouble checks whether signing retries, ignores or returns each kind of failure of the
// transparency log.
func TestLogInTrouble(t *testing.T) {
	s := startStack(t)
	repo := newRepo(t)
	digest := pushImage(t, repo)
	patient := func(timestamps bool) trust.Services {
		services := s.services(t)
		services.Patience = 5 * time.Second
		if !timestamps {
			services.TimestampAuthorities = nil
		}
		return services
	}
	attest := func(signer *trust.Signer) (trust.Envelope, error) {
		return trust.Attest(t.Context(), signer, trust.Both, statement(repo, digest))
	}

	t.Run("that passes", func(t *testing.T) {
		s.rekor.set(func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool {
			return s.rekor.seen.Load() <= 2 && unavailable(w, r, pass)
		})
		env, err := attest(signerOf(t, patient(false)))
		if err != nil || !strings.Contains(string(env), `"tlogEntries":[{`) {
			t.Errorf("%s, %v", env, err)
		}
		if n := s.rekor.seen.Load(); n != 3 {
			t.Errorf("%d attempts", n)
		}
	})
	t.Run("without a timestamp", func(t *testing.T) {
		s.rekor.set(unavailable)
		var trouble *trust.LogError
		if env, err := attest(signerOf(t, patient(false))); !errors.As(err, &trouble) || trouble.URL != s.rekor.server.URL {
			t.Errorf("%s, %v", env, err)
		}
	})
	t.Run("with a timestamp", func(t *testing.T) {
		s.rekor.set(nil)
		signer, err := trust.NewKeyless(t.Context(), s.issuer.token, patient(true))
		if err != nil {
			t.Fatal(err)
		}
		s.rekor.set(unavailable)
		a, err := store(t, signer, trust.Bundle, repo, digest)
		if err != nil {
			t.Fatal(err)
		}
		tr := signer.Trust()
		if by, err := accepts(tr, a, repo, digest); err != nil {
			t.Errorf("%s, %v", by, err)
		}
		tr.AllowUnlogged = false
		if by, err := accepts(tr, a, repo, digest); err == nil {
			t.Errorf("without a log entry: %s", by)
		}
	})
	t.Run("refusal is not gone without", func(t *testing.T) {
		s.rekor.set(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
			w.WriteHeader(http.StatusBadRequest)
			return true
		})
		var trouble *trust.LogError
		if env, err := attest(signerOf(t, patient(true))); !errors.As(err, &trouble) {
			t.Errorf("%s, %v", env, err)
		}
		if n := s.rekor.seen.Load(); n != 1 {
			t.Errorf("%d attempts", n)
		}
	})
	t.Run("answer that does not verify", func(t *testing.T) {
		s.rekor.set(nil)
		var earlier []byte
		s.rekor.set(func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool {
			answer := httptest.NewRecorder()
			pass.ServeHTTP(answer, r)
			if earlier == nil {
				earlier = answer.Body.Bytes()
			}
			w.WriteHeader(answer.Code)
			_, err := w.Write(earlier)
			return err == nil
		})
		signer := signerOf(t, patient(true))
		if _, err := attest(signer); err != nil {
			t.Fatal(err)
		}
		if env, err := attest(signer); err == nil {
			t.Errorf("%s", env)
		}
	})
	t.Run("answer that is lost", func(t *testing.T) {
		var mu sync.Mutex
		var answers []int // status codes of the log's responses; protected by mu
		s.rekor.set(func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool {
			answer := httptest.NewRecorder()
			pass.ServeHTTP(answer, r)
			mu.Lock()
			answers = append(answers, answer.Code)
			first := len(answers) == 1
			mu.Unlock()
			if first {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(answer.Code)
			_, err := w.Write(answer.Body.Bytes())
			return err == nil
		})
		env, err := attest(signerOf(t, patient(false)))
		if err != nil || !strings.Contains(string(env), `"tlogEntries":[{`) {
			t.Errorf("%s, %v", env, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if want := []int{http.StatusCreated, http.StatusConflict, http.StatusCreated}; !slices.Equal(answers, want) {
			t.Errorf("the log answers %v", answers)
		}
	})
}

// storeAs stores attachments by a signer that own trusts.
func storeAs(ctx context.Context, own trust.Trust, f trust.Format, repo name.Repository, digest v1.Hash, a attach.Attachments) error {
	p, err := attach.Prepare(own, f, repo, digest, a, attach.Copies{}, attach.Options{})
	if err != nil {
		return err
	}
	return p.Store(ctx)
}
