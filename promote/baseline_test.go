package promote

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// oldSSL and oldJQ are packages with findings in the test records. The default policy of a world
// allows both findings.
var (
	oldSSL = lab.Deb{Name: "openssl", Version: "3.0.11-1~deb12u2"} // version with CVE-2024-0727, severity medium
	oldJQ  = lab.Deb{Name: "jq", Version: "1.6-2.1"}               // version with CVE-2025-48060, unknown severity
)

const inheriting = `
version: 1
baseline: approved
rules:
  - name: nothing medium
    severity: medium
`

func (w *world) having(platform string, packages ...lab.Deb) v1.Image {
	w.Helper()
	img, err := lab.Image(lab.ImageSpec{Platform: platform, OSRelease: "debian 12", DebPackages: packages})
	if err != nil {
		w.Fatal(err)
	}
	return img
}

// parse replaces the policy of the world by the parsed text.
func (w *world) parse(text string) {
	w.Helper()
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		w.Fatal(err)
	}
	w.policy = p
}

// put promotes an image with a policy that only warns, and moves the tags to the image even if they
// exist.
func (w *world) put(what remote.Taggable, tags ...name.Tag) {
	w.Helper()
	w.parse("version: 1\nrules: [{name: all, effect: warn}]\n")
	if _, err := w.promoter(moving).Promote(w.Context(), w.approve(what), tags...); err != nil {
		w.Fatal(err)
	}
}

func moving(o *Options) { o.MoveTag = true }

func (w *world) baseline(tags ...name.Tag) (*evidence.Baseline, string) {
	w.Helper()
	b, missing, err := w.promoter().Baseline(w.Context(), policy.DefaultBaselineMaxAge, nil, tags...)
	if err != nil {
		w.Fatal(err)
	}
	if (b == nil) != (missing != "") {
		w.Errorf("%+v, and missing is %q", b, missing)
	}
	return b, missing
}

func ids(b *evidence.Baseline) []string {
	var out []string
	for _, f := range b.Findings {
		out = append(out, f.Platform+" "+f.ID+" "+f.Type+" "+f.Name)
	}
	return out
}

