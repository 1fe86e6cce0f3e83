package attach

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imagegate/imagegate/internal/trust"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/imagegate/imagegate/internal/lab"
)

// onBoth runs a test twice: with a registry that has the referrers API, and with one that does not.
func onBoth(t *testing.T, test func(t *testing.T, repo name.Repository)) {
	t.Run("referrers API", func(t *testing.T) {
		server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(server.Close)
		repo, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/app")
		if err != nil {
			t.Fatal(err)
		}
		test(t, repo)
	})
	t.Run("fallback tag", func(t *testing.T) { test(t, newRepo(t, "app")) })
}

// attachBundles signs an image and stores the signature and the envelopes as bundles.
func attachBundles(t testing.TB, s *trust.Signer, repo name.Repository, d v1.Hash, envelopes ...trust.Envelope) error {
	t.Helper()
	return store(t, s, trust.Bundle, repo, d, Attachments{Signatures: signAs(t, s, trust.Bundle, repo, d), Envelopes: envelopes})
}

// referrersOf returns the digests of all referrers of the digest d, as the registry lists them.
func referrersOf(t testing.TB, repo name.Repository, d v1.Hash) []string {
	t.Helper()
	list, err := newReferrerStore(repo.Digest(d.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	attachments, err := list.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range attachments {
		out = append(out, e.desc.Digest.String())
	}
	slices.Sort(out)
	return out
}

// cosignAcceptsBundles verifies the bundles of a digest with cosign's library. It uses an empty
// trusted root, because the bundles are signed with a key.
func cosignAcceptsBundles(t *testing.T, key crypto.PublicKey, ref name.Digest) error {
	t.Helper()
	v, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := root.NewTrustedRootFromJSON([]byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = cosign.VerifyImageAttestations(t.Context(), ref, &cosign.CheckOpts{SigVerifier: v, IgnoreTlog: true, Offline: true,
		TrustedMaterial: empty, NewBundleFormat: true, ClaimVerifier: cosign.IntotoSubjectClaimVerifier})
	return err
}

func TestCosignAcceptsOurBundles(t *testing.T) {
	onBoth(t, func(t *testing.T, repo name.Repository) {
		s, other := newSigner(t), newSigner(t)
		digest := pushImage(t, repo, "x")
		if err := attachBundles(t, s, repo, digest, attest(t, s, "https://spdx.dev/Document", `{"a":1}`, digest)); err != nil {
			t.Fatal(err)
		}
		ref := repo.Digest(digest.String())
		if err := cosignAcceptsBundles(t, s.PublicKey(), ref); err != nil {
			t.Errorf("cosign: %v", err)
		}
		if err := cosignAcceptsBundles(t, other.PublicKey(), ref); err == nil {
			t.Error("cosign takes another key")
		}
		if sig, att := weAccept(t, s.PublicKey(), ref); sig != nil || att != nil {
			t.Errorf("we: %v, %v", sig, att)
		}
		if sig, att := weAccept(t, other.PublicKey(), ref); sig == nil || att == nil {
			t.Errorf("we take another key: %v, %v", sig, att)
		}
		legacy, err := Read(t.Context(), trust.Legacy, ref)
		if err != nil || legacy.Signatures != nil || legacy.Envelopes != nil {
			t.Errorf("of the legacy form: %v, %v", legacy, err)
		}
	})
}

func TestBothFormsAreStoredTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, repo name.Repository) {
		s := newSigner(t)
		digest := pushImage(t, repo, "x")
		env := attest(t, s, "x", `{"a":1}`, digest)
		a := Attachments{Signatures: signAs(t, s, trust.Both, repo, digest), Envelopes: []trust.Envelope{env}}
		if err := store(t, s, trust.Both, repo, digest, a); err != nil {
			t.Fatal(err)
		}
		for f, want := range map[trust.Format]int{trust.Legacy: 1, trust.Bundle: 1, trust.Both: 2} {
			got, err := Read(t.Context(), f, repo.Digest(digest.String()))
			if err != nil || len(got.Signatures) != want || len(got.Envelopes) != want {
				t.Errorf("%s: %d signatures, %d envelopes, %v", f, len(got.Signatures), len(got.Envelopes), err)
			}
			for _, sig := range got.Signatures {
				if by, err := only(s).VerifySignature(sig, repo, digest); err != nil || by.String() != trust.Fingerprint(s.PublicKey()) {
					t.Errorf("%s: %s, %v", f, by, err)
				}
			}
			for _, e := range got.Envelopes {
				plain, err := e.DSSE()
				if err != nil || !sameJSON(t, plain, env) {
					t.Errorf("%s: %s, %v", f, plain, err)
				}
			}
		}
	})
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return cmp.Equal(x, y)
}

