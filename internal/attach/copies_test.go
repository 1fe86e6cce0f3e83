package attach

import (
	"net/http"
	"testing"

	"github.com/imagegate/imagegate/internal/trust"
)

// TestWhatGoesAlongIsOneWrite checks that a registry with immutable tags stores our own statements
// and statements by others in one write, and that repeating it changes nothing.
func TestWhatGoesAlongIsOneWrite(t *testing.T) {
	r := newRegistry(t)
	s, maker, repo := newSigner(t), newSigner(t), repoIn(t, r, "app")
	digest := pushImage(t, repo, "x")
	r.SetHook(immutable(http.StatusConflict))
	theirs := Attachments{Envelopes: []trust.Envelope{attest(t, maker, "x", `{"n":1}`, digest), attest(t, maker, "x", `{"n":2}`, digest)}}
	own := Attachments{Signatures: signAs(t, s, trust.Legacy, repo, digest), Envelopes: []trust.Envelope{attest(t, s, "x", `{"n":3}`, digest)}}
	for range 2 {
		if err := prepareAndStore(t.Context(), only(s), trust.Legacy, repo, digest, own, Copies{TrustedSigners: only(maker), Legacy: theirs}, Options{}); err != nil {
			t.Fatal(err)
		}
		found := read(t, repo, digest)
		if ours, theirs := predicatesBy(s, "x", found.Envelopes, digest), predicatesBy(maker, "x", found.Envelopes, digest); len(ours) != 1 || len(theirs) != 2 {
			t.Errorf("%d of ours and %d of theirs", len(ours), len(theirs))
		}
	}
}

// TestWhatGoesAlongIsVerified checks that a statement by an untrusted signer is refused and that
// nothing is written.
func TestWhatGoesAlongIsVerified(t *testing.T) {
	r := newRegistry(t)
	s, maker, repo := newSigner(t), newSigner(t), repoIn(t, r, "app")
	digest := pushImage(t, repo, "x")
	theirs := Attachments{Envelopes: []trust.Envelope{attest(t, newSigner(t), "x", "{}", digest)}}
	for _, makers := range []trust.Trust{only(maker), {}} {
		if err := prepareAndStore(t.Context(), only(s), trust.Legacy, repo, digest, Attachments{}, Copies{TrustedSigners: makers, Legacy: theirs}, Options{}); err == nil {
			t.Error("it goes along")
		}
	}
	if n := len(read(t, repo, digest).Envelopes); n != 0 {
		t.Errorf("%d are there", n)
	}
}
