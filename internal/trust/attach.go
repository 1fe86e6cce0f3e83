package trust

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Attachments are what is stored beside a digest.
type Attachments struct {
	Signatures []Signature
	Envelopes  []Envelope
}

// Attach stores attachments made by a trusted signer beside a digest, in the
// form or the forms of the format, first the signatures, then the statements.
// What the signer did not make is refused, and so is a signature that is not of
// the format. In the legacy form the image itself need not be there; a bundle
// refers to it, and it must.
//
// What others stored stays. Of our own, a signature over the same document and
// an envelope over the same statement are kept instead of piling up another,
// and a statement of the same type with the same first subject is replaced: it is
// newer. Registries cannot compare and swap; so writers in one process take
// turns, and each reads the list back and tries again where another process has
// overwritten it. A process that does so after that is not noticed here: who
// depends on an attachment reads it again before relying on it.
//
// Two registries do less. One that refuses to change a tag keeps what was
// stored first, which is no failure as long as it has all that is attached, be
// it older; one that does not let bundles be deleted keeps those that were
// replaced as well.
func Attach(ctx context.Context, own Trust, f Format, repo name.Repository, digest v1.Hash, a Attachments, opts ...remote.Option) error {
	return AttachAll(ctx, own, f, repo, digest, a, Along{}, opts...)
}

// Along is what others made, to be stored with what is our own: each thing in the
// form in which it was read. Who made it must be trusted. Nothing is replaced by it,
// be it of the same type and about the same, and nothing is stored twice.
type Along struct {
	Makers          Trust
	Legacy, Bundles Attachments
}

func (a Along) sort() (legacy, bundles []signed, err error) {
	if legacy, _, err = a.Makers.sort(Legacy, a.Legacy); err != nil {
		return nil, nil, err
	}
	_, bundles, err = a.Makers.sort(Bundle, a.Bundles)
	return legacy, bundles, err
}

// AttachAll is Attach, and stores what goes along in the same writes: a registry that
// lets no tag be changed takes one.
func AttachAll(ctx context.Context, own Trust, f Format, repo name.Repository, digest v1.Hash, a Attachments, along Along, opts ...remote.Option) error {
	r, err := GetReady(own, f, repo, digest, a, along)
	if err != nil {
		return err
	}
	return r.Attach(ctx, opts...)
}

// Ready is what AttachAll stores, as it is stored. SBOMs have megabytes, and making
// it takes as long as sending it.
type Ready struct {
	ref                   name.Digest
	digest                v1.Hash
	all                   parties
	signatures, envelopes []claimed // below tags
	bundles               []signed
}

// GetReady verifies everything that is to be attached, and asks no registry.
func GetReady(own Trust, f Format, repo name.Repository, digest v1.Hash, a Attachments, along Along) (*Ready, error) {
	ref := repo.Digest(digest.String())
	legacy, bundles, err := own.sort(f, a)
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", ref, err)
	}
	along.Makers.apart = true
	moreLegacy, moreBundles, err := along.sort()
	if err != nil {
		return nil, fmt.Errorf("attaching to %s what goes along: %w", ref, err)
	}
	r := &Ready{ref: ref, digest: digest, all: parties{own, along.Makers}, bundles: append(bundles, moreBundles...)}
	for _, s := range append(legacy, moreLegacy...) {
		e, err := s.layer()
		if err != nil {
			return nil, fmt.Errorf("attaching to %s: %w", ref, err)
		}
		if s.envelope == nil {
			r.signatures = append(r.signatures, claimed{e, s.claim})
		} else {
			r.envelopes = append(r.envelopes, claimed{e, s.claim})
		}
	}
	return r, nil
}

