package trust

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

// Registries cannot compare and swap, and a writer can be stopped for any time
// between reading a list and writing it. Such a write removes from the list what
// others have added in between. So each list that we write has a copy of our own
// statements under a second tag, and a writer follows one rule: after each write it
// reads the list and the copy again, and it is done when both have everything of ours
// that either had. A late write damages one of the two; the other still has what is
// missing, and the late writer finds it there. Two late writers at the same instant,
// one at the list and one at the copy, can damage both. A registry that keeps the list
// of referrers itself adds to it without reading, and needs no copy.

// RefusedError says that a registry refused to change a list: its tags are
// immutable. What was stored there before is still there, and nothing else.
type RefusedError struct {
	List string // "registry.example/app:sha256-....att"
	Err  error
}

// Error names the list.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the registry refuses to change %s, so that not all of the new statements are stored: %v", e.List, e.Err)
}

// Unwrap returns the answer of the registry.
func (e *RefusedError) Unwrap() error { return e.Err }

// NewerError says that a newer statement of the same kind is stored already.
type NewerError struct {
	List string
	Kind string // predicate type
}

// Error names the list and the kind.
func (e *NewerError) Error() string {
	return fmt.Sprintf("writing %s: a newer statement of type %s is there already, and is not replaced by an older one", e.List, e.Kind)
}

// Limits of repeated writes. The last attempt is made after one and a half seconds.
const (
	maxAttempts  = 6
	firstBackoff = 50 * time.Millisecond
)

// shelf is one list of entries attached to a digest.
type shelf interface {
	fmt.Stringer
	// name is the same for those that share a list.
	name() string
	// list returns what is in it, nothing if there is no list.
	list(context.Context) ([]entry, error)
	// write stores the added entries and makes this the whole list.
	write(ctx context.Context, all, added []entry) error
	// remove does away with what write has not.
	remove(ctx context.Context, replaced []entry) error
	// second is the copy of the list, nil if it has none. It is asked after list.
	second() shelf
}

// store merges entries into a shelf and its copy.
func (t writers) store(ctx context.Context, s shelf, want []claimed) error {
	if len(want) == 0 {
		return nil
	}
	done, err := t.turns.take(ctx, s)
	if err != nil {
		return fmt.Errorf("writing %s: %w", s, err)
	}
	defer done()
	known := &claimCache{claims: map[string]claim{}}
	for _, w := range want {
		known.claims[w.cacheKey()] = w.claim
	}
	writes, vanished := map[string]int{}, 0 // writes by the name of the list
	for {
		m, missing, err := t.compare(ctx, s, want, known)
		if errors.Is(err, errVanished) && vanished < maxReadings {
			if vanished++; vanished == maxReadings {
				known.dropVanished = true // nobody is about to replace it
			}
			if err := sleep(ctx, firstBackoff<<(vanished-1)); err != nil {
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
		if len(m.all) > maxEntries {
			return fmt.Errorf("writing %s: it would have %d entries, more than %d", s, len(m.all), maxEntries)
		}
		if n := writes[missing.shelf.name()]; n == maxAttempts {
			return fmt.Errorf("writing %s: %w, %d times", missing.shelf, errOverwritten, maxAttempts)
		} else if n > 0 {
			// No jitter: of those who overwrite each other the last is done.
			if err := sleep(ctx, firstBackoff<<(n-1)); err != nil {
				return fmt.Errorf("writing %s: %w", s, err)
			}
		}
		writes[missing.shelf.name()]++
		if err := missing.write(ctx); err != nil {
			return err
		}
	}
}

// finished ends a store: both lists are as they should be.
func finished(ctx context.Context, s shelf, m merging) error {
	if err := s.remove(ctx, entries(m.replaced)); err != nil {
		return err
	}
	for _, w := range m.outdone {
		if !w.claim.place.Evidence && !w.claim.place.At.IsZero() {
			return &NewerError{List: s.String(), Kind: w.claim.kind}
		}
	}
	return nil
}

// incomplete is a list that is to be written.
type incomplete struct {
	shelf shelf
	have  []entry
	all   []claimed
}

func (i incomplete) write(ctx context.Context) error {
	var added []entry
	for _, c := range i.all {
		if !slices.ContainsFunc(i.have, c.equal) {
			added = append(added, c.entry)
		}
	}
	err := i.shelf.write(ctx, entries(i.all), added)
	if len(i.have) > 0 && isRefused(err) {
		return &RefusedError{List: i.shelf.String(), Err: err}
	}
	return err
}

// compare reads the list and its copy, and returns the first that is not as it
// should be; nil if both are.
func (t writers) compare(ctx context.Context, s shelf, want []claimed, known *claimCache) (merging, *incomplete, error) {
	first, err := s.list(ctx)
	if err != nil {
		return merging{}, nil, err
	}
	both, copied, second := first, []entry(nil), s.second()
	if second != nil {
		if copied, err = second.list(ctx); err != nil {
			return merging{}, nil, err
		}
		both = append(slices.Clone(union(first, copied)[len(first):]), first...) // the list itself is newer
	}
	have, gone, err := t.claims(ctx, s, both, want, known)
	if err != nil {
		return merging{}, nil, err
	}
	m := merge(have, want, t.horizon())
	m.replaced = append(m.replaced, gone...)
	if !containsAll(first, m.all) || second != nil && containsAny(first, m.replaced) {
		return m, &incomplete{s, first, m.all}, nil
	}
	ours := slices.DeleteFunc(slices.Clone(m.all), func(c claimed) bool { return !c.claim.isOurs() && !slices.ContainsFunc(copied, c.equal) })
	if second != nil && (!containsAll(copied, ours) || containsAny(copied, m.replaced)) {
		return m, &incomplete{second, copied, ours}, nil
	}
	return m, nil, nil
}

// horizon is the time beyond which statements are from the future; zero for none.
func (t writers) horizon() time.Time {
	if t.now == nil {
		return time.Time{}
	}
	return t.now().Add(clock.Skew)
}

// union returns the entries of the list, and those that only its copy has.
func union(list, copied []entry) []entry {
	out := slices.Clone(list)
	for _, e := range copied {
		if !slices.ContainsFunc(list, e.equal) {
			out = append(out, e)
		}
	}
	return out
}

// isRefused tells whether a registry may have refused to change a tag. There is
// no one answer for that: ECR's is 400, Azure's 405, Harbor's 412.
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

// errOverwritten says that somebody else keeps writing to the same tag.
var errOverwritten = errors.New("others have overwritten it")

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Turns serialises the writers of one list in one process, which saves them from
// overwriting each other. The zero value is ready to use.
type Turns struct {
	lists sync.Map // of string to a chan struct{} that holds one token
}

func (t *Turns) take(ctx context.Context, s shelf) (done func(), err error) {
	if t == nil {
		return func() {}, nil
	}
	v, _ := t.lists.LoadOrStore(s.name(), make(chan struct{}, 1))
	turn := v.(chan struct{})
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
