package promote

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// overridable is a policy that denies oldSSL and allows overrides.
const overridable = `
version: 1
rules:
  - name: nothing medium
    severity: medium
override:
  maxLifetime: 24h
  approvers: [oncall@example.com]
`

func asked() policy.Override {
	return policy.Override{Reason: "the repair itself is vulnerable", Approver: "oncall@example.com", Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Second)}
}

// letThrough checks an image and overrides the denial. It fails the test if the policy does not
// deny the image or does not allow the override.
func (w *world) letThrough(what remote.Taggable, o policy.Override) *gate.Approval {
	w.Helper()
	w.parse(overridable)
	a, err := w.check(what, gate.ExternalEvidence{}).Override(o)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// overridden promotes a denied image to tag with an override, and returns the approval.
func (w *world) overridden(what remote.Taggable, tag name.Tag) *gate.Approval {
	w.Helper()
	a := w.letThrough(what, asked())
	if _, err := w.promoter(moving).Promote(w.Context(), a, tag); err != nil {
		w.Fatal(err)
	}
	return a
}

func (w *world) vulnerableIndex() v1.ImageIndex {
	w.Helper()
	idx, err := lab.Index(w.having("linux/amd64", oldSSL), w.having("linux/arm64", oldSSL, oldJQ))
	if err != nil {
		w.Fatal(err)
	}
	return idx
}

// trustingOwnKey returns a Trust for the world's key that accepts overrides.
func (w *world) trustingOwnKey() Trust {
	t := w.trusting(w.signer.PublicKey())
	t.AllowOverride = true
	return t
}

// refused fails the test unless err is a *VerifyError that contains want.
func (w *world) refused(what string, err error, want string) {
	w.Helper()
	var unproven *VerifyError
	if !errors.As(err, &unproven) || !strings.Contains(err.Error(), want) {
		w.Errorf("%s: %v, want %q", what, err, want)
	}
}

func attestations(repo name.Repository, digest v1.Hash) name.Tag {
	return repo.Tag(digest.Algorithm + "-" + digest.Hex + ".att")
}

// statementsOf reads the statements about a digest. It returns the layers whose statements have the
// type kind, and the manifest without these layers.
func (w *world) statementsOf(repo name.Repository, digest v1.Hash, kind string) (m *v1.Manifest, of []v1.Descriptor) {
	w.Helper()
	img, err := remote.Image(attestations(repo, digest))
	if err != nil {
		w.Fatal(err)
	}
	if m, err = img.Manifest(); err != nil {
		w.Fatal(err)
	}
	m = m.DeepCopy()
	m.Layers = slices.DeleteFunc(m.Layers, func(d v1.Descriptor) bool {
		if d.Annotations["predicateType"] == kind {
			of = append(of, d)
			return true
		}
		return false
	})
	return m, of
}

func (w *world) putStatements(repo name.Repository, digest v1.Hash, m *v1.Manifest) {
	w.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		w.Fatal(err)
	}
	for _, tag := range []name.Tag{attestations(repo, digest), repo.Tag("sha256-" + digest.Hex + ".att.imagegate")} {
		if err := remote.Put(tag, manifest{raw, types.OCIManifestSchema1}); err != nil {
			w.Fatal(err)
		}
	}
}

