// Package attach stores signatures and statements with a digest in a registry, and reads them.
//
// [Prepare] verifies and encodes attachments, and [Prepared.Store] stores them. [Read] returns all
// attachments of a digest, by any signer and not verified; a [trust.Trust] verifies them.
//
// The attachments of a digest form a list, the attachment list. It is stored in one of cosign's
// tags or as referrers of the digest, see [trust.Format]. Attachments by other signers are never
// removed. A statement of our own replaces our older statements with the same identity key: the
// same type, subject and [Retention].
//
// Registries have no compare-and-swap, so one writer can overwrite the attachment list of another.
// To lose nothing, each writer reads the list back and restores lost attachments from a backup
// copy.
package attach

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// Attachments are the signatures and statements that are attached to a digest.
type Attachments struct {
	Signatures []trust.Signature
	Envelopes  []trust.Envelope
	// Copied has the statements that exist only in the backup copy of the attachment list, because
	// another writer has overwritten the list. Read sets this field; Prepare ignores it.
	Copied []trust.Envelope
}

// Copies are attachments by other signers that are stored together with our own. Each keeps its
// signature format. TrustedSigners must trust their signers. A copy does not
// replace other attachments, not even of the same type and subject, and is not stored twice.
type Copies struct {
	TrustedSigners  trust.Trust
	Legacy, Bundles Attachments
}

// encode verifies the copies and returns them ready for storing, separately for each signature
// format.
func (c Copies) encode(by owner) (legacy, bundles []pending, err error) {
	if legacy, _, err = by.encode(trust.Legacy, c.Legacy); err != nil {
		return nil, nil, err
	}
	_, bundles, err = by.encode(trust.Bundle, c.Bundles)
	return legacy, bundles, err
}

// Options control how statements are stored. With the zero value, a statement replaces our older
// statements of the same type and subject.
type Options struct {
	// Retention returns which of our own statements a statement replaces. Nil means the zero
	// Retention for each.
	Retention func(trust.Statement) Retention
	// Now returns the current time. It prevents a statement with a time in the future from counting
	// as the newest. If Now is nil, every time is accepted.
	Now func() time.Time
	// Locks are write locks for all writers that share them. If Locks is nil, nothing is locked:
	// writers that overwrite each other detect this and repeat their work.
	Locks *WriteLocks
}

// Prepared has verified and encoded attachments. Encoding is a separate step that can run early,
// because encoding an SBOM of several megabytes takes as long as sending it.
type Prepared struct {
	ref                   name.Digest
	digest                v1.Hash
	writers               writers
	signatures, envelopes []keyed   // signatures and envelopes to store in tags
	bundles               []pending // bundles to store as referrers
}

// Prepare verifies and encodes the attachments a, in each signature format that f selects, and the
// copies. own must trust the signer of a. Prepare refuses attachments by other signers, and
// signatures in another format. It sends no request to the registry.
func Prepare(own trust.Trust, f trust.Format, repo name.Repository, digest v1.Hash, a Attachments, copies Copies, o Options) (*Prepared, error) {
	ref := repo.Digest(digest.String())
	ours, others := owner{Trust: own, retention: o.Retention}, owner{Trust: copies.TrustedSigners, keepAll: true}
	legacy, bundles, err := ours.encode(f, a)
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", ref, err)
	}
	moreLegacy, moreBundles, err := copies.encode(others)
	if err != nil {
		return nil, fmt.Errorf("attaching the copied attestations to %s: %w", ref, err)
	}
	p := &Prepared{ref: ref, digest: digest, writers: writers{[]owner{ours, others}, o.Locks, o.Now}, bundles: append(bundles, moreBundles...)}
	for _, one := range append(legacy, moreLegacy...) {
		layer, err := one.layer()
		if err != nil {
			return nil, fmt.Errorf("attaching to %s: %w", ref, err)
		}
		if one.envelope == nil {
			p.signatures = append(p.signatures, keyed{layer, one.key})
		} else {
			p.envelopes = append(p.envelopes, keyed{layer, one.key})
		}
	}
	return p, nil
}

