package promote

import (
	"context"
	"errors"
	"testing"
)

// TestNoTagIsWrittenIfBeforeTagFails checks that Options.BeforeTag is called once, after all
// statements were stored and read back. An error of BeforeTag ends the promotion and leaves the
// tags unchanged.
func TestNoTagIsWrittenIfBeforeTagFails(t *testing.T) {
	w := newWorld(t)
	tags := []string{"team/app:1", "team/other:1"}
	full := errors.New("disk full")
	calls := 0
	p := w.promoter(func(o *Options) {
		o.BeforeTag = func(ctx context.Context, p *Promoter, records []*Record) error {
			calls++
			for i, r := range records {
				w.absent(w.tag(tags[i]))
				if r.Tag != "" || r.Digest == "" {
					t.Errorf("%+v", r)
				}
				documents, err := p.Evidence(ctx, r)
				if err != nil || len(documents) != len(r.Statements) {
					t.Errorf("%d statements: %v", len(documents), err)
				}
			}
			return full
		}
	})
	a := w.approve(w.image("one"))
	records, err := p.Promote(t.Context(), a, w.tag(tags[0]), w.tag(tags[1]))
	if !errors.Is(err, full) || len(records) != 0 || calls != 1 {
		t.Errorf("%d calls, %d records, %v", calls, len(records), err)
	}
	for _, tag := range tags {
		w.absent(w.tag(tag))
	}
	full = nil
	if _, err := p.Promote(t.Context(), a, w.tag(tags[0]), w.tag(tags[1])); err != nil {
		t.Error(err)
	}
	if r, err := w.verify(w.tag(tags[1]), w.trusting(w.signer.PublicKey())); err != nil || r.Decision.Result != resultPassed {
		t.Errorf("%v", err)
	}
}
