package trust

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Attachments are what is stored beside a digest.
type Attachments struct {
	Signatures []Signature
	Envelopes  []Envelope
}

// Attach stores attachments made by a key, first the signatures, then the
// envelopes. The image itself need not be there. What the key did not make is
// refused.
//
// What others stored stays. Of our own, a signature over the same document and
// an envelope over the same statement are kept instead of piling up another,
// and a statement of the same type with the same first subject is replaced: it is
// newer. Registries cannot compare and swap; so writers in one process take
// turns, and each reads the list back and tries again where another process has
// overwritten it. A process that does so after that is not noticed here: who
// depends on an attachment reads it again before relying on it.
func Attach(ctx context.Context, own crypto.PublicKey, repo name.Repository, digest v1.Hash, a Attachments, opts ...remote.Option) error {
	mine := Trust{Keys: []crypto.PublicKey{own}}
	var signatures, envelopes []claimed
	for _, s := range a.Signatures {
		e, err := newEntry(s.Payload, signatureLayer, map[string]string{signatureAnnotation: s.Base64})
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", repo.Digest(digest.String()), err)
		}
		c, err := mine.claimOfSignature(s)
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", repo.Digest(digest.String()), err)
		}
		signatures = append(signatures, claimed{e, c})
	}
	for _, env := range a.Envelopes {
		c, err := mine.claimOfEnvelope(env)
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", repo.Digest(digest.String()), err)
		}
		e, err := newEntry(env, envelopeLayer, map[string]string{signatureAnnotation: "", predicateAnnotation: c.kind})
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", repo.Digest(digest.String()), err)
		}
		envelopes = append(envelopes, claimed{e, c})
	}
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
	if err := mine.store(ctx, signatureTag(repo, digest), signatures, opts); err != nil {
		return err
	}
	return mine.store(ctx, attestationTag(repo, digest), envelopes, opts)
}

// claim is what an entry of our own says. The zero claim is that of an entry
// that is not ours, or of a kind that is not ours to replace.
type claim struct {
	kind  string // predicate type; empty for a signature
	about string // what has at most one entry
	says  [sha256.Size]byte
}

type claimed struct {
	entry
	claim claim
}

func (t Trust) claimOfSignature(s Signature) (claim, error) {
	if _, err := t.verifyDocument(s); err != nil {
		return claim{}, err
	}
	sum := sha256.Sum256(s.Payload)
	return claim{about: string(sum[:]), says: sum}, nil
}

func (t Trust) claimOfEnvelope(e Envelope) (claim, error) {
	st, _, err := t.verifyStatement(e)
	if err != nil {
		return claim{}, err
	}
	// The first subject is what it is about; the others are where else it is
	// looked up. A platform's SBOM is that in whatever index the platform is.
	first := st.Subjects[0]
	return claim{kind: st.PredicateType, about: first.Name + "@" + first.Digest.String(), says: sha256.Sum256(st.Payload)}, nil
}

// claims finds out which of the entries are ours, reading only those that may
// be in the way of what is wanted: SBOMs are large.
func (t Trust) claims(tag name.Tag, have []entry, want []claimed) ([]claimed, error) {
	out := make([]claimed, len(have))
	for i, e := range have {
		out[i].entry = e
		if e.desc.Size > maxEntry || !slices.ContainsFunc(want, func(w claimed) bool { return w.mayReplace(e) }) {
			continue
		}
		body, err := e.body()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", tag, err)
		}
		// What cannot be verified is not ours and keeps the zero claim.
		if e.desc.MediaType == signatureLayer {
			out[i].claim, _ = t.claimOfSignature(e.signature(body))
		} else {
			out[i].claim, _ = t.claimOfEnvelope(body)
		}
	}
	return out, nil
}

// mayReplace goes by what nobody signed, and only saves work.
func (c claimed) mayReplace(e entry) bool {
	if c.desc.MediaType != e.desc.MediaType {
		return false
	}
	if e.desc.MediaType == signatureLayer {
		return c.desc.Digest == e.desc.Digest
	}
	return c.desc.Annotations[predicateAnnotation] == e.desc.Annotations[predicateAnnotation]
}

// merge puts what is wanted among what is there. It returns the whole list, of
// it what stands for the wanted, and whether the list is another than before.
func merge(have, want []claimed) (all, ours []claimed, changed bool) {
	all = slices.Clone(have)
	for _, w := range want {
		sameClaim := func(h claimed) bool { return h.claim.about == w.claim.about && h.claim.kind == w.claim.kind }
		at := slices.IndexFunc(all, func(h claimed) bool { return sameClaim(h) && h.claim.says == w.claim.says })
		if at >= 0 {
			ours = append(ours, all[at])
			continue
		}
		all = append(slices.DeleteFunc(all, sameClaim), w)
		ours, changed = append(ours, w), true
	}
	return all, ours, changed
}

// With these, the last attempt is made after one and a half seconds.
const (
	maxAttempts  = 6
	firstBackoff = 50 * time.Millisecond
)

// store merges entries into a tag.
func (t Trust) store(ctx context.Context, tag name.Tag, want []claimed, opts []remote.Option) error {
	if len(want) == 0 {
		return nil
	}
	done, err := takeTurn(ctx, tag)
	if err != nil {
		return fmt.Errorf("writing %s: %w", tag, err)
	}
	defer done()
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return fmt.Errorf("writing %s: %w", tag, err)
	}
	// Two about the same would replace each other for ever: the last one counts.
	want, _, _ = merge(nil, want)

	for attempt := range maxAttempts {
		if attempt > 0 {
			// No jitter: of those who overwrite each other the last is done.
			if err := sleep(ctx, firstBackoff<<(attempt-1)); err != nil {
				return fmt.Errorf("writing %s: %w", tag, err)
			}
		}
		listed, err := list(ctx, puller, tag)
		if err != nil {
			return err
		}
		have, err := t.claims(tag, listed, want)
		if err != nil {
			return err
		}
		all, ours, changed := merge(have, want)
		if !changed {
			return nil
		}
		if len(all) > maxEntries {
			return fmt.Errorf("writing %s: it would have %d entries, more than %d", tag, len(all), maxEntries)
		}
		if err := write(tag, layersOf(all), opts); err != nil {
			return err
		}
		back, err := list(ctx, puller, tag)
		if err != nil {
			return err
		}
		if containsAll(back, ours) {
			return nil
		}
	}
	return fmt.Errorf("writing %s: %w, %d times", tag, errOverwritten, maxAttempts)
}

// errOverwritten says that somebody else keeps writing to the same tag.
var errOverwritten = errors.New("others have overwritten it")

func layersOf(list []claimed) []entry {
	out := make([]entry, len(list))
	for i, c := range list {
		out[i] = c.entry
	}
	return out
}

func containsAll(have []entry, want []claimed) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, w.equal) {
			return false
		}
	}
	return true
}

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

// turns serialises the writers of one tag in this process: a channel that holds
// one token for each.
var turns sync.Map // of string to chan struct{}

func takeTurn(ctx context.Context, tag name.Tag) (done func(), err error) {
	v, _ := turns.LoadOrStore(tag.Name(), make(chan struct{}, 1))
	turn := v.(chan struct{})
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