// TestBundleIsBoundToDigestAndRepository checks that bundles by imagegate are accepted only for
// their digest and repository. Bundles by cosign do not name a repository.
func TestBundleIsBoundToDigestAndRepository(t *testing.T) {
	s, repo := newSigner(t), newRepo(t, "app")
	d, elsewhere := digestOf("a"), repo.Registry.Repo("other")
	sig := signAs(t, s, trust.Bundle, repo, d)[0]
	unnamed, err := trust.Attest(t.Context(), s, trust.Bundle, trust.Statement{PredicateType: trust.SignatureType,
		Predicate: json.RawMessage("{}"), Subjects: []trust.Subject{{Digest: d}}})
	if err != nil {
		t.Fatal(err)
	}
	nameless := trust.Signature{Statement: unnamed}
	another := trust.Signature{Statement: attest(t, s, "x", "{}", d)}
	strict, lax := only(s), only(s)
	lax.AnyRepository = true
	for what, c := range map[string]struct {
		trust trust.Trust
		sig   trust.Signature
		repo  name.Repository
		d     v1.Hash
		ok    bool
	}{
		"ours":                             {strict, sig, repo, d, true},
		"another digest":                   {strict, sig, repo, digestOf("b"), false},
		"another repository":               {strict, sig, elsewhere, d, false},
		"another repository, laxly":        {lax, sig, elsewhere, d, false},
		"another key":                      {only(newSigner(t)), sig, repo, d, false},
		"no signer":                        {trust.Trust{}, sig, repo, d, false},
		"no signer, laxly":                 {trust.Trust{AnyRepository: true}, nameless, repo, d, false},
		"no repository":                    {strict, nameless, repo, d, false},
		"no repository, laxly":             {lax, nameless, repo, d, true},
		"no repository, another digest":    {lax, nameless, repo, digestOf("b"), false},
		"a statement that is no signature": {lax, another, repo, d, false},
	} {
		if by, err := c.trust.VerifySignature(c.sig, c.repo, c.d); (err == nil) != c.ok {
			t.Errorf("%s: %s, %v", what, by, err)
		}
	}
}

