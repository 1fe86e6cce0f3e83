package attach

import (
	"net/http"
	"testing"

	"github.com/imagegate/imagegate/internal/trust"
)

// TestCopiesAreStoredInTheSameWrite checks that imagegate's own statements and copied statements
// are stored in one write, because a registry with immutable tags allows only one. Repeating the
// write changes nothing.
func TestCopiesAreStoredInTheSameWrite(t *testing.T) {
	r := newRegistry(t)
	s, other, repo := newSigner(t), newSigner(t), repoIn(t, r, "app")
	digest := pushImage(t, repo, "x")
	r.SetHook(immutable(http.StatusConflict))
	theirs := Attachments{Envelopes: []trust.Envelope{attest(t, other, "x", `{"n":1}`, digest), attest(t, other, "x", `{"n":2}`, digest)}}
	own := Attachments{Signatures: signAs(t, s, trust.Legacy, repo, digest), Envelopes: []trust.Envelope{attest(t, s, "x", `{"n":3}`, digest)}}
	for range 2 {
		if err := prepareAndStore(t.Context(), only(s), trust.Legacy, repo, digest, own, Copies{TrustedSigners: only(other), Legacy: theirs}, Options{}); err != nil {
			t.Fatal(err)
		}
		found := read(t, repo, digest)
		if ours, theirs := predicatesBy(s, "x", found.Envelopes, digest), predicatesBy(other, "x", found.Envelopes, digest); len(ours) != 1 || len(theirs) != 2 {
			t.Errorf("%d of ours and %d of theirs", len(ours), len(theirs))
		}
	}
}

// TestCopiesAreVerified checks that a copy by an untrusted signer is refused, and that nothing is
// written.
func TestCopiesAreVerified(t *testing.T) {
	r := newRegistry(t)
	s, other, repo := newSigner(t), newSigner(t), repoIn(t, r, "app")
	digest := pushImage(t, repo, "x")
	theirs := Attachments{Envelopes: []trust.Envelope{attest(t, newSigner(t), "x", "{}", digest)}}
	for _, trusted := range []trust.Trust{only(other), {}} {
		if err := prepareAndStore(t.Context(), only(s), trust.Legacy, repo, digest, Attachments{}, Copies{TrustedSigners: trusted, Legacy: theirs}, Options{}); err == nil {
			t.Error("the copy is stored")
		}
	}
	if n := len(read(t, repo, digest).Envelopes); n != 0 {
		t.Errorf("%d are there", n)
	}
}
