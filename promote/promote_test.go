package promote

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/catalog"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

var database *vulndb.DB

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "promote-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	archive := filepath.Join(dir, "database.tar.gz")
	if _, err = vulndb.Build(ctx, vulndb.BuildOptions{From: "../examples/records", To: archive, TempDir: dir, Now: time.Now}); err == nil {
		_, err = vulndb.Import(ctx, vulndb.ImportOptions{Dir: filepath.Join(dir, "db"), File: archive, Now: time.Now})
	}
	if err == nil {
		database, err = vulndb.Open(ctx, filepath.Join(dir, "db"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer database.Close()
	return m.Run()
}

var tool = gate.Tool{Name: "imagegate", Version: "test", URI: "https://example.com/imagegate", Components: map[string]string{"grype": "test"}}

const policyText = `
version: 1
rules:
  - name: no critical
    severity: critical
  - name: no high with a fix
    severity: high
    fix: available
`

// world has a staging registry, an approved registry, and a policy that the default image passes.
type world struct {
	*testing.T
	staging, approved *lab.Registry
	signer            *trust.Signer
	second            *trust.Signer // the signer of a second promoter; nil means the same signer
	policy            *policy.Policy
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t}
	for _, r := range []**lab.Registry{&w.staging, &w.approved} {
		registry, err := lab.StartRegistry(lab.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { registry.Close() })
		*r = registry
	}
	w.signer = newSigner(t)
	p, err := policy.Parse("policy.yaml", []byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	w.policy = p
	return w
}

func newSigner(t *testing.T) *trust.Signer {
	t.Helper()
	private, _, err := trust.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.LoadKey(private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	s, err := trust.NewSigner(key, trust.Services{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// spec returns the description of an image that passes. Images with different content have
// different digests.
func spec(platform, content string) lab.ImageSpec {
	return lab.ImageSpec{Platform: platform, OSRelease: "debian 12",
		DebPackages: []lab.Deb{{Name: "openssl", Version: "3.0.13-1~debian12u1"}},
		Files:       []lab.File{{Path: "content", Content: content}}}
}

func (w *world) image(content string) v1.Image {
	w.Helper()
	img, err := lab.Image(spec("linux/amd64", content))
	if err != nil {
		w.Fatal(err)
	}
	return img
}

func (w *world) index(content string) v1.ImageIndex {
	w.Helper()
	var images []v1.Image
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		img, err := lab.Image(spec(platform, content+platform))
		if err != nil {
			w.Fatal(err)
		}
		images = append(images, img)
	}
	idx, err := lab.Index(images...)
	if err != nil {
		w.Fatal(err)
	}
	if idx, err = lab.WithAttestations(idx); err != nil {
		w.Fatal(err)
	}
	return idx
}

// approve pushes an image to staging and checks it. It fails the test if the image does not pass.
func (w *world) approve(what remote.Taggable) *gate.Approval {
	w.Helper()
	return w.approveWith(what, gate.ExternalEvidence{})
}

func (w *world) approveWith(what remote.Taggable, external gate.ExternalEvidence) *gate.Approval {
	w.Helper()
	r := w.check(what, external)
	if r.Approval == nil {
		w.Fatalf("denied: %+v", r.Decision.Violations)
	}
	return r.Approval
}

// patterns are the compiled patterns of the catalogers, shared by all tests.
var patterns = &catalog.Patterns{}

func (w *world) check(what remote.Taggable, external gate.ExternalEvidence) *gate.Result {
	w.Helper()
	if _, err := w.staging.Push(w.Context(), "app:1", what); err != nil {
		w.Fatal(err)
	}
	src, err := gate.ParseSource(w.staging.Ref("app:1"))
	if err != nil {
		w.Fatal(err)
	}
	g, err := gate.New(gate.Options{Policies: policy.Set{w.policy}, Database: database, TempDir: w.TempDir(), Now: time.Now, Tool: tool, Patterns: patterns})
	if err != nil {
		w.Fatal(err)
	}
	r, err := g.Check(w.Context(), src, external)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { r.Close() })
	return r
}

func (w *world) promoter(change ...func(*Options)) *Promoter {
	w.Helper()
	opts := Options{Signer: w.signer, VerifierOptions: VerifierOptions{Now: time.Now}}
	for _, c := range change {
		c(&opts)
	}
	p, err := New(opts)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) tag(path string) name.Tag {
	w.Helper()
	tag, err := name.NewTag(w.approved.Ref(path))
	if err != nil {
		w.Fatal(err)
	}
	return tag
}

func (w *world) verify(ref name.Reference, t Trust) (*Record, error) {
	w.Helper()
	v, err := NewVerifier(VerifierOptions{Now: time.Now})
	if err != nil {
		w.Fatal(err)
	}
	return v.Verify(w.Context(), ref, t)
}

func (w *world) trusting(keys ...crypto.PublicKey) Trust {
	return Trust{Trust: trust.Trust{Keys: keys}}
}

// absent fails the test if the tag exists.
func (w *world) absent(tag name.Tag) {
	w.Helper()
	_, err := remote.Head(tag)
	if !registry.IsNotFound(err) {
		w.Errorf("the tag is there, or cannot be told: %v", err)
	}
}

func TestTagIsTheLastWrite(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.index("x")), w.tag("prod/app:1")
	records, err := w.promoter().Promote(t.Context(), a, tag)
	if err != nil {
		t.Fatal(err)
	}
	writes := w.approved.Writes()
	for i, req := range writes {
		if isTag := strings.HasSuffix(req.Path, "/manifests/1"); isTag != (i == len(writes)-1) {
			t.Errorf("write %d of %d is %s", i+1, len(writes), req)
		}
	}
	if len(records) != 1 || records[0].Digest != a.Image().Digest.String() || len(records[0].Statements) != 9 {
		t.Errorf("the records are %+v", records)
	}
	if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
		t.Error(err)
	}
}

// TestFailureAnywhereLeavesNoTag makes each write in turn fail permanently. The tag is never
// written, and promoting again adds the missing parts.
func TestFailureAnywhereLeavesNoTag(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.index("x"))
	if _, err := w.promoter().Promote(t.Context(), a, w.tag("count/app:1")); err != nil {
		t.Fatal(err)
	}
	total := len(w.approved.Writes())
	if total < 20 {
		t.Fatalf("only %d writes", total)
	}
	for n := range total {
		tag := w.tag(fmt.Sprintf("repo%d/app:1", n))
		w.approved.SetHook(lab.When(lab.IsWrite, lab.After(int64(n), lab.Fail(http.StatusForbidden))))
		_, err := w.promoter(func(o *Options) { o.Parallel = 1 }).Promote(t.Context(), a, tag)
		var failed *registry.Error
		if err == nil || !errors.As(err, &failed) || failed.Side != registry.Approved {
			t.Errorf("write %d failed: %v", n, err)
		}
		w.approved.SetHook(nil)
		w.absent(tag)
		if _, err := w.promoter().Promote(t.Context(), a, tag); err != nil {
			t.Errorf("again, after write %d failed: %v", n, err)
		}
		if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
			t.Errorf("again, after write %d failed: %v", n, err)
		}
	}
}

