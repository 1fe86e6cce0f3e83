package attach

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imagegate/imagegate/internal/trust"
)

// Retention states how long a statement of ours is kept and which others it replaces. With the zero
// value, a statement replaces all others of the same type about the same subject.
type Retention struct {
	// Key separates statements that are kept next to each other. Only the newest statement with the
	// same type, first subject and key is kept.
	Key string
	// Group limits how many keys are kept: the newest 8 of each group.
	Group string
	// At is the time of the statement. Zero means that the last one stored is the newest.
	At time.Time
	// Lists has the digests, "sha256:<hex>", of the statements that this one depends on. They are
	// kept as long as this one.
	Lists []string
	// BelongsTo is the digest of the statement that this one belongs to. This one is kept as long
	// as that statement.
	BelongsTo string
	// Evidence means that the statement is kept as long as another statement lists it.
	Evidence bool
}

// identityKey decides which attachments of ours replace each other: their kind, subject and
// Retention.Key are equal. The zero key is for attachments by others and for kinds that we must
// not replace.
type identityKey struct {
	kind      string // predicate type; empty for a signature
	subject   string // the subject, or the hash of the content; empty for the zero key
	content   [sha256.Size]byte
	retention Retention
}

func (k identityKey) isOurs() bool { return k.subject != "" }

// digest returns the digest of the statement, in the form that Retention uses.
func (k identityKey) digest() string { return digestPrefix + hex.EncodeToString(k.content[:]) }

const digestPrefix = "sha256:"

// keyed is an attachment with its identity key.
type keyed struct {
	attachment
	key identityKey
}

// owner computes the identity keys of the attachments by some trusted signers.
type owner struct {
	trust.Trust
	// keepAll keeps all attachments: none replaces another, see Copies.
	keepAll bool
	// retention is Options.Retention.
	retention func(trust.Statement) Retention
}

func (o owner) signatureKey(s trust.Signature) (identityKey, error) {
	if _, err := o.VerifyAnyDocument(s); err != nil {
		return identityKey{}, err
	}
	sum := sha256.Sum256(s.Payload)
	return identityKey{subject: string(sum[:]), content: sum}, nil
}

func (o owner) statementKey(e trust.Envelope) (identityKey, trust.SignerIdentity, error) {
	st, by, err := o.VerifyAnySubject(e)
	if err != nil {
		return identityKey{}, trust.SignerIdentity{}, err
	}
	// The first subject is what the statement is about. The others only help to find it: the SBOM
	// of a platform is the same in every index.
	first := st.Subjects[0]
	key := identityKey{kind: st.PredicateType, subject: first.Name + "@" + first.Digest.String(), content: sha256.Sum256(st.Payload)}
	if o.keepAll {
		key.subject = string(key.content[:])
	}
	if o.retention != nil {
		key.retention = o.retention(st)
	}
	return key, by, nil
}

// keyCache caches the identity keys of the attachments in one list, so that reading the list again
// does not download them again.
type keyCache struct {
	keys map[string]identityKey
	// dropVanished removes attachments with a missing manifest from the list. Otherwise, a missing
	// manifest is errVanished.
	dropVanished bool
}

func (a attachment) cacheKey() string {
	return string(a.desc.MediaType) + " " + a.desc.Digest.String() + " " + a.desc.Annotations[trust.SignatureAnnotation]
}

// identify computes the identity keys of the attachments in a list. It downloads only those that a
// wanted one may replace, because SBOMs are large. gone are attachments with a deleted manifest.
func (w writers) identify(ctx context.Context, s attachmentStore, have []attachment, want []keyed, known *keyCache) (out, gone []keyed, err error) {
	for _, a := range have {
		key, ok := known.keys[a.cacheKey()]
		if ok || !slices.ContainsFunc(want, func(w keyed) bool { return w.mayReplace(a) }) {
			out = append(out, keyed{a, key})
			continue
		}
		body, err := a.body(ctx)
		switch {
		case errors.Is(err, errTooLarge), errors.Is(err, errUnknownKind):
			out = append(out, keyed{attachment: a})
			continue
		case errors.Is(err, errVanished) && known.dropVanished:
			gone = append(gone, keyed{attachment: a})
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("reading %s: %w", s, err)
		}
		key = w.identityKeyOf(a, body)
		known.keys[a.cacheKey()] = key
		out = append(out, keyed{a, key})
	}
	return out, gone, nil
}

// identityKeyOf returns the identity key from the first owner that trusts the signer of the
// attachment. An attachment by another signer has the zero key.
func (w writers) identityKeyOf(a attachment, body []byte) identityKey {
	for _, o := range w.owners {
		if a.desc.MediaType == trust.SignatureLayer {
			if s, err := a.layerOf(body).Signature(); err == nil {
				if key, err := o.signatureKey(s); err == nil {
					return key
				}
			}
		} else if e, err := a.envelope(body); err == nil {
			if key, _, err := o.statementKey(e); err == nil {
				return key
			}
		}
	}
	return identityKey{}
}

// mayReplace compares unsigned metadata. It only saves downloads.
func (k keyed) mayReplace(a attachment) bool {
	switch {
	case k.desc.MediaType != a.desc.MediaType:
		return false
	case a.desc.MediaType == trust.SignatureLayer:
		return k.desc.Digest == a.desc.Digest
	case a.desc.MediaType == trust.EnvelopeLayer:
		return k.desc.Annotations[trust.PredicateAnnotation] == a.desc.Annotations[trust.PredicateAnnotation]
	default:
		// Some registries omit the annotations from the list.
		kind, ok := a.desc.Annotations[bundlePredicateAnnotation]
		return mayBeBundle(a.desc) && (!ok || k.desc.Annotations[bundlePredicateAnnotation] == kind)
	}
}
