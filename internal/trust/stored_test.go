package trust

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestClaimsAreReadWithoutBelief checks that the claim of an unreadable item is empty, and that
// only bundles have the fingerprint of a key.
func TestClaimsAreReadWithoutBelief(t *testing.T) {
	s, repo := newSigner(t), newRepo(t, "app")
	digest := pushImage(t, repo, "x")
	fingerprint := Fingerprint(s.PublicKey())
	env := attest(t, s, "https://spdx.dev/Document", "{}", digest)
	for _, f := range []Format{Legacy, Bundle} {
		a := Attachments{Signatures: signAs(t, s, f, repo, digest), Envelopes: []Envelope{env}}
		if err := Attach(t.Context(), only(s), f, repo, digest, a); err != nil {
			t.Fatal(err)
		}
		stored, err := List(t.Context(), f, repo.Digest(digest.String()))
		if err != nil || len(stored) != 2 {
			t.Fatalf("%s: %v, %v", f, stored, err)
		}
		for _, one := range stored {
			c := one.Claim()
			want := map[bool]string{true: SignatureType, false: "https://spdx.dev/Document"}[one.Signature != nil]
			if one.Form != f || c.PredicateType != want || !strings.HasPrefix(c.Digest, "sha256:") {
				t.Errorf("%s: %+v", f, c)
			}
			if (c.By.Key == fingerprint) != (f == Bundle) || !c.By.At.IsZero() {
				t.Errorf("%s: %+v", f, c.By)
			}
		}
	}
	for _, garbage := range []Stored{
		{Form: Legacy, Envelope: Envelope("x"), annotations: map[string]string{logAnnotation: "x", certificateAnnotation: "x"}},
		{Form: Bundle, Envelope: Envelope(`{"mediaType":1}`)},
		{Form: Bundle, Envelope: Envelope(`{"verificationMaterial":{"certificate":{"rawBytes":"AAAA"}}}`)},
	} {
		if got := garbage.Claim(); got.PredicateType != "" || got.By != (SignerIdentity{}) {
			t.Errorf("%s: %+v", garbage.Envelope, got)
		}
	}

	logged := legacyEntry{}
	logged.Payload.IntegratedTime = 1700000000
	text, err := json.Marshal(logged)
	if err != nil {
		t.Fatal(err)
	}
	got := Stored{Form: Legacy, Signature: &Signature{Payload: []byte("x")}, annotations: map[string]string{logAnnotation: string(text)}}.Claim()
	if diff := cmp.Diff(time.Unix(1700000000, 0).UTC(), got.By.At); diff != "" {
		t.Error(diff)
	}
}
