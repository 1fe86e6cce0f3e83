package attestations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// site is a test staging registry with an image and an index.
type site struct {
	*testing.T
	registry *lab.Registry
	image    name.Digest
	index    name.Digest
	children []v1.Hash
}

func newSite(t *testing.T) *site {
	t.Helper()
	r, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	s := &site{T: t, registry: r}
	one, err := lab.Image(lab.ImageSpec{OSRelease: "debian 12"})
	if err != nil {
		t.Fatal(err)
	}
	two, err := lab.Image(lab.ImageSpec{OSRelease: "debian 12", Platform: "linux/arm64"})
	if err != nil {
		t.Fatal(err)
	}
	index, err := lab.Index(one, two)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range m.Manifests {
		s.children = append(s.children, child.Digest)
	}
	s.image, s.index = s.push("team/app:1", one), s.push("team/index:1", index)
	return s
}

func (s *site) push(path string, what remote.Taggable) name.Digest {
	s.Helper()
	d, err := s.registry.Push(s.Context(), path, what)
	if err != nil {
		s.Fatal(err)
	}
	return d
}

// key generates a key. It returns a signer with the key, and a policy rule that trusts the key
// under the given name.
func key(t *testing.T, named string) (*trust.Signer, policy.SignerRule) {
	t.Helper()
	private, public, err := trust.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := trust.LoadKey(private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.NewSigner(k, trust.Services{})
	if err != nil {
		t.Fatal(err)
	}
	return signer, policy.SignerRule{Name: named, Key: string(public)}
}

// attach attaches items by a signer to a digest. The items may be about another digest.
func (s *site) attach(signer *trust.Signer, f trust.Format, at name.Digest, a attach.Attachments) {
	s.Helper()
	if err := storeAs(s.Context(), signer.Trust(), f, at.Context(), s.hash(at), a); err != nil {
		s.Fatal(err)
	}
}

func (s *site) hash(d name.Digest) v1.Hash {
	s.Helper()
	h, err := v1.NewHash(d.DigestStr())
	if err != nil {
		s.Fatal(err)
	}
	return h
}

func (s *site) signature(signer *trust.Signer, f trust.Format, of name.Digest) attach.Attachments {
	s.Helper()
	signatures, err := trust.SignImage(s.Context(), signer, f, of.Context(), s.hash(of))
	if err != nil {
		s.Fatal(err)
	}
	return attach.Attachments{Signatures: signatures}
}

func (s *site) statement(signer *trust.Signer, of v1.Hash, predicateType, predicate string) attach.Attachments {
	s.Helper()
	env, err := trust.Attest(s.Context(), signer, trust.Both, trust.Statement{PredicateType: predicateType, Predicate: json.RawMessage(predicate),
		Subjects: []trust.Subject{{Name: "app", Digest: of}}})
	if err != nil {
		s.Fatal(err)
	}
	return attach.Attachments{Envelopes: []trust.Envelope{env}}
}

func (s *site) read(ref name.Digest, signers ...policy.SignerRule) Evidence {
	s.Helper()
	trusted, err := TrustIn(signers, nil)
	if err != nil {
		s.Fatal(err)
	}
	got, err := evidenceOf(s.Context(), ref, trusted)
	if err != nil {
		s.Fatal(err)
	}
	return got
}

// evidenceOf reads the attachments of an image and returns their evidence for the given trusted
// signers.
func evidenceOf(ctx context.Context, ref name.Digest, trusted trust.Trust) (Evidence, error) {
	found, err := Read(ctx, ref, trusted)
	if err != nil {
		return Evidence{}, err
	}
	return found.Evidence()
}

const (
	buildkit = `{"builder":{"id":"https://ci.example/builder"},"buildType":"x","invocation":{"configSource":{"uri":"https://git.example/team/app.git#refs/heads/main","digest":{"sha1":"abc"}}}}`
	openVEX  = `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://vex.example/1","author":"security","timestamp":"2026-01-01T00:00:00Z","version":1,
		"statements":[{"vulnerability":{"name":"CVE-2026-1"},"products":[{"@id":"pkg:deb/debian/openssl"}],"status":"not_affected","justification":"component_not_present"}]}`
)

// TestRead checks that signatures, provenance and VEX statements are found in both signature
// formats, with their signers.
func TestRead(t *testing.T) {
	for _, form := range []trust.Format{trust.Legacy, trust.Bundle, trust.Both} {
		t.Run(form.String(), func(t *testing.T) {
			s := newSite(t)
			signer, rule := key(t, "ci")
			fingerprint := trust.Fingerprint(signer.PublicKey())
			digest := s.hash(s.image)
			s.attach(signer, form, s.image, s.signature(signer, form, s.image))
			s.attach(signer, form, s.image, s.statement(signer, digest, provenance02, buildkit))
			s.attach(signer, form, s.image, s.statement(signer, digest, "https://openvex.dev/ns/v0.2.0", openVEX))
			got := s.read(s.image, rule)
			if got.Unverified != 0 || len(got.VEX) != map[trust.Format]int{trust.Legacy: 1, trust.Bundle: 1, trust.Both: 2}[form] {
				t.Errorf("%+v", got)
			}
			for _, v := range got.VEX {
				if v.Signer == nil || v.Signer.Key != fingerprint || v.ID != "CVE-2026-1" {
					t.Errorf("%+v", v)
				}
			}
			kinds := map[string]int{}
			for _, a := range got.Attestations {
				kinds[a.PredicateType]++
				if a.Subject != digest.String() || a.Signer != (evidence.Signer{Key: fingerprint}) || !strings.HasPrefix(a.Digest, "sha256:") {
					t.Errorf("%+v", a)
				}
				if a.PredicateType == provenance02 {
					want := &evidence.Provenance{Builder: "https://ci.example/builder", Source: "https://git.example/team/app", Revision: "abc"}
					if diff := cmp.Diff(want, a.Provenance); diff != "" {
						t.Error(diff)
					}
				}
			}
			signatures := 1 // In the bundle format, a signature is a statement. It differs from the signed document of the legacy format.
			if form == trust.Both {
				signatures = 2
			}
			if diff := cmp.Diff(map[string]int{"": signatures, provenance02: 1, "https://openvex.dev/ns/v0.2.0": 1}, kinds); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUntrustedStatementsAreOnlyCounted checks that items are not accepted and only counted if an
// untrusted signer signed them, if they are about another image, or if they were altered.
func TestUntrustedStatementsAreOnlyCounted(t *testing.T) {
	s := newSite(t)
	signer, rule := key(t, "ci")
	other, _ := key(t, "other")
	elsewhere := s.push("elsewhere/app:1", mustImage(t))
	moved := s.image.Context().Digest(elsewhere.DigestStr())
	for what, a := range map[string]attach.Attachments{
		"another key":            s.statement(other, s.hash(s.image), provenance02, buildkit),
		"a signature by another": s.signature(other, trust.Legacy, s.image),
	} {
		s.attach(other, trust.Legacy, s.image, a)
		if got := s.read(s.image, rule); len(got.Attestations)+len(got.VEX) > 0 || got.Unverified == 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	// Attach items to s.image that are about another image. They must only be counted.
	before := s.read(s.image, rule).Unverified
	s.attach(signer, trust.Legacy, s.image, s.statement(signer, s.hash(moved), provenance02, buildkit))
	s.attach(signer, trust.Legacy, s.image, s.signature(signer, trust.Legacy, elsewhere))
	if got := s.read(s.image, rule); len(got.Attestations) > 0 || got.Unverified != before+2 {
		t.Errorf("%+v", got)
	}
	// A valid statement is accepted only if the policy has a trusted signer.
	s.attach(signer, trust.Legacy, s.image, s.statement(signer, s.hash(s.image), provenance02, buildkit))
	if got := s.read(s.image, rule); len(got.Attestations) != 1 {
		t.Errorf("%+v", got)
	}
	if got := s.read(s.image); len(got.Attestations) > 0 {
		t.Errorf("%+v", got)
	}
}

func mustImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := lab.Image(lab.ImageSpec{OSRelease: "debian 11"})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestPlatformsAreRead checks that Read finds the attachments of a platform, and that their subject
// is the digest of the platform.
func TestPlatformsAreRead(t *testing.T) {
	s := newSite(t)
	signer, rule := key(t, "ci")
	child := s.index.Context().Digest(s.children[1].String())
	s.attach(signer, trust.Legacy, child, s.statement(signer, s.children[1], provenance02, buildkit))
	s.attach(signer, trust.Legacy, s.index, s.signature(signer, trust.Legacy, s.index))
	got := s.read(s.index, rule)
	var subjects []string
	for _, a := range got.Attestations {
		subjects = append(subjects, a.Subject)
	}
	if diff := cmp.Diff([]string{s.index.DigestStr(), s.children[1].String()}, subjects); diff != "" {
		t.Error(diff)
	}
}

// TestUnreadableStatementOfATrustedSignerIsAnError checks that an unreadable statement by a trusted
// signer is not skipped, because it may revoke another statement.
func TestUnreadableStatementOfATrustedSignerIsAnError(t *testing.T) {
	for predicateType, predicate := range map[string]string{
		"https://openvex.dev/ns/v0.2.0": `{"statements":1}`,
		provenance02:                    `{"builder":1}`,
		provenance1:                     `{"buildDefinition":{"externalParameters":{"source":1}}}`,
	} {
		s := newSite(t)
		signer, rule := key(t, "ci")
		s.attach(signer, trust.Legacy, s.image, s.statement(signer, s.hash(s.image), predicateType, predicate))
		trusted, err := TrustIn([]policy.SignerRule{rule}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := evidenceOf(t.Context(), s.image, trusted)
		var unreadable *UnreadableError
		if !errors.As(err, &unreadable) {
			t.Errorf("%s: %+v, %v", predicateType, got, err)
		}
	}
}

// TestFailedRequestIsAnError checks that a failed request is not treated as an empty response.
func TestFailedRequestIsAnError(t *testing.T) {
	s := newSite(t)
	_, rule := key(t, "ci")
	trusted, err := TrustIn([]policy.SignerRule{rule}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.registry.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".att") || strings.HasSuffix(r.URL.Path, "/tags/list") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	if got, err := Read(t.Context(), s.image, trusted); err == nil {
		t.Errorf("%+v", got)
	}
}

func TestTrustIn(t *testing.T) {
	if _, err := TrustIn([]policy.SignerRule{{Name: "ci", Issuer: "https://login.example", Subject: "*"}}, nil); !errors.Is(err, ErrNoRoot) {
		t.Errorf("%v", err)
	}
	if _, err := TrustIn([]policy.SignerRule{{Name: "ci", Key: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}}, nil); err == nil {
		t.Error("no key is a key")
	}
	// A P-256 key with explicit curve parameters is the same key in another encoding.
	unusual, err := os.ReadFile(filepath.Join("testdata", "explicit.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TrustIn([]policy.SignerRule{{Name: "ci", Key: string(unusual)}}, nil); err == nil {
		t.Error("a key in another form would be nobody")
	}
	for pattern, want := range map[string]string{"https://a.b/*": `https://a\.b/.*`, "*": ".*", "a+b": `a\+b`} {
		if got := expression(pattern); got != want {
			t.Errorf("%s: %s", pattern, got)
		}
	}
}

// TestProvenance checks that the source, builder and revision are found in provenance by real
// builders.
func TestProvenance(t *testing.T) {
	for name, test := range map[string]struct {
		predicateType, predicate string
		want                     *evidence.Provenance
	}{
		"BuildKit": {provenance02, buildkit, &evidence.Provenance{Builder: "https://ci.example/builder", Source: "https://git.example/team/app", Revision: "abc"}},
		"slsa-github-generator": {provenance02,
			`{"builder":{"id":"https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.0.0"},"invocation":{"configSource":{"uri":"git+https://github.com/example/app@refs/heads/main","digest":{"sha1":"abc"},"entryPoint":".github/workflows/release.yml"}},"materials":[{"uri":"git+https://github.com/attacker/x"}]}`,
			&evidence.Provenance{Builder: "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.0.0", Source: "https://github.com/example/app", Revision: "abc"}},
		"GitHub": {provenance1,
			`{"buildDefinition":{"buildType":"https://actions.github.io/buildtypes/workflow/v1","externalParameters":{"workflow":{"ref":"refs/heads/main","repository":"https://github.com/example/app","path":".github/workflows/build.yml"}},"resolvedDependencies":[{"uri":"git+https://github.com/example/app@refs/heads/main","digest":{"gitCommit":"abc"}}]},"runDetails":{"builder":{"id":"https://github.com/example/app/.github/workflows/build.yml@refs/heads/main"}}}`,
			&evidence.Provenance{Builder: "https://github.com/example/app/.github/workflows/build.yml@refs/heads/main", Source: "https://github.com/example/app", Revision: "abc"}},
		"Google": {provenance1,
			`{"buildDefinition":{"externalParameters":{"source":{"uri":"git+https://git.example/app@v1","digest":{"gitCommit":"abc"}}}},"runDetails":{"builder":{"id":"b"}}}`,
			&evidence.Provenance{Builder: "b", Source: "https://git.example/app", Revision: "abc"}},
		"text": {provenance1, `{"buildDefinition":{"externalParameters":{"source":"https://git.example/app"}},"runDetails":{"builder":{"id":"b"}}}`,
			&evidence.Provenance{Builder: "b", Source: "https://git.example/app"}},
		"credentials are not a part": {provenance1, `{"buildDefinition":{"externalParameters":{"source":"https://user:secret@git.example/app"}}}`,
			&evidence.Provenance{Source: "https://git.example/app"}},
		"a dependency is no source": {provenance1, `{"buildDefinition":{"resolvedDependencies":[{"uri":"git+https://git.example/app"}]},"runDetails":{"builder":{"id":"b"}}}`,
			&evidence.Provenance{Builder: "b"}},
		"no URL":            {provenance1, `{"buildDefinition":{"externalParameters":{"source":"app"}}}`, &evidence.Provenance{}},
		"another statement": {"https://spdx.dev/Document", `{}`, nil},
	} {
		got, err := provenanceOf(test.predicateType, []byte(test.predicate))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if s := fmt.Sprint(digestOf(nil)); s != "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Error(s)
	}
}

// storeAs stores attachments by the signer of own.
func storeAs(ctx context.Context, own trust.Trust, f trust.Format, repo name.Repository, digest v1.Hash, a attach.Attachments) error {
	p, err := attach.Prepare(own, f, repo, digest, a, attach.Copies{}, attach.Options{})
	if err != nil {
		return err
	}
	return p.Store(ctx)
}
