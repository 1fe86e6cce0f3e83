package promote

import (
	"context"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/trust"
)

// TestPrefetchedAttachmentsAreVerified checks that prefetched attachments are still verified, and
// that they are read only once.
func TestPrefetchedAttachmentsAreVerified(t *testing.T) {
	for _, form := range []trust.Format{trust.Legacy, trust.Bundle, trust.Both} {
		for name, what := range map[string]func(*world) remote.Taggable{
			"image": func(w *world) remote.Taggable { return w.image("x") },
			"index": func(w *world) remote.Taggable { return w.index("x") },
		} {
			t.Run(form.String()+" "+name, func(t *testing.T) {
				w := newWorld(t)
				a, tag := w.approve(what(w)), w.tag("app:1")
				basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool}
				in := func(o *Options) { o.Format = form }
				if _, err := w.promoter(in).Promote(t.Context(), a, tag); err != nil {
					t.Fatal(err)
				}
				reader, err := NewVerifier(w.promoter(in).opts.VerifierOptions)
				if err != nil {
					t.Fatal(err)
				}
				promoted := func(p *Promoter, ahead *Prefetched) (done bool, reads int) {
					t.Helper()
					_, done, err := p.Promoted(t.Context(), a.Image().Digest, basis, ahead, tag)
					if err != nil {
						t.Fatal(err)
					}
					for _, n := range w.approved.BlobReads() {
						reads += n
					}
					w.approved.ResetRequests()
					return done, reads
				}
				w.approved.ResetRequests()
				done, without := promoted(w.promoter(in), nil)
				if !done {
					t.Fatal("not done without prefetching")
				}
				ahead := reader.Prefetch(t.Context(), a.Image().Digest, tag, tag)
				if done, reads := promoted(w.promoter(in), ahead); !done || reads != without {
					t.Errorf("done is %v after %d reads, and %d without prefetching", done, reads, without)
				}
				if done, reads := promoted(w.promoter(in), ahead); !done || reads != 0 {
					t.Errorf("the second call in a run: done is %v after %d reads, want none", done, reads)
				}
				ahead = reader.Prefetch(t.Context(), a.Image().Digest, tag)
				other := w.promoter(in, func(o *Options) { o.Signer = newSigner(t) })
				if done, _ := promoted(other, ahead); done {
					t.Error("a promotion by another signer is accepted")
				}
				cancelled, cancel := context.WithCancel(t.Context())
				cancel()
				ahead = reader.Prefetch(cancelled, a.Image().Digest, tag)
				if done, _ := promoted(w.promoter(in), ahead); !done {
					t.Error("a failed prefetch is not repeated")
				}
			})
		}
	}
}
