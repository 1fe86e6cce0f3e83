package promote

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// TestLargeDocumentsAreSignedByReference checks that a small statement names the digests of large
// documents, that the documents are attached to their platform, and that a repeated promotion
// writes nothing.
func TestLargeDocumentsAreSignedByReference(t *testing.T) {
	for _, format := range []trust.Format{trust.Legacy, trust.Bundle, trust.Both} {
		w := newWorld(t)
		a, tag := w.approve(w.index("x")), w.tag("app:1")
		p := w.promoter(func(o *Options) { o.Inline, o.Format = 1, format })
		if _, err := p.Promote(t.Context(), a, tag); err != nil {
			t.Fatal(err)
		}
		record, err := w.verify(tag, w.trusting(w.signer.PublicKey()))
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		kinds := map[string]int{}
		for _, s := range record.Statements {
			kinds[s.PredicateType]++
		}
		if kinds[ReferenceType] != 2 || kinds[SPDXType]+kinds[CycloneDXType] != 0 {
			t.Errorf("%s: the statements are %v", format, kinds)
		}
		for i, platform := range a.Image().Platforms {
			index, err := remote.Referrers(tag.Context().Digest(platform.Digest.String()))
			if err != nil {
				t.Fatal(err)
			}
			m, err := index.IndexManifest()
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			for _, d := range m.Manifests {
				found[d.ArtifactType] = true
			}
			for kind, body := range map[string][]byte{SPDXType: a.SBOMs()[i].SPDX, CycloneDXType: a.SBOMs()[i].CycloneDX} {
				if !found[documentTypes[kind]] {
					t.Errorf("%s: no %s attached to %s", format, documentTypes[kind], platform.Name)
				}
				sum := sha256.Sum256(body)
				layer, err := remote.Layer(tag.Context().Digest("sha256:" + hex.EncodeToString(sum[:])))
				if err != nil {
					t.Fatal(err)
				}
				rc, err := layer.Compressed()
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(rc)
				rc.Close()
				if err != nil || string(got) != string(body) {
					t.Errorf("%s: %d bytes of %d, %v", format, len(got), len(body), err)
				}
			}
		}
		basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool}
		if _, done, err := p.Promoted(t.Context(), a.Image().Digest, basis, nil, tag); err != nil || !done {
			t.Errorf("%s: done is %v, %v", format, done, err)
		}
	}
}

// TestMissingDocumentIsNotVerified checks that an image is refused if a document that a statement
// names is missing. A failed request for the document is a registry error, not a refusal.
func TestMissingDocumentIsNotVerified(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.image("x")), w.tag("app:1")
	if _, err := w.promoter(func(o *Options) { o.Inline = 1 }).Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(a.SBOMs()[0].SPDX)
	about := func(r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/blobs/sha256:"+hex.EncodeToString(sum[:]))
	}
	var unproven *VerifyError
	var failure *registry.Error
	w.approved.SetHook(lab.When(about, lab.Fail(http.StatusNotFound)))
	if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); !errors.As(err, &unproven) {
		t.Errorf("a document is missing: %v", err)
	}
	w.approved.SetHook(lab.When(about, lab.Fail(http.StatusForbidden)))
	if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); !errors.As(err, &failure) {
		t.Errorf("the failed request for a document: %v", err)
	}
}