func TestCancellationLeavesNoTag(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.image("x"))
	for n := range 15 {
		tag := w.tag(fmt.Sprintf("repo%d/app:1", n))
		ctx, cancel := context.WithCancel(t.Context())
		var seen atomic.Int64
		w.approved.SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
			if lab.IsWrite(r) && seen.Add(1) > int64(n) {
				cancel()
			}
			return false
		})
		_, err := w.promoter().Promote(ctx, a, tag)
		w.approved.SetHook(nil)
		cancel()
		if seen.Load() <= int64(n) {
			break // the run ended before write number n
		}
		if err == nil {
			continue // the run was canceled during its last request
		}
		w.absent(tag)
	}
}

func TestSeveralDestinationsAreTaggedTogether(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.image("x"))
	other, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetHook(lab.When(lab.IsWrite, lab.Fail(http.StatusForbidden)))
	good, bad := w.tag("app:1"), mustTag(t, other.Ref("app:1"))
	if _, err := w.promoter().Promote(t.Context(), a, good, bad); err == nil {
		t.Fatal("no error")
	}
	w.absent(good)
	other.SetHook(nil)
	if _, err := w.promoter().Promote(t.Context(), a, good, bad); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []name.Tag{good, bad} {
		if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
			t.Error(err)
		}
	}
}