// Upload sends the blobs of the attachments for tags, but does not write the tags, so that Store
// has less to send. It skips a tag that exists already, because Store may keep the existing
// attachments instead of the new ones.
func (p *Prepared) Upload(ctx context.Context, opts ...remote.Option) error {
	repo := p.ref.Context()
	opts = registry.With(ctx, opts)
	for tag, layers := range map[name.Tag][]keyed{
		signatureTag(repo, p.digest):   p.signatures,
		attestationTag(repo, p.digest): p.envelopes,
	} {
		if len(layers) == 0 {
			continue
		}
		if _, err := remote.Get(tag, opts...); err == nil {
			continue // Store reports the error, if it still occurs
		}
		for _, layer := range layers {
			if err := remote.WriteLayer(repo, layer.attachment, opts...); err != nil {
				return fmt.Errorf("writing %s: %w", tag, err)
			}
		}
	}
	return nil
}

// Store stores the attachments: first the signatures, then the statements. For bundles, the image
// must exist already, because bundles refer to it. The legacy format does not need the image.
//
// Attachments by other signers are kept. A signature over the same document or an envelope over the
// same statement is not stored twice. A new statement replaces our existing statement with the same
// identity key. If the existing statement is newer, Store returns a *NewerError.
//
// If the registry refuses to change a tag, the error is a *RefusedError. If the registry refuses to
// delete replaced bundles, they stay.
func (p *Prepared) Store(ctx context.Context, opts ...remote.Option) error {
	opts = registry.With(ctx, opts)
	if len(p.signatures)+len(p.envelopes) > 0 {
		if err := p.storeTags(ctx, opts); err != nil {
			return err
		}
	}
	return p.writers.storeBundles(ctx, p.ref, p.bundles, opts)
}

func (p *Prepared) storeTags(ctx context.Context, opts []remote.Option) error {
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", p.ref, err)
	}
	repo := p.ref.Context()
	if err := p.writers.store(ctx, newTagStore(signatureTag(repo, p.digest), puller, opts), p.signatures); err != nil {
		return err
	}
	return p.writers.store(ctx, newTagStore(attestationTag(repo, p.digest), puller, opts), p.envelopes)
}

// writers writes attachment lists. owners are imagegate's own signer and then the signers of
// copies. Only attachments by these signers get an identity key.
type writers struct {
	owners []owner
	locks  *WriteLocks
	now    func() time.Time
}

func (w writers) storeBundles(ctx context.Context, ref name.Digest, all []pending, opts []remote.Option) error {
	if len(all) == 0 {
		return nil
	}
	list, err := newReferrerStore(ref, opts)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	subject, err := list.subject(ctx)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	bundles := make([]keyed, len(all))
	for i, one := range all {
		bundle, err := newBundle(one.envelope, one.key.kind, subject)
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", ref, err)
		}
		bundles[i] = keyed{bundle, one.key}
	}
	return w.store(ctx, list, bundles)
}

// Document stores a file as a referrer of a digest, with mediaType as its media type. The file is
// not signed. Instead, the caller signs a statement that contains the digest of the file.
func Document(ctx context.Context, repo name.Repository, digest v1.Hash, mediaType string, body []byte, opts ...remote.Option) error {
	ref := repo.Digest(digest.String())
	list, err := newReferrerStore(ref, registry.With(ctx, opts))
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	subject, err := list.subject(ctx)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	file, err := newReferrer(body, mediaType, nil, subject)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	// The key contains the checksum of the file, so the file does not replace any other file.
	sum := sha256.Sum256(body)
	return writers{}.store(ctx, list, []keyed{{file, identityKey{kind: mediaType, subject: string(sum[:]), content: sum}}})
}
