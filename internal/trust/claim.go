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

// Place relates a statement to our other statements of the same type about the same subject. With
// the zero value, a statement replaces those that were stored before.
type Place struct {
	// Key separates statements that are kept side by side. Only the newest statement with the same
	// type, first subject and key is kept.
	Key string
	// Group limits how many keys are kept: the newest 8 of each group.
	Group string
	// At is the time of the statement. Zero means that the last one stored is the newest.
	At time.Time
	// Lists has the digests, "sha256:<hex>", of the statements that this one depends on. They are
	// kept as long as this one.
	Lists []string
	// Of is the digest of the statement that this one belongs to. This one is kept as long as that
	// statement.
	Of string
	// Evidence means that the statement is kept as long as another statement lists it.
	Evidence bool
}

// Places returns the place of a statement of ours.
type Places func(Statement) Place

// claim is the identity key of an attachment of ours: attachments with equal keys replace each
// other. The zero claim is for attachments by others and for kinds that we must not replace.
type claim struct {
	kind  string // predicate type; empty for a signature
	about string // the subject, or the hash of the content; empty for the zero claim
	says  [sha256.Size]byte
	place Place
}

func (c claim) isOurs() bool { return c.about != "" }

// digest returns the digest of the statement, in the form that Place uses.
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

func (t Trust) claimOfEnvelope(e Envelope) (claim, SignerIdentity, error) {
	st, by, err := t.verifyStatement(Open(e))
	if err != nil {
		return claim{}, SignerIdentity{}, err
	}
	// The first subject is what the statement is about. The others only help to find it: the SBOM
	// of a platform is the same in every index.
	first := st.Subjects[0]
	c := claim{kind: st.PredicateType, about: first.Name + "@" + first.Digest.String(), says: sha256.Sum256(st.Payload)}
	if t.keepAll {
		c.about = string(c.says[:])
	}
	if t.places != nil {
		c.place = t.places(st)
	}
	return c, by, nil
}

// claimCache caches the identity keys of the attachments in one list, so that reading the list
// again does not download them again.
type claimCache struct {
	claims map[string]claim
	// dropVanished removes attachments with a missing manifest from the list. Otherwise, a missing
	// manifest is errVanished.
	dropVanished bool
}

func (e entry) cacheKey() string {
	return string(e.desc.MediaType) + " " + e.desc.Digest.String() + " " + e.desc.Annotations[signatureAnnotation]
}

// claims computes which attachments of the list are ours. It downloads only those that a wanted one
// may replace, because SBOMs are large. gone are attachments with a deleted manifest.
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

// claimOf returns the identity key according to the first trusted signer in trusts that made the
// attachment. An attachment by another signer has the zero claim.
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

// mayReplace compares unsigned metadata. It only saves downloads.
func (c claimed) mayReplace(e entry) bool {
	switch {
	case c.desc.MediaType != e.desc.MediaType:
		return false
	case e.desc.MediaType == signatureLayer:
		return c.desc.Digest == e.desc.Digest
	case e.desc.MediaType == envelopeLayer:
		return c.desc.Annotations[predicateAnnotation] == e.desc.Annotations[predicateAnnotation]
	default:
		// Some registries omit the annotations from the list.
		kind, ok := e.desc.Annotations[bundlePredicateAnnotation]
		return mayBeBundle(e.desc) && (!ok || c.desc.Annotations[bundlePredicateAnnotation] == kind)
	}
}
