package promote

import (
	"encoding/json"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy/evidence"
)

const notesType = "https://example.com/notes/v1"

// noted returns a copy of a statement that builder signed, in the form that imagegate reads from
// the staging registry.
func (w *world) noted(builder *trust.Signer, kind, predicate string, digest v1.Hash, form trust.Format) AttestationCopy {
	w.Helper()
	env, err := trust.Attest(w.Context(), builder, form, trust.Statement{PredicateType: kind, Predicate: json.RawMessage(predicate),
		Subjects: []trust.Subject{{Name: "staging.example/app", Digest: digest}}})
	if err != nil {
		w.Fatal(err)
	}
	payload, err := env.Payload()
	if err != nil {
		w.Fatal(err)
	}
	return AttestationCopy{Form: form, Envelope: env, CopiedAttestation: CopiedAttestation{PredicateType: kind, Subject: digest.String(), Digest: "sha256:" + payloadDigest(payload),
		Format: form.String(), Signer: evidence.Signer{Key: trust.Fingerprint(builder.PublicKey())}}}
}

func (w *world) notes(repo name.Repository, digest v1.Hash, builder *trust.Signer, form trust.Format) int {
	w.Helper()
	found, err := attach.Read(w.Context(), form, repo.Digest(digest.String()))
	if err != nil {
		w.Fatal(err)
	}
	n := 0
	for _, e := range found.Envelopes {
		if st, _, err := builder.Trust().VerifyEnvelope(e, digest); err == nil && st.PredicateType == notesType {
			n++
		}
	}
	return n
}

// TestCopiedAttestationsAreStoredTogether checks that copied statements of the same type, by the
// same signer and about the same digest do not replace each other. Each keeps its signature format
// and stays attached to the same digest.
func TestCopiedAttestationsAreStoredTogether(t *testing.T) {
	w := newWorld(t)
	builder := newSigner(t)
	a, tag := w.approve(w.index("x")), w.tag("app:1")
	index, platform := a.Image().Digest, a.Image().Platforms[0].Digest
	c := CopyPlan{TrustedSigners: builder.Trust(), Copy: []AttestationCopy{
		w.noted(builder, notesType, `{"n":1}`, index, trust.Legacy), w.noted(builder, notesType, `{"n":2}`, index, trust.Legacy),
		w.noted(builder, notesType, `{"n":3}`, index, trust.Bundle), w.noted(builder, notesType, `{"n":4}`, platform, trust.Legacy),
	}}
	for range 2 {
		if _, err := w.promoter().WithCopyPlan(c).Promote(t.Context(), a, tag); err != nil {
			t.Fatal(err)
		}
		if n := w.notes(tag.Context(), index, builder, trust.Legacy); n != 2 {
			t.Errorf("%d attached to the index in the legacy form", n)
		}
		if n := w.notes(tag.Context(), index, builder, trust.Bundle); n != 1 {
			t.Errorf("%d attached to the index as bundles", n)
		}
		if n := w.notes(tag.Context(), platform, builder, trust.Legacy); n != 1 {
			t.Errorf("%d attached to the platform", n)
		}
	}
	record, err := w.verify(tag, w.trusting(w.signer.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(record.Decision.Basis.CopiedAttestations); n != 4 {
		t.Errorf("the decision names %d", n)
	}
}

// TestMissingCopyIsCopiedAgain checks that a promotion does not count as done if a copied statement
// was deleted from the approved registry.
func TestMissingCopyIsCopiedAgain(t *testing.T) {
	w := newWorld(t)
	builder := newSigner(t)
	a, tag := w.approve(w.image("x")), w.tag("app:1")
	digest := a.Image().Digest
	c := CopyPlan{TrustedSigners: builder.Trust(), Copy: []AttestationCopy{w.noted(builder, notesType, `{"n":1}`, digest, trust.Legacy)}}
	if _, err := w.promoter().WithCopyPlan(c).Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool}
	done := func() bool {
		t.Helper()
		_, done, err := w.promoter().Promoted(t.Context(), digest, basis, nil, tag)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if !done() {
		t.Error("a complete promotion is repeated")
	}
	without, of := w.statementsOf(tag.Context(), digest, notesType)
	if len(of) != 1 {
		t.Fatalf("%d are there", len(of))
	}
	w.putStatements(tag.Context(), digest, without)
	if done() {
		t.Error("a copied statement is missing, but the promotion counts as done")
	}
}

// TestOwnStatementsAreNotCopied checks that items in staging are skipped if they have one of the
// gate's own statement types and the gate's own signer signed them. Verifiers that trust the gate
// would accept such statements about the approved image.
func TestOwnStatementsAreNotCopied(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.image("x")), w.tag("app:1")
	digest := a.Image().Digest
	c := CopyPlan{TrustedSigners: w.signer.Trust(), Copy: []AttestationCopy{
		w.noted(w.signer, SPDXType, `{}`, digest, trust.Legacy), w.noted(w.signer, DecisionType, `{}`, digest, trust.Legacy),
		w.noted(w.signer, OverrideType(tool.URI), `{}`, digest, trust.Legacy), w.noted(w.signer, notesType, `{}`, digest, trust.Legacy),
	}}
	records, err := w.promoter().WithCopyPlan(c).Promote(t.Context(), a, tag)
	if err != nil {
		t.Fatal(err)
	}
	basis := records[0].Decision.Basis
	if len(basis.CopiedAttestations) != 1 || basis.CopiedAttestations[0].PredicateType != notesType || len(basis.SkippedAttestations) != 3 {
		t.Errorf("copied %+v, skipped %+v", basis.CopiedAttestations, basis.SkippedAttestations)
	}
}

// TestCopyByUntrustedSignerIsRefused checks that copying a statement by an untrusted signer fails
// and no tag is written.
func TestCopyByUntrustedSignerIsRefused(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.image("x")), w.tag("app:1")
	c := CopyPlan{TrustedSigners: newSigner(t).Trust(), Copy: []AttestationCopy{w.noted(newSigner(t), notesType, `{}`, a.Image().Digest, trust.Legacy)}}
	if _, err := w.promoter().WithCopyPlan(c).Promote(t.Context(), a, tag); err == nil {
		t.Error("copied")
	}
	w.absent(tag)
}