func mustTag(t *testing.T, ref string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

func TestZeroApprovalIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, a := range []*gate.Approval{nil, {}} {
		if _, err := w.promoter().Promote(t.Context(), a, w.tag("app:1")); err == nil || !strings.Contains(err.Error(), "no approval") {
			t.Errorf("%v", err)
		}
	}
	if got := w.approved.Requests(); len(got) != 0 {
		t.Errorf("the registry was asked: %v", got)
	}
}

func TestEndedApprovalIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.image("x"))
	later := func(o *Options) { o.Now = func() time.Time { return a.Decision().Until } }
	if _, err := w.promoter(later).Promote(t.Context(), a, w.tag("app:1")); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("%v", err)
	}
}

func TestTagIsNotMovedByDefault(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	first := w.approve(w.image("one"))
	if _, err := w.promoter().Promote(t.Context(), first, tag); err != nil {
		t.Fatal(err)
	}
	second := w.approve(w.image("two"))
	w.approved.ResetRequests()
	_, err := w.promoter().Promote(t.Context(), second, tag)
	var conflict *TagConflictError
	if !errors.As(err, &conflict) || conflict.Have != first.Image().Digest || conflict.Want != second.Image().Digest {
		t.Errorf("%v", err)
	}
	if got := w.approved.Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
	if _, err := w.promoter(func(o *Options) { o.MoveTag = true }).Promote(t.Context(), second, tag); err != nil {
		t.Error(err)
	}
}

// TestRepeatedPromotionWritesNothing checks that a repeated promotion writes nothing, and which
// changes of the basis make a new promotion necessary.
func TestRepeatedPromotionWritesNothing(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.image("x")), w.tag("app:1")
	basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool}
	digest := a.Image().Digest
	promoted := func(p *Promoter, b Basis) bool {
		t.Helper()
		_, done, err := p.Promoted(t.Context(), digest, b, nil, tag)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if promoted(w.promoter(), basis) {
		t.Error("done before it began")
	}
	if _, err := w.promoter().Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	w.approved.ResetRequests()
	if !promoted(w.promoter(), basis) {
		t.Error("not done afterwards")
	}
	if got := w.approved.Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
	other := basis
	other.Policy = "sha256:" + strings.Repeat("0", 64)
	newer := basis
	newer.Database = "sha256:" + strings.Repeat("0", 64)
	upgraded := basis
	upgraded.Tool.Version = "newer"
	for name, b := range map[string]Basis{"policy": other, "database": newer, "tool": upgraded} {
		if promoted(w.promoter(), b) {
			t.Errorf("done although the %s is another", name)
		}
	}
	if promoted(w.promoter(func(o *Options) { o.Now = func() time.Time { return a.Decision().Until } }), basis) {
		t.Error("done although the decision has ended")
	}
	if promoted(w.promoter(func(o *Options) { o.Signer = newSigner(t) }), basis) {
		t.Error("done although it was signed by another key")
	}
}

