package attach

import (
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/trust"

	"github.com/google/go-cmp/cmp"
)

// TestUnverifiedInformation checks the unverified information about attachments: it is empty for an
// unreadable item, and it has the fingerprint of a key only for bundles.
func TestUnverifiedInformation(t *testing.T) {
	s, repo := newSigner(t), newRepo(t, "app")
	digest := pushImage(t, repo, "x")
	fingerprint := trust.Fingerprint(s.PublicKey())
	env := attest(t, s, "https://spdx.dev/Document", "{}", digest)
	for _, f := range []trust.Format{trust.Legacy, trust.Bundle} {
		a := Attachments{Signatures: signAs(t, s, f, repo, digest), Envelopes: []trust.Envelope{env}}
		if err := store(t, s, f, repo, digest, a); err != nil {
			t.Fatal(err)
		}
		stored, err := List(t.Context(), f, repo.Digest(digest.String()))
		if err != nil || len(stored) != 2 {
			t.Fatalf("%s: %v, %v", f, stored, err)
		}
		for _, one := range stored {
			c := one.Unverified()
			want := map[bool]string{true: trust.SignatureType, false: "https://spdx.dev/Document"}[one.Signature != nil]
			if one.Form != f || c.PredicateType != want || !strings.HasPrefix(c.Digest, "sha256:") {
				t.Errorf("%s: %+v", f, c)
			}
			if (c.Signer.Key == fingerprint) != (f == trust.Bundle) || !c.Signer.At.IsZero() {
				t.Errorf("%s: %+v", f, c.Signer)
			}
		}
	}
	for _, garbage := range []Stored{
		{Form: trust.Legacy, Envelope: trust.Envelope("x"), annotations: map[string]string{"dev.sigstore.cosign/bundle": "x", "dev.sigstore.cosign/certificate": "x"}},
		{Form: trust.Bundle, Envelope: trust.Envelope(`{"mediaType":1}`)},
		{Form: trust.Bundle, Envelope: trust.Envelope(`{"verificationMaterial":{"certificate":{"rawBytes":"AAAA"}}}`)},
	} {
		if got := garbage.Unverified(); got.PredicateType != "" || got.Signer != (trust.SignerIdentity{}) {
			t.Errorf("%s: %+v", garbage.Envelope, got)
		}
	}

	logged := `{"SignedEntryTimestamp":"","Payload":{"integratedTime":1700000000}}`
	got := Stored{Form: trust.Legacy, Signature: &trust.Signature{Payload: []byte("x")}, annotations: map[string]string{"dev.sigstore.cosign/bundle": logged}}.Unverified()
	if diff := cmp.Diff(time.Unix(1700000000, 0).UTC(), got.Signer.At); diff != "" {
		t.Error(diff)
	}
}
