package promote

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// snapshot reads approved images for one operation. It reads each manifest, each list of
// attachments and the size of each blob once, when first needed.
type snapshot struct {
	v *Verifier
	*readings
}

// readings holds the results of a snapshot so far. None of it is verified.
type readings struct {
	mu        sync.Mutex
	lists     map[listKey]*list
	manifests map[string]*remote.Descriptor // by digest reference
	sizes     map[string]int64              // of blobs, by digest reference
}

type listKey struct {
	ref  name.Digest
	form trust.Format // Legacy or Bundle
}

// list is the result of reading one list of attachments. done is closed at its end.
type list struct {
	done  chan struct{}
	found found
	err   error
}

func newReadings() *readings {
	return &readings{lists: map[listKey]*list{}, manifests: map[string]*remote.Descriptor{}, sizes: map[string]int64{}}
}

// snapshot returns a snapshot that uses the prefetched attachments, if there are any.
func (v *Verifier) snapshot(prefetched *Prefetched) snapshot {
	if prefetched == nil {
		return snapshot{v, newReadings()}
	}
	return snapshot{v, prefetched.readings}
}

// found holds the items attached to a digest, none of them verified.
type found struct {
	signatures []trust.Signature
	envelopes  []envelope // in the list
	copied     []envelope // only in the copy of the list
}

// envelope is an envelope as it is stored and after parsing.
type envelope struct {
	stored trust.Envelope
	opened trust.Opened
}

// Prefetched holds everything that one run has read about approved images before it writes. Nothing
// in it is verified. Use a new one for each run.
type Prefetched struct{ readings *readings }

// Prefetch starts to read the attachments of the digest at each destination and does not wait for
// the result. Reading megabytes of statements takes as long as opening a signing key, so that both
// can be done at the same time. Errors are dropped: the caller that needs the attachments reads them
// again and reports the error.
func (v *Verifier) Prefetch(ctx context.Context, digest v1.Hash, tags ...name.Tag) *Prefetched {
	s := snapshot{v, newReadings()}
	for _, tag := range tags {
		for _, form := range split(v.forms()) {
			s.prefetch(ctx, listKey{tag.Context().Digest(digest.String()), form})
		}
	}
	return &Prefetched{s.readings}
}

// split returns the single forms that a format selects.
func split(f trust.Format) []trust.Format {
	if f == trust.Both {
		return []trust.Format{trust.Legacy, trust.Bundle}
	}
	return []trust.Format{f}
}

// read returns the items attached to a digest in the forms that a format selects.
func (s snapshot) read(ctx context.Context, ref name.Digest, in trust.Format) (found, error) {
	var out found
	for _, form := range split(in) {
		one, err := s.readForm(ctx, listKey{ref, form})
		if err != nil {
			return found{}, err
		}
		out.signatures = append(out.signatures, one.signatures...)
		out.envelopes = append(out.envelopes, one.envelopes...)
		out.copied = append(out.copied, one.copied...)
	}
	return out, nil
}

// readForm reads one list, unless that was done before. If prefetching it failed, readForm reads it
// again.
func (s snapshot) readForm(ctx context.Context, key listKey) (found, error) {
	s.mu.Lock()
	l := s.lists[key]
	s.mu.Unlock()
	if l != nil {
		select {
		case <-l.done:
		case <-ctx.Done():
			return found{}, context.Cause(ctx)
		}
		if l.err == nil {
			return l.found, nil
		}
	}
	f, err := s.v.readList(ctx, key)
	if err != nil {
		return found{}, err
	}
	l = &list{done: make(chan struct{}), found: f}
	close(l.done)
	s.mu.Lock()
	s.lists[key] = l
	s.mu.Unlock()
	return f, nil
}

// prefetch starts to read a list, unless that was done before.
func (s snapshot) prefetch(ctx context.Context, key listKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lists[key] != nil {
		return // two tags in one repository
	}
	l := &list{done: make(chan struct{})}
	s.lists[key] = l
	go func() {
		defer close(l.done)
		l.found, l.err = s.v.readList(ctx, key)
	}()
}

func (v *Verifier) readList(ctx context.Context, key listKey) (found, error) {
	stored, err := attach.Read(ctx, key.form, key.ref, v.with(ctx)...)
	if err != nil {
		return found{}, registry.NewError(registry.Approved, "reading the signatures of "+key.ref.String(), err)
	}
	all := make([]envelope, len(stored.Envelopes)+len(stored.Copied))
	for i, e := range append(slices.Clone(stored.Envelopes), stored.Copied...) {
		all[i].stored = e
	}
	inParallel(len(all), func(i int) { all[i].opened = trust.Open(all[i].stored) })
	n := len(stored.Envelopes)
	return found{signatures: stored.Signatures, envelopes: all[:n:n], copied: all[n:]}, nil
}

// inParallel calls do for 0 to n-1. SBOM statements have megabytes, and there are two of them for
// each platform.
func inParallel(n int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = group.Wait() // do returns no errors
}

// manifest gets a manifest. If ref has a digest, the library checks the manifest against it.
func (s snapshot) manifest(ctx context.Context, ref name.Reference) (*remote.Descriptor, error) {
	s.mu.Lock()
	d := s.manifests[ref.Name()]
	s.mu.Unlock()
	if d != nil {
		return d, nil
	}
	d, err := remote.Get(ref, s.v.with(ctx)...)
	if err != nil {
		return nil, registry.NewError(registry.Approved, "reading "+ref.String(), err)
	}
	s.keep(ref.Context(), d)
	return d, nil
}

// keep stores a manifest under its digest. The manifest that a tag names can change.
func (s snapshot) keep(repo name.Repository, d *remote.Descriptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifests[repo.Digest(d.Digest.String()).Name()] = d
}

// tagged returns the digest that a tag names, or the zero Hash if the tag does not exist.
func (s snapshot) tagged(ctx context.Context, tag name.Tag) (v1.Hash, error) {
	d, err := s.v.taggedManifest(ctx, tag)
	if err != nil || d == nil {
		return v1.Hash{}, err
	}
	s.keep(tag.Context(), d)
	return d.Digest, nil
}

// blobSize returns the size of a blob that can be pulled.
func (s snapshot) blobSize(ctx context.Context, ref name.Digest) (int64, error) {
	s.mu.Lock()
	size, ok := s.sizes[ref.Name()]
	s.mu.Unlock()
	if ok {
		return size, nil
	}
	layer, err := remote.Layer(ref, s.v.with(ctx)...)
	if err != nil {
		return 0, err
	}
	if size, err = layer.Size(); err != nil { // a HEAD request
		return 0, err
	}
	s.mu.Lock()
	s.sizes[ref.Name()] = size
	s.mu.Unlock()
	return size, nil
}