// TestRepeatedPromotionKeepsTheListsSmall checks that the statements of a newer decision replace
// the statements of the older one, so that attachment lists do not grow with each promotion.
func TestRepeatedPromotionKeepsTheListsSmall(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	a := w.approve(w.image("x"))
	for range 3 {
		if _, err := w.promoter().Promote(t.Context(), w.approve(w.image("x")), tag); err != nil {
			t.Fatal(err)
		}
	}
	got, err := attach.Read(t.Context(), trust.Both, tag.Context().Digest(a.Image().Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Signatures) != 1 || len(got.Envelopes) != 5 {
		t.Errorf("%d signatures and %d envelopes", len(got.Signatures), len(got.Envelopes))
	}
}

func TestVerifyTrustsNoSignerByDefault(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	if _, err := w.promoter().Promote(t.Context(), w.approve(w.image("x")), tag); err != nil {
		t.Fatal(err)
	}
	for name, tr := range map[string]Trust{
		"zero":      {},
		"other key": w.trusting(newSigner(t).PublicKey()),
		"too old":   {Trust: w.signer.Trust(), MaxAge: time.Nanosecond},
		"policy":    {Trust: w.signer.Trust(), Policy: "sha256:00"},
	} {
		_, err := w.verify(tag, tr)
		var unproven *VerifyError
		if !errors.As(err, &unproven) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An image must verify if one of several trusted keys signed it, as during a key rotation.
	if _, err := w.verify(tag, w.trusting(newSigner(t).PublicKey(), w.signer.PublicKey())); err != nil {
		t.Error(err)
	}
}

// TestMissingStatementIsNotAPass checks that an image is refused if one of its statements or its
// signature is missing. It removes each in turn, from the image and from one of its platforms.
func TestMissingStatementIsNotAPass(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.index("x"))
	repo := w.tag("app:1").Context()
	if _, err := w.promoter().Promote(t.Context(), a, repo.Tag("1")); err != nil {
		t.Fatal(err)
	}
	trusted := w.trusting(w.signer.PublicKey())
	for _, digest := range []v1.Hash{a.Image().Digest, a.Image().Platforms[1].Digest} {
		att := repo.Tag(digest.Algorithm + "-" + digest.Hex + ".att")
		whole, err := remote.Image(att)
		if err != nil {
			t.Fatal(err)
		}
		m, err := whole.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Layers {
			less := m.DeepCopy()
			less.Layers = slices.Delete(less.Layers, i, i+1)
			raw, err := json.Marshal(less)
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.Put(att, manifest{raw, less.MediaType}); err != nil {
				t.Fatal(err)
			}
			_, err = w.verify(repo.Tag("1"), trusted)
			var unproven *VerifyError
			if !errors.As(err, &unproven) {
				t.Errorf("without %s at %s: %v", m.Layers[i].Annotations["predicateType"], digest, err)
			}
		}
		if err := remote.Write(att, whole); err != nil {
			t.Fatal(err)
		}
		if _, err := w.verify(repo.Tag("1"), trusted); err != nil {
			t.Fatalf("with everything back: %v", err)
		}
	}
}

// TestDecisionOfAnotherRepositoryIsNotAccepted checks that a complete copy in another repository,
// including signatures, proves nothing about that repository.
func TestDecisionOfAnotherRepositoryIsNotAccepted(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.image("x")), w.tag("app:1")
	if _, err := w.promoter().Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	mirror := w.tag("mirror:1")
	img, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(mirror, img); err != nil {
		t.Fatal(err)
	}
	d := a.Image().Digest
	for _, suffix := range []string{".sig", ".att"} {
		from := tag.Context().Tag(d.Algorithm + "-" + d.Hex + suffix)
		img, err := remote.Image(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(mirror.Context().Tag(from.TagStr()), img); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.verify(mirror, w.trusting(w.signer.PublicKey()))
	var unproven *VerifyError
	if !errors.As(err, &unproven) {
		t.Errorf("%v", err)
	}
}

// TestLaterDenialOutweighsAnEarlierPass checks that a later failed decision counts instead of an
// earlier pass.
func TestLaterDenialOutweighsAnEarlierPass(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.image("x")), w.tag("app:1")
	if _, err := w.promoter().Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	later, err := newDecision(a, destinations([]name.Tag{tag})[0], []resource{{URI: "x", Digest: map[string]string{"sha256": "x"}}}, CopyPlan{})
	if err != nil {
		t.Fatal(err)
	}
	later.Result, later.TimeVerified = "FAILED", time.Now().Add(time.Second)
	raw, err := encode(later)
	if err != nil {
		t.Fatal(err)
	}
	subjects := append(allSubjects(tag.Context(), a.Image()), trust.Subject{Name: "another", Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}})
	env, err := trust.Attest(t.Context(), w.signer, trust.Both, trust.Statement{PredicateType: DecisionType, Subjects: subjects, Predicate: raw})
	if err != nil {
		t.Fatal(err)
	}
	if err := storeAs(t.Context(), w.signer.Trust(), trust.Legacy, tag.Context(), a.Image().Digest, attach.Attachments{Envelopes: []trust.Envelope{env}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err == nil || !strings.Contains(err.Error(), "FAILED") {
		t.Errorf("%v", err)
	}
}

func TestBlobsAreMountedInOneRegistry(t *testing.T) {
	w := newWorld(t)
	w.approved = w.staging
	a := w.approve(w.image("x"))
	records, err := w.promoter().Promote(t.Context(), a, w.tag("elsewhere:1"))
	if err != nil {
		t.Fatal(err)
	}
	if got := records[0].Copied; got.Bytes != 0 || got.Sent != 0 || got.Blobs != 3 {
		t.Errorf("copied %+v", got)
	}
}

func TestMissingSourceIsAnError(t *testing.T) {
	w := newWorld(t)
	_, err := w.verify(w.tag("nothing:1"), w.trusting(w.signer.PublicKey()))
	var failed *registry.Error
	if !errors.As(err, &failed) {
		t.Errorf("%v", err)
	}
}

// brokenKey is a key that returns an error for every signature.
type brokenKey struct{ public crypto.PublicKey }

func (k brokenKey) PublicKey() crypto.PublicKey { return k.public }

func (brokenKey) Sign(context.Context, []byte) ([]byte, error) {
	return nil, errors.New("no such device")
}

// TestBrokenSignerLeavesTheRegistryUnchanged checks that a failing signer causes no write, because
// everything is signed before the first write.
func TestBrokenSignerLeavesTheRegistryUnchanged(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.image("x"))
	broken, err := trust.NewSigner(brokenKey{w.signer.PublicKey()}, trust.Services{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.promoter(func(o *Options) { o.Signer = broken }).Promote(t.Context(), a, w.tag("app:1"))
	var sealing *SigningError
	if !errors.As(err, &sealing) {
		t.Errorf("%v", err)
	}
	if got := w.approved.Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
}

// TestExceptionOfOneRepositoryDoesNotServeAnother checks that a promotion from one staging
// repository does not count for the same image in another staging repository.
func TestExceptionOfOneRepositoryDoesNotServeAnother(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.image("x")), w.tag("app:1")
	if _, err := w.promoter().Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool}
	for repository, want := range map[string]bool{basis.Repository: true, "another/repository": false} {
		basis.Repository = repository
		if _, done, err := w.promoter().Promoted(t.Context(), a.Image().Digest, basis, nil, tag); err != nil || done != want {
			t.Errorf("%s: done is %v, %v", repository, done, err)
		}
	}
}

// TestEvidenceTagIsNotADestination checks that Promote refuses tags that are reserved for the
// signatures of images.
func TestEvidenceTagIsNotADestination(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.image("x"))
	for _, suffix := range []string{"", ".sig", ".att"} {
		if _, err := w.promoter().Promote(t.Context(), a, w.tag("app:sha256-"+strings.Repeat("a", 64)+suffix)); err == nil {
			t.Errorf("%q is accepted", suffix)
		}
	}
}