func TestOverriddenImageIsSignedAsDenied(t *testing.T) {
	for _, format := range []trust.Format{trust.Legacy, trust.Bundle, trust.Both} {
		t.Run(format.String(), func(t *testing.T) {
			w := newWorld(t)
			tag := w.tag("app:1")
			a := w.letThrough(w.vulnerableIndex(), asked())
			records, err := w.promoter(func(o *Options) { o.Format = format }).Promote(t.Context(), a, tag)
			if err != nil {
				t.Fatal(err)
			}
			if writes := w.approved.Writes(); !strings.HasSuffix(writes[len(writes)-1].Path, "/manifests/1") {
				t.Errorf("the last write is %s", writes[len(writes)-1])
			}

			_, err = w.verify(tag, w.trusting(w.signer.PublicKey()))
			w.refused("not allowed", err, "is FAILED, not PASSED: an override lets it through until")
			var unproven *VerifyError
			if errors.As(err, &unproven) && !unproven.Overridden {
				t.Error("the error does not mention the override")
			}

			record, err := w.verify(tag, w.trustingOwnKey())
			if err != nil {
				t.Fatal(err)
			}
			if record.Decision.Result != "FAILED" || record.Decision.Basis.Violations != 3 {
				t.Errorf("the decision is %+v", record.Decision)
			}
			ssl := a.Input().Platforms[0].Findings[0]
			want := policy.Overridden{Kind: policy.KindVulnerability, Rule: "nothing medium", Platform: "linux/amd64", ID: "CVE-2024-0727", Package: ssl.Package.PURL}
			if o := record.Override; o == nil || o.Override != *a.Override() || len(o.Violations) != 3 || o.Violations[0] != want {
				t.Errorf("the override is %+v", o)
			}
			if diff := cmp.Diff(records[0].Override, record.Override); diff != "" {
				t.Errorf("read back and verified differ: %s", diff)
			}
			if n := len(slices.DeleteFunc(record.Statements, func(s Statement) bool { return s.PredicateType != "https://example.com/imagegate/override/v1" })); n != 1 {
				t.Errorf("%d override statements", n)
			}

			// Also verify a platform by its digest, because a node may pull the platform directly.
			platform := tag.Context().Digest(a.Image().Platforms[1].Digest.String())
			_, err = w.verify(platform, w.trusting(w.signer.PublicKey()))
			w.refused("platform", err, "FAILED")
			if _, err := w.verify(platform, w.trustingOwnKey()); err != nil {
				t.Errorf("platform: %v", err)
			}
		})
	}
}

