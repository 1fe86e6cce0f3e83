package attach

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagegate/imagegate/internal/clock"
)

// Registries have no compare-and-swap, and a writer can pause for any time between reading an
// attachment list and writing it. Such a late write removes everything that other writers have
// added in between.
//
// So each attachment list has a backup copy of imagegate's own statements in a second tag. After
// each write, a writer reads the list and its backup copy again. The writer is done when both
// contain all of imagegate's statements that either of them contained. A late write damages only
// one of the two: the late writer then finds the missing statements in the other one and restores
// them.
//
// Two late writes at the same instant, one to the list and one to the backup copy, can damage both.
// A registry with the referrers API maintains the referrers list itself, so that list needs no
// backup copy.

// RefusedError reports that a registry refused to change an attachment list, because the registry's
// tags are immutable. The list is unchanged.
type RefusedError struct {
	List string // the tag of the attachment list: "registry.example/app:sha256-....att"
	Err  error
}

// Error names the attachment list and the registry's reason.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the registry refuses to change %s, so some new statements are not stored: %v", e.List, e.Err)
}

// Unwrap returns the error response of the registry.
func (e *RefusedError) Unwrap() error { return e.Err }

// NewerError reports that a newer statement of the same kind is stored already.
type NewerError struct {
	List string
	Kind string // predicate type of the statement
}

// Error names the attachment list and the predicate type.
func (e *NewerError) Error() string {
	return fmt.Sprintf("writing %s: a newer statement of type %s exists already and is not replaced by an older one", e.List, e.Kind)
}

// A write is attempted at most maxAttempts times. The pauses between the attempts begin with
// firstBackoff and double each time, so the last attempt starts after about one and a half seconds.
const (
	maxAttempts  = 6
	firstBackoff = 50 * time.Millisecond
)

// attachmentStore reads and writes one attachment list of a digest, which is in a tag or consists
// of referrers.
type attachmentStore interface {
	fmt.Stringer
	// name identifies the attachment list, for the write lock and for counting writes.
	name() string
	// list returns the attachments in the attachment list. It returns none if the attachment list
	// does not exist.
	list(context.Context) ([]attachment, error)
	// write stores the attachments in added, and replaces the content of the attachment list with
	// all.
	write(ctx context.Context, all, added []attachment) error
	// remove deletes replaced attachments that are still stored after write.
	remove(ctx context.Context, replaced []attachment) error
	// copyStore returns the backup copy of the attachment list, or nil if it has none. Call list
	// first.
	copyStore() attachmentStore
}

// store merges attachments into an attachment list and its backup copy.
func (w writers) store(ctx context.Context, s attachmentStore, want []keyed) error {
	if len(want) == 0 {
		return nil
	}
	done, err := w.locks.lock(ctx, s)
	if err != nil {
		return fmt.Errorf("writing %s: %w", s, err)
	}
	defer done()
	known := &keyCache{keys: map[string]identityKey{}}
	for _, k := range want {
		known.keys[k.cacheKey()] = k.key
	}
	writes, vanished := map[string]int{}, 0 // number of writes, by the name of the attachment list
	for {
		m, missing, err := w.compare(ctx, s, want, known)
		if errors.Is(err, errVanished) && vanished < maxReadings {
			if vanished++; vanished == maxReadings {
				known.dropVanished = true // after so many attempts, no other writer will replace the attachment
			}
			if err := clock.Sleep(ctx, firstBackoff<<(vanished-1)); err != nil {
				return fmt.Errorf("writing %s: %w", s, err)
			}
			continue
		}
		if err != nil {
			return err
		}
		if missing == nil {
			return finished(ctx, s, m)
		}
		if len(m.all) > maxAttachments {
			return fmt.Errorf("writing %s: the attachment list would have %d attachments, the limit is %d", s, len(m.all), maxAttachments)
		}
		if n := writes[missing.list.name()]; n == maxAttempts {
			return fmt.Errorf("writing %s: %w %d times", missing.list, errOverwritten, maxAttempts)
		} else if n > 0 {
			// The backoff needs no jitter: if several writers overwrite each other, the last one
			// finishes.
			if err := clock.Sleep(ctx, firstBackoff<<(n-1)); err != nil {
				return fmt.Errorf("writing %s: %w", s, err)
			}
		}
		writes[missing.list.name()]++
		if err := missing.write(ctx); err != nil {
			return err
		}
	}
}

