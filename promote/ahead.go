package promote

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/trust"
)

// Ahead is what is attached to an image, read before it is known whose signatures
// count: opening a key takes as long as reading megabytes of statements. It proves
// nothing, and is good for one look, soon.
type Ahead struct {
	read map[aheadKey]chan found // each gets one value, or is closed without
}

type aheadKey struct {
	ref  name.Digest
	form trust.Format
}

// ReadAhead begins to read what is attached to the digest at each destination, in the
// form or the forms of the options, and does not wait for it. What cannot be read is
// read again by whoever needs it, who will say why it cannot.
func (v *Verifier) ReadAhead(ctx context.Context, digest v1.Hash, tags ...name.Tag) *Ahead {
	forms := []trust.Format{v.p.opts.Format}
	if v.p.opts.Format == trust.Both {
		forms = []trust.Format{trust.Bundle, trust.Legacy}
	}
	a := &Ahead{read: map[aheadKey]chan found{}}
	for _, tag := range tags {
		for _, form := range forms {
			key := aheadKey{tag.Context().Digest(digest.String()), form}
			if a.read[key] != nil {
				continue // of two tags in one repository
			}
			there := make(chan found, 1)
			a.read[key] = there
			go func() {
				defer close(there)
				if f, err := v.p.read(ctx, key.ref, key.form); err == nil {
					there <- f
				}
			}()
		}
	}
	return a
}

// take returns what was read, once.
func (a *Ahead) take(ctx context.Context, ref name.Digest, form trust.Format) (found, bool) {
	if a == nil {
		return found{}, false
	}
	there, ok := a.read[aheadKey{ref, form}]
	if !ok { // a platform of an index
		return found{}, false
	}
	select {
	case f, ok := <-there:
		return f, ok
	case <-ctx.Done():
		return found{}, false
	}
}
