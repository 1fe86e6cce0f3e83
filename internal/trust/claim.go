package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Place relates a statement to others of ours of the same type about the same
// subject. The zero value: it replaces those that were stored before.
type Place struct {
	// Key tells apart statements that are kept side by side. Of those with the same
	// type, first subject and key only the newest is kept.
	Key string
	// Group bounds how many keys are kept: of each group, the newest 8.
	Group string
	// At is when the statement was made. Zero: the one stored last is the newest.
	At time.Time
	// Lists has the digests, "sha256:<hex>", of the statements that this one is based
	// on. They are kept as long as it is.
	Lists []string
	// Of is the digest of the statement to which this one belongs: it is kept as long
	// as that one.
	Of string
	// Evidence is kept as long as a statement lists it.
	Evidence bool
}

// Places returns the place of a statement of ours.
type Places func(Statement) Place

// claim is what an entry of our own says. The zero claim is that of an entry
// that is not ours, or of a kind that is not ours to replace.
type claim struct {
	kind  string // predicate type; empty for a signature
	about string // the subject; empty for the zero claim
	says  [sha256.Size]byte
	place Place
}

func (c claim) isOurs() bool { return c.about != "" }

// digest is that of the statement, as Place names it.
func (c claim) digest() string { return fingerprintPrefix + hex.EncodeToString(c.says[:]) }

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
	if t.places != nil {
		c.place = t.places(st)
	}
	return c, by, nil
}

// claimCache remembers what the entries of one list claim, so that reading the list
// again does not read its entries again.
type claimCache struct {
	claims map[string]claim
	// dropVanished takes an entry whose manifest is not there off the list. Otherwise it
	// is errVanished.
	dropVanished bool
}

func (e entry) cacheKey() string {
	return string(e.desc.MediaType) + " " + e.desc.Digest.String() + " " + e.desc.Annotations[signatureAnnotation]
}

// claims finds out which of the entries are ours, reading only those that may
// be in the way of what is wanted: SBOMs are large. gone are those whose manifests were
// deleted.
func (t writers) claims(ctx context.Context, s shelf, have []entry, want []claimed, known *claimCache) (out, gone []claimed, err error) {
	for _, e := range have {
		c, ok := known.claims[e.cacheKey()]
		if ok || !slices.ContainsFunc(want, func(w claimed) bool { return w.mayReplace(e) }) {
			out = append(out, claimed{e, c})
			continue
		}
		body, err := e.body(ctx)
		switch {
		case errors.Is(err, errTooLarge), errors.Is(err, errForeign):
			out = append(out, claimed{entry: e})
			continue
		case errors.Is(err, errVanished) && known.dropVanished:
			gone = append(gone, claimed{entry: e})
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("reading %s: %w", s, err)
		}
		c = t.claimOf(e, body)
		known.claims[e.cacheKey()] = c
		out = append(out, claimed{e, c})
	}
	return out, gone, nil
}

// claimOf is that of the first party who made an entry; an entry that no party
// made is not ours and has the zero claim.
func (t writers) claimOf(e entry, body []byte) claim {
	for _, party := range t.trusts {
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
