package promote

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/trust"
)

// TestExplainStatesWhyAnItemDoesNotCount checks that Explain lists every item that is attached to
// the index and to each platform, either as trusted or with the reason why it does not count.
func TestExplainStatesWhyAnItemDoesNotCount(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.index("x"))
	repo := w.tag("app:1").Context()
	if _, err := w.promoter(func(o *Options) { o.Format = trust.Both }).Promote(t.Context(), a, repo.Tag("1")); err != nil {
		t.Fatal(err)
	}
	platform := a.Image().Platforms[1].Digest
	stranger := newSigner(t)
	w.attach(stranger, trust.Bundle, repo, platform, "https://openvex.dev/ns")

	v, err := NewVerifier(VerifierOptions{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Explain(t.Context(), repo.Tag("1"), w.trusting(w.signer.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != a.Image().Digest.String() {
		t.Errorf("the explanation is for %s", got.Digest)
	}
	strangers, decisions := 0, 0
	seen := map[string]int{}
	for _, one := range got.Attached {
		seen[one.Subject+" "+one.Form.String()]++
		if !strings.HasPrefix(one.Digest, "sha256:") {
			t.Errorf("no digest: %+v", one)
		}
		if one.PredicateType == "https://openvex.dev/ns" {
			strangers++
			if one.Trusted || one.Reason != "the signer is not a trusted key" || one.Signer.Key != trust.Fingerprint(stranger.PublicKey()) ||
				one.Subject != platform.String() || one.Platform == "" {
				t.Errorf("the item of the untrusted signer: %+v", one)
			}
			continue
		}
		if !one.Trusted || one.Reason != "" || one.Signer.Key != trust.Fingerprint(w.signer.PublicKey()) {
			t.Errorf("the gate's own item: %+v", one)
		}
		if one.PredicateType == DecisionType {
			decisions++
			if one.Result != resultPassed || one.Decided.IsZero() {
				t.Errorf("a decision: %+v", one)
			}
		}
		if one.Signature != (one.PredicateType == trust.SignatureType) {
			t.Errorf("a signature or not: %+v", one)
		}
	}
	if strangers != 1 || decisions != 6 {
		t.Errorf("%d by the stranger, %d decisions", strangers, decisions)
	}
	for _, digest := range []v1.Hash{a.Image().Digest, a.Image().Platforms[0].Digest, platform} {
		for _, f := range []trust.Format{trust.Legacy, trust.Bundle} {
			if seen[digest.String()+" "+f.String()] < 5 {
				t.Errorf("attached to %s, %s: %v", digest, f, seen)
			}
		}
	}

	// Explain must list every item, even if no signer is trusted.
	none, err := v.Explain(t.Context(), repo.Tag("1"), Trust{})
	if err != nil || len(none.Attached) != len(got.Attached) {
		t.Fatalf("%d items are listed, %v", len(none.Attached), err)
	}
	for _, one := range none.Attached {
		if one.Trusted || one.Reason == "" || one.Result != "" {
			t.Errorf("no signer is trusted: %+v", one)
		}
	}
}
