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

// Retention states how long one of our statements is kept and which others it replaces. With the
// zero value, a statement replaces our other statements of the same type and subject.
type Retention struct {
	// Key distinguishes statements that are kept side by side. Among statements with the same type,
	// first subject and key, only the newest is kept.
	Key string
	// Group limits the number of keys: only the 8 newest keys of a group are kept.
	Group string
	// At is the time of the statement. Zero means unknown: then the statement that was stored last
	// is the newest.
	At time.Time
	// Lists has the digests, "sha256:<hex>", of the statements that this statement depends on.
	// They are kept as long as this statement.
	Lists []string
	// BelongsTo is the digest of another statement. This statement is kept as long as that one.
	BelongsTo string
	// Evidence means that the statement is kept as long as another statement lists it in Lists.
	Evidence bool
}

// identityKey decides which of imagegate's own attachments replace each other: attachments with
// equal kind, subject and Retention.Key. Attachments by other signers or of an unknown kind have
// the zero key and are never replaced.
type identityKey struct {
	kind      string // predicate type; empty for a signature
	subject   string // the subject of a statement, or the hash of the content; empty for the zero key
	content   [sha256.Size]byte
	retention Retention
}

func (k identityKey) isOurs() bool { return k.subject != "" }

// digest returns the digest of the statement as "sha256:<hex>", as in Retention.
func (k identityKey) digest() string { return digestPrefix + hex.EncodeToString(k.content[:]) }

const digestPrefix = "sha256:"

// keyed is an attachment with its identity key.
type keyed struct {
	attachment
	key identityKey
}

// owner computes the identity keys of the attachments by its trusted signers.
type owner struct {
	trust.Trust
	// keepAll means that the attachments do not replace each other, see Copies.
	keepAll bool
	// retention is Options.Retention: it returns the Retention of a statement.
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
	// Only the first subject identifies the statement. The other subjects, such as the platforms of
	// an index, only help to find the statement.
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

// keyCache caches the identity keys of the attachments in one attachment list, so that reading the
// list again does not download the attachments again.
type keyCache struct {
	keys map[string]identityKey
	// dropVanished removes attachments whose manifest is missing from the attachment list. If it is
	// false, a missing manifest is the error errVanished.
	dropVanished bool
}

func (a attachment) cacheKey() string {
	return string(a.desc.MediaType) + " " + a.desc.Digest.String() + " " + a.desc.Annotations[trust.SignatureAnnotation]
}

// identify adds the identity keys to the attachments in an attachment list. To compute a key, it
// downloads the attachment, but only if a wanted attachment may replace it, because SBOMs are
// large. All other attachments get a cached key or the zero key. gone has the attachments whose
// manifest was deleted.
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

// mayReplace reports whether k may replace a. It compares only unsigned metadata, to avoid
// downloads. If it returns true, the identity keys decide.
func (k keyed) mayReplace(a attachment) bool {
	switch {
	case k.desc.MediaType != a.desc.MediaType:
		return false
	case a.desc.MediaType == trust.SignatureLayer:
		return k.desc.Digest == a.desc.Digest
	case a.desc.MediaType == trust.EnvelopeLayer:
		return k.desc.Annotations[trust.PredicateAnnotation] == a.desc.Annotations[trust.PredicateAnnotation]
	default:
		// Some registries omit the annotations in the referrers list. An attachment without the
		// annotation may have any predicate type.
		kind, ok := a.desc.Annotations[bundlePredicateAnnotation]
		return mayBeBundle(a.desc) && (!ok || k.desc.Annotations[bundlePredicateAnnotation] == kind)
	}
}