// Upload brings to the registry what will be stored below tags, without these: Attach
// then has less to send. It does nothing where there are such tags already, for what
// is there may stay in the place of this.
func (r *Ready) Upload(ctx context.Context, opts ...remote.Option) error {
	repo := r.ref.Context()
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
	for tag, entries := range map[name.Tag][]claimed{
		signatureTag(repo, r.digest):   r.signatures,
		attestationTag(repo, r.digest): r.envelopes,
	} {
		if len(entries) == 0 {
			continue
		}
		if _, err := remote.Head(tag, opts...); err == nil {
			continue // an error that matters comes again
		}
		for _, e := range entries {
			if err := remote.WriteLayer(repo, e.entry, opts...); err != nil {
				return fmt.Errorf("writing %s: %w", tag, err)
			}
		}
	}
	return nil
}

// Attach stores it, as the function of that name does.
func (r *Ready) Attach(ctx context.Context, opts ...remote.Option) error {
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
	if len(r.signatures)+len(r.envelopes) > 0 {
		if err := r.attachTags(ctx, opts); err != nil {
			return err
		}
	}
	return r.all.attachBundles(ctx, r.ref, r.bundles, opts)
}

// parties are those whose entries are known on a shelf: ourselves first.
type parties []Trust

// AttachDocument stores a file of one media type beside a digest, as a referrer of it.
// Nobody signs the file: a statement that names its digest does.
func AttachDocument(ctx context.Context, repo name.Repository, digest v1.Hash, mediaType string, body []byte, opts ...remote.Option) error {
	ref := repo.Digest(digest.String())
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
	shelf, err := newReferrerShelf(ref, opts)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	subject, err := shelf.puller.Head(ctx, ref)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	e, err := newReferrer(body, mediaType, nil, *subject)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	// The claim is its own: nothing is replaced by it.
	sum := sha256.Sum256(body)
	return parties{}.store(ctx, shelf, []claimed{{e, claim{kind: mediaType, about: string(sum[:]), says: sum}}})
}

// signed is something of our own that is to be stored.
type signed struct {
	claim     claim
	signature Signature // of the legacy form
	envelope  Envelope  // nil for that
}

// sort verifies everything and tells what is to be stored in which form.
func (t Trust) sort(f Format, a Attachments) (legacy, bundles []signed, err error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	for _, s := range a.Signatures {
		if s.Statement == nil {
			if !f.legacy() {
				return nil, nil, fmt.Errorf("a signature of the legacy form is not stored as a %s", f)
			}
			c, err := t.claimOfSignature(s)
			if err != nil {
				return nil, nil, err
			}
			legacy = append(legacy, signed{claim: c, signature: s})
			continue
		}
		if !f.bundle() {
			return nil, nil, fmt.Errorf("a signature for a bundle is not stored in the %s form", f)
		}
		b, err := t.asBundle(s.Statement)
		if err != nil {
			return nil, nil, err
		}
		bundles = append(bundles, b)
	}
	for _, e := range a.Envelopes {
		if f.legacy() {
			c, _, err := t.claimOfEnvelope(e)
			if err != nil {
				return nil, nil, err
			}
			legacy = append(legacy, signed{claim: c, envelope: e})
		}
		if f.bundle() {
			b, err := t.asBundle(e)
			if err != nil {
				return nil, nil, err
			}
			bundles = append(bundles, b)
		}
	}
	return legacy, bundles, nil
}

func (t Trust) asBundle(e Envelope) (signed, error) {
	c, by, err := t.claimOfEnvelope(e)
	if err != nil {
		return signed{}, err
	}
	b, err := e.bundled(by.Key)
	if err != nil {
		return signed{}, err
	}
	return signed{claim: c, envelope: b}, nil
}

func (r *Ready) attachTags(ctx context.Context, opts []remote.Option) error {
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", r.ref, err)
	}
	repo := r.ref.Context()
	if err := r.all.store(ctx, &tagShelf{signatureTag(repo, r.digest), puller, opts}, r.signatures); err != nil {
		return err
	}
	return r.all.store(ctx, &tagShelf{attestationTag(repo, r.digest), puller, opts}, r.envelopes)
}

