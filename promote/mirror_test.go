package promote

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/trust"
)

// mirror copies an image or index to a tag of another registry, with the signatures and statements
// of each digest, from tags and from referrers.
func (w *world) mirror(from, to name.Tag) {
	w.Helper()
	d, err := remote.Get(from)
	if err != nil {
		w.Fatal(err)
	}
	w.copyManifest(d, to)
	for _, digest := range w.digestsOf(d) {
		w.copyAttached(from.Context().Digest(digest.String()), to.Context())
	}
}

func (w *world) digestsOf(d *remote.Descriptor) []v1.Hash {
	w.Helper()
	out := []v1.Hash{d.Digest}
	if !d.MediaType.IsIndex() {
		return out
	}
	platforms, err := platformsOf(d)
	if err != nil {
		w.Fatal(err)
	}
	return append(out, platforms...)
}

func (w *world) copyAttached(from name.Digest, to name.Repository) {
	w.Helper()
	for _, suffix := range []string{".sig", ".att"} {
		tag := strings.Replace(from.DigestStr(), ":", "-", 1) + suffix
		if d, err := remote.Get(from.Context().Tag(tag)); err == nil {
			w.copyManifest(d, to.Tag(tag))
		}
	}
	list, err := remote.Referrers(from)
	if err != nil {
		w.Fatal(err)
	}
	m, err := list.IndexManifest()
	if err != nil {
		w.Fatal(err)
	}
	for _, one := range m.Manifests {
		d, err := remote.Get(from.Context().Digest(one.Digest.String()))
		if err != nil {
			w.Fatal(err)
		}
		w.copyManifest(d, to.Digest(one.Digest.String()))
	}
}

func (w *world) copyManifest(d *remote.Descriptor, to name.Reference) {
	w.Helper()
	var what remote.Taggable
	var err error
	if d.MediaType.IsIndex() {
		what, err = d.ImageIndex()
	} else {
		what, err = d.Image()
	}
	if err != nil {
		w.Fatal(err)
	}
	if _, err := lab.Push(w.Context(), to.String(), what); err != nil {
		w.Fatal(err)
	}
}

// mirrorRegistry starts a registry for copies of approved repositories.
func (w *world) mirrorRegistry() *lab.Registry {
	w.Helper()
	r, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { r.Close() })
	return r
}

// TestMirrorIsVerifiedOnlyForTheGivenRepository checks that a copy in another repository counts
// only if the caller names the repository that the image was signed for.
func TestMirrorIsVerifiedOnlyForTheGivenRepository(t *testing.T) {
	for _, form := range []trust.Format{trust.Legacy, trust.Bundle} {
		t.Run(form.String(), func(t *testing.T) {
			w := newWorld(t)
			a, tag := w.approve(w.index("x")), w.tag("team/app:1")
			if _, err := w.promoter(func(o *Options) { o.Format = form }).Promote(t.Context(), a, tag); err != nil {
				t.Fatal(err)
			}
			copied := mustTag(t, w.mirrorRegistry().Ref("cache/team/app:1"))
			w.mirror(tag, copied)
			other := mustTag(t, copied.Context().Tag("2").Name())
			w.mirror(tag, other)
			digest := copied.Context().Digest(a.Image().Digest.String())
			for name, tt := range map[string]struct {
				ref  name.Reference
				want func(*Trust)
				ok   bool
			}{
				"tag, no name":               {copied, func(*Trust) {}, false},
				"digest, no name":            {digest, func(*Trust) {}, false},
				"tag, any tag, no name":      {copied, func(t *Trust) { t.AnyTag = true }, false},
				"tag":                        {copied, func(t *Trust) { t.Repository = tag.Context() }, true},
				"digest":                     {digest, func(t *Trust) { t.Repository = tag.Context() }, true},
				"another tag":                {other, func(t *Trust) { t.Repository = tag.Context() }, false},
				"another tag, any tag":       {other, func(t *Trust) { t.Repository, t.AnyTag = tag.Context(), true }, true},
				"the name of the mirror":     {copied, func(t *Trust) { t.Repository = copied.Context() }, false},
				"another repository":         {copied, func(t *Trust) { t.Repository = w.tag("team/other:1").Context() }, false},
				"a parent of the repository": {copied, func(t *Trust) { t.Repository = w.tag("team:1").Context() }, false},
				"the original, by its name":  {tag, func(t *Trust) { t.Repository = tag.Context() }, true},
				"the original, as a mirror":  {tag, func(t *Trust) { t.Repository = copied.Context() }, false},
				"signed by nobody trusted":   {copied, func(t *Trust) { t.Repository, t.Keys = tag.Context(), nil }, false},
			} {
				tr := w.trusting(w.signer.PublicKey())
				tt.want(&tr)
				record, err := w.verify(tt.ref, tr)
				w.checkResult(name, tt.ref, tag, record, err, tt.ok)
			}
		})
	}
}

func (w *world) checkResult(what string, ref name.Reference, signed name.Tag, record *Record, err error, ok bool) {
	w.Helper()
	var unproven *VerifyError
	switch {
	case !ok && !errors.As(err, &unproven):
		w.Errorf("%s: %v, want a *VerifyError", what, err)
	case ok && err != nil:
		w.Errorf("%s: %v", what, err)
	case ok:
		want := signed.Context().Name()
		if ref.Context().Name() == want {
			want = ""
		}
		if record.SignedFor != want || record.Repository != ref.Context().Name() {
			w.Errorf("%s: read from %q, signed for %q, want %q", what, record.Repository, record.SignedFor, want)
		}
	}
}

// TestMirrorNeedsTheSignatureForTheNamedRepository checks that a signature without a decision also
// counts only for the repository that it names.
func TestMirrorNeedsTheSignatureForTheNamedRepository(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.image("x")), w.tag("team/app:1")
	if _, err := w.promoter(func(o *Options) { o.Format = trust.Both }).Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	copied := mustTag(t, w.mirrorRegistry().Ref("cache/team/app:1"))
	w.mirror(tag, copied)
	v, err := NewVerifier(w.promoter().opts.VerifierOptions)
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range []bool{false, true} {
		tr := w.trusting(w.signer.PublicKey())
		if named {
			tr.Repository = tag.Context()
		}
		record, err := v.VerifySignature(t.Context(), copied, tr)
		w.checkResult("signature alone", copied, tag, record, err, named)
		explained, err := v.Explain(t.Context(), copied, tr)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range explained.Attached {
			if (a.Signature || a.PredicateType == DecisionType) && a.Trusted != named {
				t.Errorf("named %v: %s counts: %v, %s", named, a.PredicateType, a.Trusted, a.Reason)
			}
		}
	}
}