// finished removes replaced attachments after the list and its backup copy are complete. It returns
// a NewerError if a wanted statement was not stored because a newer one exists.
func finished(ctx context.Context, s attachmentStore, m mergeResult) error {
	if err := s.remove(ctx, withoutKeys(m.replaced)); err != nil {
		return err
	}
	for _, k := range m.superseded {
		if !k.key.retention.Evidence && !k.key.retention.At.IsZero() {
			return &NewerError{List: s.String(), Kind: k.key.kind}
		}
	}
	return nil
}

// incomplete is an attachment list that lacks attachments and must be written: it contains have,
// and must contain all.
type incomplete struct {
	list attachmentStore
	have []attachment
	all  []keyed
}

func (i incomplete) write(ctx context.Context) error {
	var added []attachment
	for _, c := range i.all {
		if !slices.ContainsFunc(i.have, c.equal) {
			added = append(added, c.attachment)
		}
	}
	err := i.list.write(ctx, withoutKeys(i.all), added)
	if len(i.have) > 0 && isRefused(err) {
		return &RefusedError{List: i.list.String(), Err: err}
	}
	return err
}

// compare reads an attachment list and its backup copy. It returns the first of them that must be
// written, or nil if both are complete.
func (w writers) compare(ctx context.Context, s attachmentStore, want []keyed, known *keyCache) (mergeResult, *incomplete, error) {
	first, err := s.list(ctx)
	if err != nil {
		return mergeResult{}, nil, err
	}
	both, copied, second := first, []attachment(nil), s.copyStore()
	if second != nil {
		if copied, err = second.list(ctx); err != nil {
			return mergeResult{}, nil, err
		}
		both = append(slices.Clone(union(first, copied)[len(first):]), first...) // the attachment list counts as newer than its backup copy
	}
	have, gone, err := w.identify(ctx, s, both, want, known)
	if err != nil {
		return mergeResult{}, nil, err
	}
	m := merge(have, want, w.horizon())
	m.replaced = append(m.replaced, gone...)
	if !containsAll(first, m.all) || second != nil && containsAnyOf(first, m.replaced) {
		return m, &incomplete{s, first, m.all}, nil
	}
	ours := slices.DeleteFunc(slices.Clone(m.all), func(c keyed) bool { return !c.key.isOurs() && !slices.ContainsFunc(copied, c.equal) })
	if second != nil && (!containsAll(copied, ours) || containsAnyOf(copied, m.replaced)) {
		return m, &incomplete{second, copied, ours}, nil
	}
	return m, nil, nil
}

// horizon returns the latest time that a statement may have. Zero means no limit.
func (w writers) horizon() time.Time {
	if w.now == nil {
		return time.Time{}
	}
	return w.now().Add(clock.Skew)
}

// union returns the attachments in list, followed by the attachments that only the backup copy
// copied has.
func union(list, copied []attachment) []attachment {
	out := slices.Clone(list)
	for _, e := range copied {
		if !slices.ContainsFunc(list, e.equal) {
			out = append(out, e)
		}
	}
	return out
}

// isRefused reports whether a registry may have refused to change an immutable tag. The HTTP status
// is not standardized: ECR uses 400, Azure 405 and Harbor 412.
func isRefused(err error) bool {
	var status *transport.Error
	if !errors.As(err, &status) {
		return false
	}
	switch status.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed:
		return true
	}
	return false
}

// errOverwritten reports that other writers keep overwriting the same list.
var errOverwritten = errors.New("other writers overwrote the attachment list")

// WriteLocks has a write lock for each attachment list. All writers in a process share it, so that
// they do not overwrite each other's changes. The zero value is ready to use.
type WriteLocks struct {
	lists sync.Map // a chan struct{} of capacity 1 for each attachment list, by name
}

func (l *WriteLocks) lock(ctx context.Context, s attachmentStore) (done func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	v, _ := l.lists.LoadOrStore(s.name(), make(chan struct{}, 1))
	held := v.(chan struct{})
	select {
	case held <- struct{}{}:
		return func() { <-held }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
