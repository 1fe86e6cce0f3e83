package promote

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/trust"
)

// Prefetched holds prefetched attachments of an image. They are read while the signing key is opened,
// which takes as long as reading megabytes of statements. Nothing in it is verified. It serves one
// lookup, soon after the read.
type Prefetched struct {
	read map[prefetchKey]chan found // gets one value, or is closed without one after an error
}

type prefetchKey struct {
	ref  name.Digest
	form trust.Format
}

// Prefetch starts to read the attachments of the digest at each destination and does not wait for
// the result. It reads the forms that the options select. Errors are dropped: the caller that needs
// the attachments reads them again and reports the error.
func (v *Verifier) Prefetch(ctx context.Context, digest v1.Hash, tags ...name.Tag) *Prefetched {
	forms := []trust.Format{v.p.opts.Format}
	if v.p.opts.Format == trust.Both {
		forms = []trust.Format{trust.Bundle, trust.Legacy}
	}
	a := &Prefetched{read: map[prefetchKey]chan found{}}
	for _, tag := range tags {
		for _, form := range forms {
			key := prefetchKey{tag.Context().Digest(digest.String()), form}
			if a.read[key] != nil {
				continue // two tags in one repository
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

// take waits for the prefetched attachments and returns them. Each can be taken once.
func (a *Prefetched) take(ctx context.Context, ref name.Digest, form trust.Format) (found, bool) {
	if a == nil {
		return found{}, false
	}
	there, ok := a.read[prefetchKey{ref, form}]
	if !ok { // a platform of an index is not prefetched
		return found{}, false
	}
	select {
	case f, ok := <-there:
		return f, ok
	case <-ctx.Done():
		return found{}, false
	}
}