// layer is how it is stored below a tag.
func (s signed) layer() (entry, error) {
	if s.envelope == nil {
		sig, err := base64.StdEncoding.DecodeString(s.signature.Base64)
		if err != nil {
			return entry{}, err
		}
		annotations, err := toAnnotations(s.signature.Bundle, sig)
		if err != nil {
			return entry{}, err
		}
		annotations[signatureAnnotation] = s.signature.Base64
		return newEntry(s.signature.Payload, signatureLayer, annotations)
	}
	plain, err := s.envelope.DSSE()
	if err != nil {
		return entry{}, err
	}
	annotations, err := s.envelope.annotations(plain)
	if err != nil {
		return entry{}, err
	}
	annotations[signatureAnnotation], annotations[predicateAnnotation] = "", s.claim.kind
	return newEntry(plain, envelopeLayer, annotations)
}

func (t parties) attachBundles(ctx context.Context, ref name.Digest, all []signed, opts []remote.Option) error {
	if len(all) == 0 {
		return nil
	}
	shelf, err := newReferrerShelf(ref, opts)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	subject, err := shelf.puller.Head(ctx, ref)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	bundles := make([]claimed, len(all))
	for i, s := range all {
		e, err := newBundle(s.envelope, s.claim.kind, *subject)
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", ref, err)
		}
		bundles[i] = claimed{e, s.claim}
	}
	return t.store(ctx, shelf, bundles)
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

func (t Trust) claimOfEnvelope(e Envelope) (claim, Signatory, error) {
	st, by, err := t.verifyStatement(Open(e))
	if err != nil {
		return claim{}, Signatory{}, err
	}
	// The first subject is what it is about; the others are where else it is
	// looked up. A platform's SBOM is that in whatever index the platform is.
	first := st.Subjects[0]
	c := claim{kind: st.PredicateType, about: first.Name + "@" + first.Digest.String(), says: sha256.Sum256(st.Payload)}
	if t.apart {
		c.about = string(c.says[:])
	}
	return c, by, nil
}

// claims finds out which of the entries are ours, reading only those that may
// be in the way of what is wanted: SBOMs are large.
func (t parties) claims(ctx context.Context, s shelf, have []entry, want []claimed) ([]claimed, error) {
	out := make([]claimed, len(have))
	for i, e := range have {
		out[i].entry = e
		if !slices.ContainsFunc(want, func(w claimed) bool { return w.mayReplace(e) }) {
			continue
		}
		body, err := e.body(ctx)
		if errors.Is(err, errTooLarge) || errors.Is(err, errForeign) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", s, err)
		}
		out[i].claim = t.claimOf(e, body)
	}
	return out, nil
}

// claimOf is that of the first party who made an entry; what nobody did is not ours
// and has the zero claim.
func (t parties) claimOf(e entry, body []byte) claim {
	for _, party := range t {
		if e.desc.MediaType == signatureLayer {
			if s, err := e.signature(body); err == nil {
				if c, err := party.claimOfSignature(s); err == nil {
					return c
				}
			}
		} else if env, err := e.envelope(body); err == nil {
			if c, _, err := party.claimOfEnvelope(env); err == nil {
				return c
			}
		}
	}
	return claim{}
}

// mayReplace goes by what nobody signed, and only saves work.
func (c claimed) mayReplace(e entry) bool {
	switch {
	case c.desc.MediaType != e.desc.MediaType:
		return false
	case e.desc.MediaType == signatureLayer:
		return c.desc.Digest == e.desc.Digest
	case e.desc.MediaType == envelopeLayer:
		return c.desc.Annotations[predicateAnnotation] == e.desc.Annotations[predicateAnnotation]
	default:
		// Some registries leave the annotations out of the list.
		kind, ok := e.desc.Annotations[bundlePredicateAnnotation]
		return mayBeBundle(e.desc) && (!ok || c.desc.Annotations[bundlePredicateAnnotation] == kind)
	}
}

// merging is what comes of merge.
type merging struct {
	all      []entry // the whole list
	ours     []entry // of it, what stands for the wanted
	added    []entry // of those, what is new
	replaced []entry // what is no longer in the list
}