// TestIncompletePromotionIsRepeated checks that a promotion does not count as done if a manifest or
// blob is missing.
func TestIncompletePromotionIsRepeated(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.index("x")), w.tag("app:1")
	if _, err := w.promoter().Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool}
	lost := map[string]func(*http.Request) bool{
		"manifest": func(r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, a.Image().Platforms[1].Digest.String())
		},
		"blob": lab.IsBlob,
	}
	for what, is := range lost {
		if what == "blob" {
			is = func(r *http.Request) bool { return r.Method == http.MethodHead && lab.IsBlob(r) }
		}
		w.approved.SetHook(lab.When(is, lab.Fail(http.StatusNotFound)))
		_, done, err := w.promoter().Promoted(t.Context(), a.Image().Digest, basis, nil, tag)
		if err != nil || done {
			t.Errorf("without a %s: done is %v, %v", what, done, err)
		}
	}
}

// TestPlatformOfSeveralIndexesKeepsAllListedStatements checks that a platform that belongs to
// several indexes keeps the statements for each index. A statement about a platform also names the
// index.
func TestPlatformOfSeveralIndexesKeepsAllListedStatements(t *testing.T) {
	w := newWorld(t)
	shared := w.image("shared")
	digest, err := shared.Digest()
	if err != nil {
		t.Fatal(err)
	}
	var tags []name.Tag
	for _, other := range []string{"one", "two", "three"} {
		arm, err := lab.Image(spec("linux/arm64", other))
		if err != nil {
			t.Fatal(err)
		}
		idx, err := lab.Index(shared, arm)
		if err != nil {
			t.Fatal(err)
		}
		tag := w.tag("app:" + other)
		if _, err := w.promoter().Promote(t.Context(), w.approve(idx), tag); err != nil {
			t.Fatal(err)
		}
		tags = append(tags, tag)
	}
	found, err := attach.Read(t.Context(), trust.Both, tags[0].Context().Digest(digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range found.Envelopes {
		st, _, err := w.trusting(w.signer.PublicKey()).VerifyEnvelope(e, digest)
		if err != nil {
			t.Fatal(err)
		}
		kinds[st.PredicateType]++
	}
	want := map[string]int{SPDXType: len(tags), CycloneDXType: len(tags), ScanType: len(tags), VulnsType: len(tags), DecisionType: len(tags)}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
	for _, tag := range tags {
		if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
			t.Errorf("%s: %v", tag, err)
		}
	}
}

// TestEveryFormIsComplete checks that an image promoted in both formats can be verified in each
// format alone, and that a missing format does not count as done.
func TestEveryFormIsComplete(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.index("x")), w.tag("app:1")
	basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool}
	in := func(f trust.Format) *Promoter { return w.promoter(func(o *Options) { o.Format = f }) }
	if _, err := in(trust.Bundle).Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
		t.Error(err)
	}
	for f, want := range map[trust.Format]bool{trust.Bundle: true, trust.Legacy: false, trust.Both: false} {
		if _, done, err := in(f).Promoted(t.Context(), a.Image().Digest, basis, nil, tag); err != nil || done != want {
			t.Errorf("%s: done is %v, %v", f, done, err)
		}
	}
	if _, err := in(trust.Both).Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	for _, f := range []trust.Format{trust.Bundle, trust.Legacy, trust.Both} {
		records, done, err := in(f).Promoted(t.Context(), a.Image().Digest, basis, nil, tag)
		if err != nil || !done {
			t.Errorf("%s: done is %v, %v", f, done, err)
			continue
		}
		// Expect four statements for each of two platforms, and the decision.
		if n := len(records[0].Statements); n != 9 {
			t.Errorf("%s: %d statements", f, n)
		}
	}
	record, err := w.verify(tag, w.trusting(w.signer.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(record.Statements); n != 9 {
		t.Errorf("both together: %d statements", n)
	}
}

// storeAs stores attachments of a digest. own must trust their signer.
func storeAs(ctx context.Context, own trust.Trust, f trust.Format, repo name.Repository, digest v1.Hash, a attach.Attachments) error {
	p, err := attach.Prepare(own, f, repo, digest, a, attach.Copies{}, attach.Options{})
	if err != nil {
		return err
	}
	return p.Store(ctx)
}
