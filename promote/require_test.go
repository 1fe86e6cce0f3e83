package promote

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// attach stores a statement of the type kind about the digest d in repo, signed by s.
func (w *world) attach(s *trust.Signer, f trust.Format, repo name.Repository, d v1.Hash, kind string) {
	w.Helper()
	w.attachPredicate(s, f, repo, d, kind, json.RawMessage(`{}`))
}

func (w *world) attachPredicate(s *trust.Signer, f trust.Format, repo name.Repository, d v1.Hash, kind string, predicate json.RawMessage) {
	w.Helper()
	env, err := trust.Attest(w.Context(), s, trust.Both, trust.Statement{PredicateType: kind, Predicate: predicate,
		Subjects: []trust.Subject{{Name: repo.Name(), Digest: d}}})
	if err != nil {
		w.Fatal(err)
	}
	p, err := attach.Prepare(s.Trust(), f, repo, d, attach.Attachments{Envelopes: []trust.Envelope{env}}, attach.Copies{}, attach.Options{Retention: retentionOf, Now: time.Now})
	if err != nil {
		w.Fatal(err)
	}
	if err := p.Store(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// unproven fails the test unless err is a *VerifyError that contains why.
func (w *world) unproven(what string, err error, why string) {
	w.Helper()
	var unproven *VerifyError
	if !errors.As(err, &unproven) || !strings.Contains(err.Error(), why) {
		w.Errorf("%s: %v", what, err)
	}
}

// TestRequiredPredicateMustBeAttached checks that a required statement must be attached and signed
// by a trusted signer. For an index, it must be about the index or about every platform.
func TestRequiredPredicateMustBeAttached(t *testing.T) {
	const kind = "https://openvex.dev/ns"
	w := newWorld(t)
	a := w.approve(w.index("x"))
	repo := w.tag("app:1").Context()
	if _, err := w.promoter().Promote(t.Context(), a, repo.Tag("1")); err != nil {
		t.Fatal(err)
	}
	want := w.trusting(w.signer.PublicKey())
	want.Predicates = []string{ScanType, DecisionType}
	if _, err := w.verify(repo.Tag("1"), want); err != nil {
		t.Errorf("what the gate itself attaches: %v", err)
	}
	want.Predicates = append(want.Predicates, kind)
	ask := func() error { _, err := w.verify(repo.Tag("1"), want); return err }
	w.unproven("nothing", ask(), "no "+kind)
	for _, p := range a.Image().Platforms {
		w.unproven("not every platform", ask(), "no "+kind)
		w.attach(w.signer, trust.Bundle, repo, p.Digest, kind)
	}
	if err := ask(); err != nil {
		t.Errorf("every platform: %v", err)
	}

	alone := w.approve(w.index("y"))
	if _, err := w.promoter().Promote(t.Context(), alone, repo.Tag("2")); err != nil {
		t.Fatal(err)
	}
	askAlone := func() (*Record, error) { return w.verify(repo.Tag("2"), want) }
	w.attach(newSigner(t), trust.Legacy, repo, alone.Image().Digest, kind)
	_, err := askAlone()
	w.unproven("by somebody else", err, "no "+kind)
	w.attach(w.signer, trust.Legacy, repo, alone.Image().Digest, kind)
	record, err := askAlone()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range record.Statements {
		if s.PredicateType == kind {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d such statements in the record", n)
	}
}

// TestSignatureAloneIsNotAPass checks that an image that is signed but was not promoted passes
// VerifySignature in both formats, and fails Verify.
func TestSignatureAloneIsNotAPass(t *testing.T) {
	for _, f := range []trust.Format{trust.Legacy, trust.Bundle} {
		w := newWorld(t)
		repo := w.tag("app:1").Context()
		idx := w.index("x")
		ref, err := lab.Push(t.Context(), repo.Tag("1").String(), idx)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := v1.NewHash(ref.DigestStr())
		if err != nil {
			t.Fatal(err)
		}
		v, err := NewVerifier(VerifierOptions{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		want := w.trusting(w.signer.PublicKey())
		_, err = v.VerifySignature(t.Context(), ref, want)
		w.unproven("unsigned", err, "the image is not signed")
		signatures, err := trust.SignImage(t.Context(), w.signer, f, repo, digest)
		if err != nil {
			t.Fatal(err)
		}
		if err := storeAs(t.Context(), w.signer.Trust(), f, repo, digest, attach.Attachments{Signatures: signatures}); err != nil {
			t.Fatal(err)
		}
		record, err := v.VerifySignature(t.Context(), repo.Tag("1"), want)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if record.Digest != digest.String() || record.Tag != "1" || record.Decision.Result != "" {
			t.Errorf("%s: %+v", f, record)
		}
		_, err = v.Verify(t.Context(), ref, want)
		w.unproven("no decision", err, "no decision")
		_, err = v.VerifySignature(t.Context(), ref, w.trusting(newSigner(t).PublicKey()))
		w.unproven("another key", err, "the signer is not a trusted key")

		want.Predicates = []string{SPDXType}
		_, err = v.VerifySignature(t.Context(), ref, want)
		w.unproven("no statement", err, "no "+SPDXType)
		w.attach(w.signer, f, repo, digest, SPDXType)
		if record, err = v.VerifySignature(t.Context(), ref, want); err != nil || len(record.Statements) != 1 {
			t.Errorf("%s: %v, %v", f, record, err)
		}

		// In another repository, the same signature must be refused, because it names the first
		// repository.
		elsewhere := w.tag("elsewhere:1").Context()
		if _, err := lab.Push(t.Context(), elsewhere.Tag("1").String(), idx); err != nil {
			t.Fatal(err)
		}
		if err := storeAs(t.Context(), w.signer.Trust(), f, elsewhere, digest, attach.Attachments{Signatures: signatures}); err != nil {
			t.Fatal(err)
		}
		_, err = v.VerifySignature(t.Context(), elsewhere.Tag("1"), w.trusting(w.signer.PublicKey()))
		w.unproven("another repository", err, "the signature is for")
	}
}

// TestUnreadableReferrersAreARegistryFailure checks that a failed request for referrers does not
// count as an empty list.
func TestUnreadableReferrersAreARegistryFailure(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	if _, err := w.promoter().Promote(t.Context(), w.approve(w.image("x")), tag); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{http.StatusForbidden, http.StatusTeapot, http.StatusInternalServerError} {
		w.approved.SetHook(lab.When(func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/referrers/") }, lab.Fail(status)))
		_, err := w.verify(tag, w.trusting(w.signer.PublicKey()))
		var failure *registry.Error
		if !errors.As(err, &failure) || failure.Side != registry.Approved {
			t.Errorf("%d: %v", status, err)
			continue
		}
		for _, part := range []string{"reading the referrers of", "GET ", w.approved.Host(), "/referrers/"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%d: no %q in %v", status, part, err)
			}
		}
	}
}