// same reports whether both claim the same thing to be so, or not to be.
func (c claimed) same(o claimed) bool {
	return c.claim.about == o.claim.about && c.claim.kind == o.claim.kind
}

// merge puts what is wanted among what is there.
func merge(have, want []claimed) merging {
	var m merging
	all := slices.Clone(have)
	for _, w := range want {
		at := slices.IndexFunc(all, func(h claimed) bool {
			return h.claim.kind == w.claim.kind && h.claim.says == w.claim.says || h.entry.equal(w.entry)
		})
		if at >= 0 {
			m.ours = append(m.ours, all[at].entry)
			continue
		}
		all = slices.DeleteFunc(all, func(h claimed) bool {
			if h.same(w) {
				m.replaced = append(m.replaced, h.entry)
			}
			return h.same(w)
		})
		all = append(all, w)
		m.ours, m.added = append(m.ours, w.entry), append(m.added, w.entry)
	}
	for _, c := range all {
		m.all = append(m.all, c.entry)
	}
	return m
}

// last leaves of several that would replace each other the last one: they would
// do so for ever.
func last(want []claimed) []claimed {
	var out []claimed
	for i, w := range want {
		if !slices.ContainsFunc(want[i+1:], w.same) {
			out = append(out, w)
		}
	}
	return out
}

// With these, the last attempt is made after one and a half seconds.
const (
	maxAttempts  = 6
	firstBackoff = 50 * time.Millisecond
)

// shelf is one list of entries beside a digest.
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
}

// store merges entries into a shelf.
func (t parties) store(ctx context.Context, s shelf, want []claimed) error {
	if len(want) == 0 {
		return nil
	}
	done, err := takeTurn(ctx, s)
	if err != nil {
		return fmt.Errorf("writing %s: %w", s, err)
	}
	defer done()
	want = last(want)

	for attempt := range maxAttempts {
		if attempt > 0 {
			// No jitter: of those who overwrite each other the last is done.
			if err := sleep(ctx, firstBackoff<<(attempt-1)); err != nil {
				return fmt.Errorf("writing %s: %w", s, err)
			}
		}
		have, err := t.read(ctx, s, want)
		if err != nil {
			return err
		}
		m := merge(have, want)
		if len(m.added) == 0 {
			return nil
		}
		if len(m.all) > maxEntries {
			return fmt.Errorf("writing %s: it would have %d entries, more than %d", s, len(m.all), maxEntries)
		}
		if err := s.write(ctx, m.all, m.added); err != nil {
			if isRefused(err) && t.isComplete(ctx, s, want) {
				return nil
			}
			return err
		}
		back, err := s.list(ctx)
		if err != nil {
			return err
		}
		if containsAll(back, m.ours) {
			return s.remove(ctx, m.replaced)
		}
	}
	return fmt.Errorf("writing %s: %w, %d times", s, errOverwritten, maxAttempts)
}

func (t parties) read(ctx context.Context, s shelf, want []claimed) ([]claimed, error) {
	listed, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	return t.claims(ctx, s, listed, want)
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

// isComplete tells whether for everything that is wanted there is something of
// our own, be it older.
func (t parties) isComplete(ctx context.Context, s shelf, want []claimed) bool {
	have, err := t.read(ctx, s, want)
	return err == nil && !slices.ContainsFunc(want, func(w claimed) bool { return !slices.ContainsFunc(have, w.same) })
}

// errOverwritten says that somebody else keeps writing to the same tag.
var errOverwritten = errors.New("others have overwritten it")

func containsAll(have, want []entry) bool {
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

// turns serialises the writers of one shelf in this process: a channel that
// holds one token for each.
var turns sync.Map // of string to chan struct{}

func takeTurn(ctx context.Context, s shelf) (done func(), err error) {
	v, _ := turns.LoadOrStore(s.name(), make(chan struct{}, 1))
	turn := v.(chan struct{})
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