// TestTamperedBundleIsNotAccepted checks that bundles with a changed payload or a second envelope
// are refused.
func TestTamperedBundleIsNotAccepted(t *testing.T) {
	s, d := newSigner(t), digestOf("a")
	good, err := attest(t, s, "x", `{"n":1}`, d).AsBundle(trust.Fingerprint(s.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := only(s).VerifyEnvelope(good, d); err != nil {
		t.Fatal(err)
	}
	edit := func(change func(bundle, envelope map[string]any)) trust.Envelope {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		change(m, m["dsseEnvelope"].(map[string]any))
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	forged := base64.StdEncoding.EncodeToString([]byte(statementOver(`{"n":2}`)))
	for what, e := range map[string]trust.Envelope{
		"another payload":      edit(func(_, e map[string]any) { e["payload"] = forged }),
		"another payload type": edit(func(_, e map[string]any) { e["payloadType"] = "text/plain" }),
		"a second envelope":    edit(func(b, _ map[string]any) { b["payload"], b["payloadType"] = forged, "application/vnd.in-toto+json" }),
		"no signature":         edit(func(_, e map[string]any) { e["signatures"] = []any{} }),
		"two signatures": edit(func(_, e map[string]any) {
			sigs := e["signatures"].([]any)
			e["signatures"] = append(sigs, sigs[0])
		}),
		"a message":        edit(func(b, _ map[string]any) { b["messageSignature"] = map[string]any{} }),
		"no envelope":      edit(func(b, _ map[string]any) { delete(b, "dsseEnvelope") }),
		"no type":          edit(func(b, _ map[string]any) { delete(b, "mediaType") }),
		"an unknown type":  edit(func(b, _ map[string]any) { b["mediaType"] = "application/vnd.dev.sigstore.bundle.v9+json" }),
		"another document": edit(func(b, _ map[string]any) { b["mediaType"] = "application/json" }),
	} {
		if st, by, err := only(s).VerifyEnvelope(e, d); err == nil {
			t.Errorf("%s is accepted: %s by %s", what, st.Predicate, by)
		}
	}
}

func TestRepeatingWritesNoBundles(t *testing.T) {
	onBoth(t, func(t *testing.T, repo name.Repository) {
		s, other := newSigner(t), newSigner(t)
		digest := pushImage(t, repo, "x")
		put := func(s *trust.Signer, predicate string) []string {
			t.Helper()
			if err := attachBundles(t, s, repo, digest, attest(t, s, "x", predicate, digest), attest(t, s, "y", "{}", digest)); err != nil {
				t.Fatal(err)
			}
			return referrersOf(t, repo, digest)
		}
		put(other, `{"n":0}`)
		first := put(s, `{"n":1}`)
		if again := put(s, `{"n":1}`); len(first) != 6 || !cmp.Equal(first, again) {
			t.Errorf("first %v, then %v", first, again)
		}
		if newer := put(s, `{"n":2}`); len(newer) != 6 || cmp.Equal(first, newer) {
			t.Errorf("first %v, newer %v", first, newer)
		}
		got := read(t, repo, digest)
		mine, theirs := predicatesBy(s, "x", got.Envelopes, digest), predicatesBy(other, "x", got.Envelopes, digest)
		if fmt.Sprint(mine, theirs) != `[{"n":2}] [{"n":0}]` || len(got.Signatures) != 2 {
			t.Errorf("mine %v, theirs %v, %d signatures", mine, theirs, len(got.Signatures))
		}
	})
}

func TestConcurrentWritersLoseNoBundles(t *testing.T) {
	onBoth(t, func(t *testing.T, repo name.Repository) {
		const writers = 8
		digest := pushImage(t, repo, "x")
		var group sync.WaitGroup
		var locks WriteLocks
		for i := range writers {
			s := newSigner(t)
			group.Go(func() {
				own := Attachments{Signatures: signAs(t, s, trust.Bundle, repo, digest), Envelopes: []trust.Envelope{attest(t, s, fmt.Sprint(i), "{}", digest)}}
				if err := prepareAndStore(t.Context(), only(s), trust.Bundle, repo, digest, own, Copies{}, Options{Locks: &locks}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got := read(t, repo, digest); len(got.Envelopes) != writers || len(got.Signatures) != writers {
			t.Errorf("%d envelopes and %d signatures of %d", len(got.Envelopes), len(got.Signatures), writers)
		}
	})
}

// TestOverwrittenReferrersAreListedAgain checks that referrers are restored after another process
// wrote an outdated referrers list.
func TestOverwrittenReferrersAreListedAgain(t *testing.T) {
	r := newRegistry(t)
	s, repo := newSigner(t), repoIn(t, r, "app")
	digest := pushImage(t, repo, "x")
	tag := fallbackTag(repo.Digest(digest.String()))
	stale := rawManifest{[]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`), types.OCIImageIndex}
	var written atomic.Bool
	var times atomic.Int64
	r.SetHook(func(_ http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, tag.TagStr()) || req.Header.Get("User-Agent") == "another" {
			return false
		}
		switch {
		case req.Method == http.MethodPut:
			written.Store(true)
		case req.Method == http.MethodGet && written.Swap(false) && times.Add(1) <= 2:
			if err := remote.Put(tag, stale, remote.WithTransport(asAnother{})); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	if err := attachBundles(t, s, repo, digest, attest(t, s, "x", "{}", digest)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, repo, digest); len(got.Envelopes) != 1 || len(got.Signatures) != 1 || times.Load() < 2 {
		t.Errorf("%d envelopes, %d signatures, overwritten %d times", len(got.Envelopes), len(got.Signatures), times.Load())
	}
}

// TestReferrersByOthersAreKept checks that referrers by other signers are kept and do not change
// the result, whatever type they claim, and that unrelated referrers are not downloaded.
func TestReferrersByOthersAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, repo name.Repository) {
		s := newSigner(t)
		digest := pushImage(t, repo, "x")
		subject, err := remote.Head(repo.Digest(digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		foreign := func(artifactType string, layers ...attachment) {
			t.Helper()
			config := rawAttachment(t, []byte("{}"), emptyConfig, nil)
			m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType, Config: config.desc, Subject: subject}
			for _, l := range append(layers, config) {
				if err := remote.WriteLayer(repo, l); err != nil {
					t.Fatal(err)
				}
			}
			for _, l := range layers {
				m.Layers = append(m.Layers, l.desc)
			}
			raw, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			at, _, err := v1.SHA256(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.Put(repo.Digest(at.String()), rawManifest{raw, types.OCIManifestSchema1}); err != nil {
				t.Fatal(err)
			}
		}
		blob := rawAttachment(t, []byte("not JSON"), trust.BundleType, nil)
		text := rawAttachment(t, []byte("text"), "text/plain", nil)
		foreign("application/spdx+json", text)
		foreign(trust.BundleType, text)
		foreign(trust.BundleType, blob, text)
		foreign(trust.BundleType, blob)
		before := referrersOf(t, repo, digest)
		if len(before) != 4 {
			t.Fatalf("%v", before)
		}
		if err := attachBundles(t, s, repo, digest, attest(t, s, "x", "{}", digest)); err != nil {
			t.Fatal(err)
		}
		after := referrersOf(t, repo, digest)
		for _, b := range before {
			if !strings.Contains(strings.Join(after, " "), b) {
				t.Errorf("%s is lost", b)
			}
		}
		got := read(t, repo, digest)
		if sig, att := weAccept(t, s.PublicKey(), repo.Digest(digest.String())); len(after) != 6 || len(got.Envelopes) != 2 || sig != nil || att != nil {
			t.Errorf("%d referrers, %q, %v, %v", len(after), got.Envelopes, sig, att)
		}
	})
}

// TestUnreadableReferrersAreAnError checks that an unreadable referrers list is an error and is not
// overwritten.
func TestUnreadableReferrersAreAnError(t *testing.T) {
	s := newSigner(t)
	for what, hook := range map[string]lab.Hook{
		"denied": lab.When(func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/referrers/") }, lab.Fail(http.StatusForbidden)),
		"tag denied": lab.When(func(r *http.Request) bool { return isFallbackRead(r) || strings.HasSuffix(r.URL.Path, "/tags/list") },
			lab.Fail(http.StatusForbidden)),
		"endless":        lab.When(isFallbackRead, lab.Endless()),
		"an image":       lab.When(isFallbackRead, answer(types.OCIManifestSchema1, `{"schemaVersion":2}`)),
		"not JSON":       lab.When(isFallbackRead, answer(types.OCIImageIndex, `index`)),
		"endless listed": lab.When(func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/referrers/") }, endlessIndex),
	} {
		t.Run(what, func(t *testing.T) {
			r := newRegistry(t)
			repo := repoIn(t, r, "app")
			digest := pushImage(t, repo, "x")
			r.SetHook(hook)
			r.ResetRequests()
			if got, err := Read(t.Context(), trust.Bundle, repo.Digest(digest.String())); err == nil {
				t.Errorf("read: %v", got)
			}
			if err := attachBundles(t, s, repo, digest); err == nil {
				t.Error("attached")
			}
			if got := r.Writes(); len(got) != 0 {
				t.Errorf("writes: %v", got)
			}
		})
	}
}

func isFallbackRead(r *http.Request) bool {
	return r.Method == http.MethodGet && lab.IsManifest(r) && strings.Contains(r.URL.Path, "/sha256-") && !strings.Contains(r.URL.Path, ".")
}

func answer(mediaType types.MediaType, body string) lab.Hook {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", string(mediaType))
		_, err := io.WriteString(w, body)
		return err == nil
	}
}

// endlessIndex responds to a request with an index that never ends, as a hostile registry may.
func endlessIndex(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Content-Type", string(types.OCIImageIndex))
	spaces := bytes.Repeat([]byte(" "), 32<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(spaces); err != nil {
			break
		}
	}
	return true
}

func TestSignatureOfAnotherFormIsNotStored(t *testing.T) {
	r := newRegistry(t)
	s, repo, d := newSigner(t), repoIn(t, r, "app"), digestOf("a")
	for f, signatures := range map[trust.Format][]trust.Signature{
		trust.Legacy:   signAs(t, s, trust.Bundle, repo, d),
		trust.Bundle:   signAs(t, s, trust.Legacy, repo, d),
		trust.Both + 1: nil,
	} {
		if err := store(t, s, f, repo, d, Attachments{Signatures: signatures}); err == nil {
			t.Errorf("%s: attached", f)
		}
	}
	if _, err := trust.SignImage(t.Context(), s, trust.Both+1, repo, d); err == nil {
		t.Error("signed")
	}
	if _, err := Read(t.Context(), trust.Both+1, repo.Digest(d.String())); err == nil {
		t.Error("read")
	}
	if got := r.Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
}

func TestMisspelledFormatIsAnError(t *testing.T) {
	for _, f := range []trust.Format{trust.Legacy, trust.Bundle, trust.Both} {
		if got, err := trust.ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("%s: %s, %v", f, got, err)
		}
	}
	for _, s := range []string{"", "Legacy", "bundles", "format(3)"} {
		if got, err := trust.ParseFormat(s); err == nil {
			t.Errorf("%q is %s", s, got)
		}
	}
}

// TestFailureToListIsNotARefusedWrite checks that storing bundles succeeds if a registry without
// the referrers API responds to a request for referrers with one of the usual status codes.
func TestFailureToListIsNotARefusedWrite(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusBadRequest, http.StatusNotAcceptable} {
		r := newRegistry(t)
		s, repo := newSigner(t), repoIn(t, r, "app")
		digest := pushImage(t, repo, "x")
		r.SetHook(lab.When(func(req *http.Request) bool { return strings.Contains(req.URL.Path, "/referrers/") },
			func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }))
		if err := attachBundles(t, s, repo, digest, attest(t, s, "x", "{}", digest)); err != nil {
			t.Errorf("%d: %v", status, err)
			continue
		}
		if got := read(t, repo, digest); len(got.Envelopes) != 1 || len(got.Signatures) != 1 {
			t.Errorf("%d: %d envelopes, %d signatures", status, len(got.Envelopes), len(got.Signatures))
		}
	}
}

// immutable returns a hook that makes a registry refuse to move a tag. status is the HTTP status of
// the refusal; registries use different ones.
func immutable(status int) lab.Hook {
	var mu sync.Mutex
	seen := map[string]bool{}
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !lab.IsTagWrite(r) {
			return false
		}
		if seen[r.URL.Path] {
			w.WriteHeader(status)
			_, err := io.WriteString(w, `{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}`)
			return err == nil
		}
		seen[r.URL.Path] = true
		return false
	}
}

// TestImmutableTagIsARefusedWrite checks a registry with immutable tags: the first statements stay,
// storing them again succeeds, and storing newer statements is a RefusedError.
func TestImmutableTagIsARefusedWrite(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed} {
		for _, f := range []trust.Format{trust.Legacy, trust.Bundle, trust.Both} {
			t.Run(fmt.Sprint(status, " ", f), func(t *testing.T) {
				r := newRegistry(t)
				s, repo := newSigner(t), repoIn(t, r, "app")
				digest := pushImage(t, repo, "x")
				r.SetHook(immutable(status))
				run := func(envelopes ...trust.Envelope) error {
					return store(t, s, f, repo, digest, Attachments{Signatures: signAs(t, s, f, repo, digest), Envelopes: envelopes})
				}
				for range 2 {
					if err := run(attest(t, s, "x", `{"n":1}`, digest), attest(t, s, "y", "{}", digest)); err != nil {
						t.Fatal(err)
					}
				}
				var refused *RefusedError
				if err := run(attest(t, s, "x", `{"n":2}`, digest), attest(t, s, "y", "{}", digest)); !errors.As(err, &refused) {
					t.Errorf("a newer statement: %v", err)
				}
				for _, p := range predicatesBy(s, "x", read(t, repo, digest).Envelopes, digest) {
					if p != `{"n":1}` {
						t.Errorf("%s", p)
					}
				}
				if err := run(attest(t, s, "z", "{}", digest)); !errors.As(err, &refused) {
					t.Errorf("a further statement: %v", err)
				}
				if err := store(t, newSigner(t), f, repo, digest, Attachments{Envelopes: []trust.Envelope{attest(t, s, "x", "{}", digest)}}); err == nil {
					t.Error("what another signed is taken for ours")
				}
			})
		}
	}
}
