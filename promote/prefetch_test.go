package promote

import (
	"context"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/trust"
)

// TestReadAheadProvesNothing checks that prefetched attachments are still verified, and are used
// once.
func TestReadAheadProvesNothing(t *testing.T) {
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
				reader, err := NewVerifier(w.promoter(in).opts)
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
					t.Fatal("not done without reading ahead")
				}
				ahead := reader.Prefetch(t.Context(), a.Image().Digest, tag, tag)
				if done, reads := promoted(w.promoter(in), ahead); !done || reads != without {
					t.Errorf("done is %v after %d reads, and %d without reading ahead", done, reads, without)
				}
				if done, reads := promoted(w.promoter(in), ahead); !done || reads != without {
					t.Errorf("the second look: done is %v after %d reads, and %d without reading ahead", done, reads, without)
				}
				ahead = reader.Prefetch(t.Context(), a.Image().Digest, tag)
				other := w.promoter(in, func(o *Options) { o.Signer = newSigner(t) })
				if done, _ := promoted(other, ahead); done {
					t.Error("what somebody else signed is taken for one's own")
				}
				cancelled, cancel := context.WithCancel(t.Context())
				cancel()
				ahead = reader.Prefetch(cancelled, a.Image().Digest, tag)
				if done, _ := promoted(w.promoter(in), ahead); !done {
					t.Error("what could not be read ahead is not read")
				}
			})
		}
	}
}