// TestDenialUsesTheValuesOfTheSpecification checks that a denial has the values of the SLSA
// specification, for readers other than imagegate.
func TestDenialUsesTheValuesOfTheSpecification(t *testing.T) {
	w := newWorld(t)
	d, err := newDecision(w.letThrough(w.having("linux/amd64", oldSSL), asked()), destinations([]name.Tag{w.tag("app:1")})[0], nil, CopyPlan{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Result != "FAILED" || !slices.Equal(d.Levels, []string{"FAILED"}) {
		t.Errorf("%s with the levels %v", d.Result, d.Levels)
	}
}

func TestExpiredOverrideIsRefused(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	o := asked()
	a := w.letThrough(w.having("linux/amd64", oldSSL), o)
	at := func(now time.Time) func(*Options) {
		return func(o *Options) { o.Now = func() time.Time { return now } }
	}
	if _, err := w.promoter(at(o.Expires)).Promote(t.Context(), a, tag); err == nil || !strings.Contains(err.Error(), "the override expired") {
		t.Errorf("%v", err)
	}
	if got := w.approved.Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
	if _, err := w.promoter().Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	for now, want := range map[time.Time]string{o.Expires.Add(-time.Second): "", o.Expires: "the override expired on", time.Now().Add(-time.Hour): "future"} {
		v, err := NewVerifier(VerifierOptions{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), tag, w.trustingOwnKey()); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", now, err, want)
		}
	}
}

func TestDenialWithoutItsOverrideIsRefused(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	a := w.overridden(w.vulnerableIndex(), tag)
	for _, digest := range []v1.Hash{a.Image().Digest, a.Image().Platforms[0].Digest} {
		without, removed := w.statementsOf(tag.Context(), digest, OverrideType(tool.URI))
		if len(removed) != 1 {
			t.Fatalf("%d override statements", len(removed))
		}
		w.putStatements(tag.Context(), digest, without)
		_, err := w.verify(tag, w.trustingOwnKey())
		w.refused("removed", err, "the decision is FAILED, and the image has no valid override")
		_, err = w.verify(tag, w.trusting(w.signer.PublicKey()))
		w.refused("removed and not allowed", err, "is FAILED, not PASSED")
		without.Layers = append(without.Layers, removed...)
		w.putStatements(tag.Context(), digest, without)
		if _, err := w.verify(tag, w.trustingOwnKey()); err != nil {
			t.Fatalf("with it back: %v", err)
		}
	}
}

// TestOverrideOfAnotherImageIsRefused checks that an override copied from another image
// does not count.
func TestOverrideOfAnotherImageIsRefused(t *testing.T) {
	w := newWorld(t)
	tag, other := w.tag("app:1"), w.tag("app:2")
	a := w.overridden(w.having("linux/amd64", oldSSL), tag)
	b := w.overridden(w.having("linux/amd64", oldSSL, oldJQ), other)
	without, _ := w.statementsOf(tag.Context(), a.Image().Digest, OverrideType(tool.URI))
	_, foreign := w.statementsOf(other.Context(), b.Image().Digest, OverrideType(tool.URI))
	without.Layers = append(without.Layers, foreign...)
	w.putStatements(tag.Context(), a.Image().Digest, without)
	_, err := w.verify(tag, w.trustingOwnKey())
	w.refused("copied over", err, "no valid override signed by a trusted signer")
}

// TestOverrideOfAnotherDecisionIsRefused checks that the override of one denial does not
// count for a later denial of the same image.
func TestOverrideOfAnotherDecisionIsRefused(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	a := w.overridden(w.having("linux/amd64", oldSSL), tag)
	_, earlier := w.statementsOf(tag.Context(), a.Image().Digest, OverrideType(tool.URI))
	w.overridden(w.having("linux/amd64", oldSSL), tag)
	without, later := w.statementsOf(tag.Context(), a.Image().Digest, OverrideType(tool.URI))
	if len(later) != 1 {
		t.Errorf("%d override statements pile up", len(later))
	}
	without.Layers = append(without.Layers, earlier...)
	w.putStatements(tag.Context(), a.Image().Digest, without)
	_, err := w.verify(tag, w.trustingOwnKey())
	w.refused("earlier", err, "an override is for a different decision")
}

// TestOverrideByAnotherKeyIsRefused checks that an override signed with an untrusted key does not
// count.
func TestOverrideByAnotherKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	a := w.overridden(w.having("linux/amd64", oldSSL), tag)
	digest := a.Image().Digest
	without, _ := w.statementsOf(tag.Context(), digest, OverrideType(tool.URI))
	w.putStatements(tag.Context(), digest, without)
	found, err := attach.Read(t.Context(), trust.Legacy, tag.Context().Digest(digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	var denial resource
	for _, e := range found.Envelopes {
		if st, _, err := w.signer.Trust().VerifyEnvelope(e, digest); err == nil && st.PredicateType == DecisionType {
			denial = resource{Digest: digestSet("sha256:" + payloadDigest(st.Payload))}
		}
	}
	for signer, want := range map[*trust.Signer]string{newSigner(t): "the signer is not a trusted key", w.signer: ""} {
		raw, err := encode(newOverride(a, tag.Context(), denial, time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		env, err := trust.Attest(t.Context(), signer, trust.Both, trust.Statement{PredicateType: OverrideType(tool.URI), Subjects: allSubjects(tag.Context(), a.Image()), Predicate: raw})
		if err != nil {
			t.Fatal(err)
		}
		w.putStatements(tag.Context(), digest, without)
		if err := storeAs(t.Context(), signer.Trust(), trust.Legacy, tag.Context(), digest, attach.Attachments{Envelopes: []trust.Envelope{env}}); err != nil {
			t.Fatal(err)
		}
		if _, err = w.verify(tag, w.trustingOwnKey()); want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		w.refused("another key", err, want)
	}
}

// TestOverriddenPromotionIsNotRepeatedUntilItExpires checks that an overridden promotion counts as
// done only for the same override, and only until the override expires.
func TestOverriddenPromotionIsNotRepeatedUntilItExpires(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	a := w.overridden(w.having("linux/amd64", oldSSL), tag)
	o := a.Override()
	basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool, Override: o}
	change := func(f func(*policy.Override)) *policy.Override {
		other := *o
		f(&other)
		return &other
	}
	w.approved.ResetRequests()
	for name, tt := range map[string]struct {
		o    *policy.Override
		now  time.Time
		want bool
	}{
		"same":             {o, time.Now(), true},
		"none":             {nil, time.Now(), false},
		"ended":            {o, o.Expires, false},
		"another reason":   {change(func(o *policy.Override) { o.Reason = "x" }), time.Now(), false},
		"another approver": {change(func(o *policy.Override) { o.Approver = "x" }), time.Now(), false},
		"longer":           {change(func(o *policy.Override) { o.Expires = o.Expires.Add(time.Minute) }), time.Now(), false},
	} {
		basis.Override = tt.o
		records, done, err := w.promoter(func(o *Options) { o.Now = func() time.Time { return tt.now } }).Promoted(t.Context(), a.Image().Digest, basis, nil, tag)
		if err != nil || done != tt.want || done && (records[0].Override == nil || !records[0].Repeated) {
			t.Errorf("%s: done is %v, %v", name, done, err)
		}
	}
	if got := w.approved.Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
}

// TestLaterPassReplacesAnOverride checks that a later pass replaces an overridden denial, and a
// later overridden denial replaces a pass.
func TestLaterPassReplacesAnOverride(t *testing.T) {
	w := newWorld(t)
	tag, img := w.tag("app:1"), w.vulnerableIndex()
	for range 2 {
		w.overridden(img, tag)
		_, err := w.verify(tag, w.trusting(w.signer.PublicKey()))
		w.refused("overridden", err, "FAILED")

		w.put(img, tag)
		for _, tr := range []Trust{w.trusting(w.signer.PublicKey()), w.trustingOwnKey()} {
			record, err := w.verify(tag, tr)
			if err != nil {
				t.Fatal(err)
			}
			if record.Override != nil || record.Decision.Result != "PASSED" {
				t.Errorf("%+v", record)
			}
			for _, s := range record.Statements {
				if s.PredicateType == OverrideType(tool.URI) {
					t.Error("the record of a pass has an override")
				}
			}
		}
	}
}

// TestOverriddenImageIsNotABaseline checks that an image with an override is not a baseline.
// Otherwise its findings would be inherited indefinitely.
func TestOverriddenImageIsNotABaseline(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:stable")
	w.overridden(w.having("linux/amd64", oldSSL), tag)
	if b, missing := w.baseline(tag); b != nil || !strings.Contains(missing, "FAILED") {
		t.Errorf("%+v, %q", b, missing)
	}
}

// TestOverrideOfAnotherIndexChangesNothing checks two indexes with a common platform, one passed
// and one overridden. For each index, only the decision about that index counts.
func TestOverrideOfAnotherIndexChangesNothing(t *testing.T) {
	w := newWorld(t)
	shared := w.having("linux/amd64", lab.Deb{Name: "openssl", Version: "3.0.13-1~deb12u1"})
	good, err := lab.Index(shared, w.having("linux/arm64", lab.Deb{Name: "zlib1g", Version: "1"}))
	if err != nil {
		t.Fatal(err)
	}
	bad, err := lab.Index(shared, w.having("linux/arm64", oldSSL))
	if err != nil {
		t.Fatal(err)
	}
	passed, denied := w.tag("app:1"), w.tag("app:2")
	w.put(good, passed)
	w.overridden(bad, denied)
	if _, err := w.verify(passed, w.trusting(w.signer.PublicKey())); err != nil {
		t.Error(err)
	}
	_, err = w.verify(denied, w.trusting(w.signer.PublicKey()))
	w.refused("overridden", err, "FAILED")
	digest, err := shared.Digest()
	if err != nil {
		t.Fatal(err)
	}
	// If the platform is verified by its digest, the latest decision about the platform counts.
	_, err = w.verify(passed.Context().Digest(digest.String()), w.trusting(w.signer.PublicKey()))
	w.refused("platform", err, "FAILED")

	// A passed decision about one index must not make the other index pass.
	w.put(good, passed)
	if _, err := w.verify(denied, w.trusting(w.signer.PublicKey())); err == nil {
		t.Error("the overridden index has passed")
	}
	if _, err := w.verify(denied, w.trustingOwnKey()); err != nil {
		t.Error(err)
	}
}

// TestInterruptedOverrideIsNotAPass makes each write in turn fail. The tag is never written, the
// attached statements prove nothing unless overrides are accepted, and promoting again completes
// the promotion.
func TestInterruptedOverrideIsNotAPass(t *testing.T) {
	w := newWorld(t)
	a := w.letThrough(w.having("linux/amd64", oldSSL), asked())
	if _, err := w.promoter().Promote(t.Context(), a, w.tag("count/app:1")); err != nil {
		t.Fatal(err)
	}
	total := len(w.approved.Writes())
	if total < 8 {
		t.Fatalf("only %d writes", total)
	}
	for n := range total {
		tag := w.tag(fmt.Sprintf("repo%d/app:1", n))
		w.approved.SetHook(lab.When(lab.IsWrite, lab.After(int64(n), lab.Fail(http.StatusForbidden))))
		if _, err := w.promoter(func(o *Options) { o.Parallel = 1 }).Promote(t.Context(), a, tag); err == nil {
			t.Errorf("write %d failed, but Promote returned no error", n)
		}
		w.approved.SetHook(nil)
		w.absent(tag)
		if _, err := w.verify(tag.Context().Digest(a.Image().Digest.String()), w.trusting(w.signer.PublicKey())); err == nil {
			t.Errorf("after write %d failed, the image has passed", n)
		}
		if _, err := w.promoter().Promote(t.Context(), a, tag); err != nil {
			t.Errorf("again, after write %d failed: %v", n, err)
		}
		if _, err := w.verify(tag, w.trustingOwnKey()); err != nil {
			t.Errorf("again, after write %d failed: %v", n, err)
		}
	}
}
