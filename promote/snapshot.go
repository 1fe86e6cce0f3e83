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

// snapshot reads approved images for one operation. It reads each manifest, each attachment list
// and the size of each blob only once, when first needed.
type snapshot struct {
	v *Verifier
	*readings
}

// readings has everything that a snapshot has read so far. The content is not verified.
type readings struct {
	mu        sync.Mutex
	lists     map[listKey]*list
	manifests map[string]*remote.Descriptor // manifests, by digest reference
	sizes     map[string]int64              // sizes of blobs, by digest reference
}

type listKey struct {
	ref  name.Digest
	form trust.Format // the signature format: Legacy or Bundle
}

// list is the result of reading one attachment list. done is closed when reading has ended.
type list struct {
	done  chan struct{}
	found found
	err   error
}

func newReadings() *readings {
	return &readings{lists: map[listKey]*list{}, manifests: map[string]*remote.Descriptor{}, sizes: map[string]int64{}}
}

// snapshot returns a snapshot that uses the prefetched attachments, unless prefetched is nil.
func (v *Verifier) snapshot(prefetched *Prefetched) snapshot {
	if prefetched == nil {
		return snapshot{v, newReadings()}
	}
	return snapshot{v, prefetched.readings}
}

// found has the items that are attached to a digest. They are not verified.
type found struct {
	signatures []trust.Signature
	envelopes  []envelope // the items in the attachment list
	copied     []envelope // the items that are only in the backup copy of the attachment list
}

// envelope is a signed envelope, as stored and parsed.
type envelope struct {
	stored trust.Envelope
	opened trust.Opened
}

// Prefetched has data of approved images that a run has read before it writes. The data is not
// verified. Use a new Prefetched for each run.
type Prefetched struct{ readings *readings }

// Prefetch starts to read the attachments of the digest at each destination, and returns without
// waiting. Reading megabytes of statements takes about as long as opening a signing key, so a
// caller can do both at the same time. Prefetch ignores errors: a caller that needs the attachments
// reads them again and gets the error.
func (v *Verifier) Prefetch(ctx context.Context, digest v1.Hash, tags ...name.Tag) *Prefetched {
	s := snapshot{v, newReadings()}
	for _, tag := range tags {
		for _, form := range split(v.forms()) {
			s.prefetch(ctx, listKey{tag.Context().Digest(digest.String()), form})
		}
	}
	return &Prefetched{s.readings}
}

// split returns Legacy, Bundle or both, as f selects.
func split(f trust.Format) []trust.Format {
	if f == trust.Both {
		return []trust.Format{trust.Legacy, trust.Bundle}
	}
	return []trust.Format{f}
}

// read returns the items that are attached to a digest, in the signature formats that in selects.
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

// readForm reads one attachment list, or returns the result of an earlier read. If Prefetch failed
// to read the list, readForm reads it again.
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

// prefetch starts to read an attachment list, unless an earlier call already did.
func (s snapshot) prefetch(ctx context.Context, key listKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lists[key] != nil {
		return // Another tag in the same repository has started to read this attachment list.
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

// inParallel calls do for 0 to n-1 in parallel. This saves time because each platform has two SBOM
// statements of several megabytes.
func inParallel(n int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = group.Wait() // do returns no error, so Wait returns none
}

// manifest reads the manifest of ref. If ref is a digest, go-containerregistry verifies the
// manifest against it.
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

// keep caches a manifest under its digest, but not under a tag, because a tag can change.
func (s snapshot) keep(repo name.Repository, d *remote.Descriptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifests[repo.Digest(d.Digest.String()).Name()] = d
}

// tagged returns the digest that a tag points to, or the zero Hash if the tag does not exist.
func (s snapshot) tagged(ctx context.Context, tag name.Tag) (v1.Hash, error) {
	d, err := s.v.taggedManifest(ctx, tag)
	if err != nil || d == nil {
		return v1.Hash{}, err
	}
	s.keep(tag.Context(), d)
	return d.Digest, nil
}

// blobSize returns the size of a blob. It returns an error if the blob cannot be pulled.
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
	if size, err = layer.Size(); err != nil { // Size sends a HEAD request.
		return 0, err
	}
	s.mu.Lock()
	s.sizes[ref.Name()] = size
	s.mu.Unlock()
	return size, nil
}