func TestBaselineHasTheFindingsOfTheApprovedImage(t *testing.T) {
	w := newWorld(t)
	idx, err := lab.Index(w.having("linux/amd64", oldSSL), w.having("linux/arm64", oldJQ))
	if err != nil {
		t.Fatal(err)
	}
	tag := w.tag("app:stable")
	w.put(idx, tag)
	b, _ := w.baseline(tag)
	want := []string{"linux/amd64 CVE-2024-0727 deb openssl", "linux/arm64 CVE-2025-48060 deb jq"}
	if diff := cmp.Diff(want, ids(b)); diff != "" {
		t.Error(diff)
	}
	digest, err := idx.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{digest.String()}, b.Digests); diff != "" {
		t.Error(diff)
	}

	// Verifier.Baseline must return the same findings as Promoter.Baseline. For a single platform
	// of the index, it must return only the findings of that platform.
	v, err := NewVerifier(VerifierOptions{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	got, missing, err := v.Baseline(t.Context(), tag, w.trusting(w.signer.PublicKey()))
	if err != nil || missing != "" {
		t.Fatalf("%q, %v", missing, err)
	}
	if diff := cmp.Diff(b, got); diff != "" {
		t.Error(diff)
	}
	m, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	got, _, err = v.Baseline(t.Context(), tag.Context().Digest(m.Manifests[1].Digest.String()), w.trusting(w.signer.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[1:], ids(got)); diff != "" {
		t.Error(diff)
	}
}

// TestDecisionListsInheritedFindings checks that the decision lists the inherited findings and the
// image that they come from.
func TestDecisionListsInheritedFindings(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:stable")
	before := w.having("linux/amd64", oldSSL, oldJQ)
	w.put(before, tag)
	b, _ := w.baseline(tag)

	w.parse(inheriting)
	a := w.approveWith(w.having("linux/amd64", oldSSL), gate.ExternalEvidence{Baseline: b})
	records, err := w.promoter(moving).Promote(t.Context(), a, tag)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := before.Digest()
	if err != nil {
		t.Fatal(err)
	}
	want := &UsedBaseline{Digests: []string{digest.String()}, Inherited: []Inherited{{ID: "CVE-2024-0727",
		Package: a.Input().Platforms[0].Findings[0].Package.PURL, Platform: "linux/amd64", Rule: "nothing medium"}}}
	if diff := cmp.Diff(want, records[0].Decision.Basis.Baseline); diff != "" {
		t.Error(diff)
	}

	// Promoting again must have nothing to do, although the tag now points to the image itself,
	// which is therefore its own baseline.
	basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool}
	if _, done, err := w.promoter().Promoted(t.Context(), a.Image().Digest, basis, nil, tag); err != nil || !done {
		t.Errorf("done is %v, %v", done, err)
	}
}

func TestNoBaselineWithoutAValidImage(t *testing.T) {
	w := newWorld(t)
	unsigned := w.tag("unsigned:stable")
	if err := remote.Write(unsigned, w.having("linux/amd64", oldSSL)); err != nil {
		t.Fatal(err)
	}
	foreign := w.tag("foreign:stable")
	own := w.signer
	w.signer = newSigner(t)
	w.put(w.having("linux/amd64", oldSSL), foreign)
	w.signer = own
	good := w.tag("good:stable")
	w.put(w.having("linux/amd64", oldSSL), good)
	for want, tags := range map[string][]name.Tag{
		w.tag("app:stable").String() + " does not exist yet": {w.tag("app:stable")},
		"the image is not signed":                            {unsigned},
		"is not a trusted key":                               {foreign},
		"does not exist yet":                                 {good, w.tag("app:stable")},
		"is not signed":                                      {good, unsigned},
		"no trusted signer signed this image":                {foreign, good},
	} {
		if b, missing := w.baseline(tags...); b != nil || !strings.Contains(missing, want) {
			t.Errorf("%+v, %q, want %q", b, missing, want)
		}
	}
}

// TestBaselineOfSeveralTagsHasOnlySharedFindings checks that a finding is inherited only if the
// images at all destinations have it. Otherwise the finding would be new at one of them.
func TestBaselineOfSeveralTagsHasOnlySharedFindings(t *testing.T) {
	w := newWorld(t)
	one, other := w.tag("one:stable"), w.tag("other:stable")
	w.put(w.having("linux/amd64", oldSSL, oldJQ), one)
	w.put(w.having("linux/amd64", oldSSL), other)
	b, _ := w.baseline(one, other)
	if diff := cmp.Diff([]string{"linux/amd64 CVE-2024-0727 deb openssl"}, ids(b)); diff != "" {
		t.Error(diff)
	}
	if len(b.Digests) != 2 {
		t.Errorf("the digests are %v", b.Digests)
	}
}

// TestUnreadableBaselineIsAnError checks that a failed request is an error. It must not count as an
// image without findings or as a missing baseline.
func TestUnreadableBaselineIsAnError(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:stable")
	w.put(w.having("linux/amd64", oldSSL), tag)
	for what, is := range map[string]func(*http.Request) bool{
		"tag":       func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/manifests/stable") },
		"statement": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, ".att") },
	} {
		w.approved.SetHook(lab.When(is, lab.Fail(http.StatusForbidden)))
		b, _, err := w.promoter().Baseline(t.Context(), policy.DefaultBaselineMaxAge, nil, tag)
		var failed *registry.Error
		if b != nil || !errors.As(err, &failed) || failed.Side != registry.Approved {
			t.Errorf("without the %s: %+v, %v", what, b, err)
		}
	}
}

// TestIncompleteScanIsNotABaseline checks that a scan without the required fields is not a
// baseline. Older gates wrote fewer fields.
func TestIncompleteScanIsNotABaseline(t *testing.T) {
	for raw, want := range map[string]string{
		`{"scanner": {"result": {"schemaVersion": 1, "platform": "p", "findings": []}}}`:                                        "",
		`{"scanner": {"result": {"schemaVersion": 1, "platform": "p", "findings": [{"id": "i", "type": "deb", "name": "n"}]}}}`: "",
		`{"scanner": {"result": {"schemaVersion": 1, "platform": "p"}}}`:                                                        "does not list findings",
		`{"scanner": {"result": {"schemaVersion": 1, "platform": "p", "findings": null}}}`:                                      "does not list findings",
		`{}`: "no schemaVersion",
		`{"scanner": {"result": {"schemaVersion": 2, "platform": "p", "findings": []}}}`:                                             "use a newer imagegate",
		`{"scanner": {"result": {"schemaVersion": 1, "findings": []}}}`:                                                              "platform",
		`{"scanner": {"result": {"schemaVersion": 1, "platform": "p", "findings": [{"id": "i", "package": "pkg:deb/debian/n@1"}]}}}`: "does not name a package",
		`{"scanner": {"result": {"schemaVersion": 1, "platform": "p", "findings": [{"id": "i", "type": "deb"}]}}}`:                   "does not name a package",
		`{"scanner": {"result": {"schemaVersion": 1, "platform": "p", "findings": [{"type": "deb", "name": "n"}]}}}`:                 "does not name a package",
		`{"scanner": 1}`: "cannot unmarshal",
	} {
		_, err := scannedFindings([]byte(raw))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
}
