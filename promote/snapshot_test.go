package promote

import (
	"testing"

	"github.com/imagegate/imagegate/internal/trust"
)

// TestRunReadsEachListOnce checks that promoting to a second tag in the same repository does not
// read the statements a second time, and that Evidence sends no request. Only the read-back after a
// write reads the statements again.
func TestRunReadsEachListOnce(t *testing.T) {
	for _, form := range []trust.Format{trust.Legacy, trust.Bundle, trust.Both} {
		t.Run(form.String(), func(t *testing.T) {
			w := newWorld(t)
			a := w.approve(w.index("x"))
			one, two := w.tag("app:1"), w.tag("app:2")
			p := w.promoter(func(o *Options) { o.Format = form })
			// reads returns the number of requests for statements, and the number of all requests.
			reads := func() (reads, total int) {
				for _, n := range w.approved.BlobReads() {
					reads += n
				}
				total = len(w.approved.Requests())
				w.approved.ResetRequests()
				return reads, total
			}
			w.approved.ResetRequests()
			records, err := p.Promote(t.Context(), a, one, two)
			if err != nil {
				t.Fatal(err)
			}
			back, _ := reads()
			if _, err := p.Evidence(t.Context(), records[0]); err != nil {
				t.Fatal(err)
			}
			if _, n := reads(); n != 0 {
				t.Errorf("the evidence of a new record takes %d requests", n)
			}

			basis := Basis{Repository: a.Input().Image.Repository, Policy: w.policy.Digest, Database: database.Info().Digest, Tool: tool}
			prefetched := p.verifier.Prefetch(t.Context(), a.Image().Digest, one, two)
			records, done, err := p.Promoted(t.Context(), a.Image().Digest, basis, prefetched, one, two)
			if err != nil || !done {
				t.Fatalf("%v, %v", done, err)
			}
			if again, _ := reads(); again != back {
				t.Errorf("a repeated promotion reads %d statements, and the read-back %d", again, back)
			}
			if _, _, err := p.Baseline(t.Context(), 0, prefetched, one, two); err != nil {
				t.Fatal(err)
			}
			if n, _ := reads(); form == trust.Both && n != 0 {
				t.Errorf("the baseline reads %d statements again", n)
			}
			if _, err := p.Evidence(t.Context(), records[0]); err != nil {
				t.Fatal(err)
			}
			if _, n := reads(); n != 0 {
				t.Errorf("the evidence takes %d requests", n)
			}
		})
	}
}
