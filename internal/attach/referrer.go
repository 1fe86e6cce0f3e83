package attach

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/trust"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/registry"
)

// These annotations and media types are part of cosign's format for bundles as referrers:
// https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
const (
	contentAnnotation         = "dev.sigstore.bundle.content"
	contentEnvelope           = "dsse-envelope"
	bundlePredicateAnnotation = "dev.sigstore.bundle.predicateType"
	emptyConfig               = types.MediaType("application/vnd.oci.empty.v1+json")
)

// referrerStore is the attachment store for referrers of a digest. A registry with the referrers
// API maintains the referrers list. For other registries, the writers store the list in the
// fallback tag:
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
type referrerStore struct {
	ref    name.Digest
	puller *remote.Puller
	opts   []remote.Option
	// native means that the registry has the referrers API. The method list sets it.
	native bool
	// copied means that this store is the backup copy of the referrers list in the fallback tag.
	copied bool
}

func newReferrerStore(ref name.Digest, opts []remote.Option) (*referrerStore, error) {
	// Do not use go-containerregistry's own support for the fallback tag. It loses attachments if
	// there are several writers, and it writes the tag once for each attachment, which a registry
	// with immutable tags refuses.
	opts = append(slices.Clone(opts), remote.WithReferrersTagFallback(false))
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return nil, err
	}
	return &referrerStore{ref: ref, puller: puller, opts: opts}, nil
}

// fallbackTag returns the tag with the referrers list, for a registry without the referrers API.
func fallbackTag(ref name.Digest) name.Tag {
	return ref.Context().Tag(strings.Replace(ref.DigestStr(), ":", "-", 1))
}

// tag returns the fallback tag of the digest, or the tag of the backup copy if r.copied is true.
func (r *referrerStore) tag() name.Tag {
	tag := fallbackTag(r.ref)
	if r.copied {
		return tag.Context().Tag(tag.TagStr() + ".referrers" + copySuffix)
	}
	return tag
}

func (r *referrerStore) String() string {
	if r.copied {
		return r.tag().String()
	}
	return "the referrers of " + r.ref.String()
}
func (r *referrerStore) name() string { return r.tag().Name() }

func (r *referrerStore) copyStore() attachmentStore {
	if r.native || r.copied {
		return nil
	}
	return &referrerStore{ref: r.ref, puller: r.puller, opts: r.opts, copied: true}
}

// subject returns the descriptor of the manifest that the referrers refer to. It reads the manifest
// itself, because some registries omit parts of the descriptor in the response to a HEAD request.
func (r *referrerStore) subject(ctx context.Context) (v1.Descriptor, error) {
	found, err := r.puller.Get(ctx, r.ref)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: found.MediaType, Digest: found.Digest, Size: found.Size}, nil
}

// list returns all referrers of the digest, whether or not they are bundles.
func (r *referrerStore) list(ctx context.Context) ([]attachment, error) {
	raw, err := r.index(ctx)
	if err != nil || raw == nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r, err)
	}
	if len(index.Manifests) > maxAttachments {
		return nil, fmt.Errorf("reading %s: found %d referrers, the limit is %d", r, len(index.Manifests), maxAttachments)
	}
	out := make([]attachment, len(index.Manifests))
	for i, d := range index.Manifests {
		out[i] = attachment{desc: d, layer: func(ctx context.Context) (attachment, error) { return r.bundleLayer(ctx, d) }}
	}
	return out, nil
}

// index reads the referrers list. It returns nil if the list does not exist.
func (r *referrerStore) index(ctx context.Context) ([]byte, error) {
	if r.copied {
		return r.tagged(ctx)
	}
	index, err := remote.Referrers(r.ref, r.opts...)
	switch {
	case err == nil:
		r.native = true
		raw, err := index.RawManifest()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", r, err)
		}
		return raw, nil
	case !isUnsupported(err):
		return nil, fmt.Errorf("reading %s: %w", r, err)
	}
	r.native = false
	return r.tagged(ctx)
}

// tagged reads the referrers list from the fallback tag. It returns nil if the tag does not exist.
func (r *referrerStore) tagged(ctx context.Context) ([]byte, error) {
	found, err := r.puller.Get(ctx, r.tag())
	if err != nil {
		absent, err := registry.IsAbsent(ctx, r.tag(), err, r.opts...)
		if absent {
			return nil, nil
		}
		return nil, fmt.Errorf("reading %s: %w", r, err)
	}
	if !found.MediaType.IsIndex() {
		return nil, fmt.Errorf("reading %s: the tag %s has media type %q, which is not an index", r, r.tag(), found.MediaType)
	}
	return found.Manifest, nil
}

// isUnsupported reports whether err means that the registry does not have the referrers API.
// go-containerregistry has no error type for this, so isUnsupported compares the text. Any other
// error means that the request failed.
func isUnsupported(err error) bool {
	return strings.Contains(err.Error(), "does not support the Referrers API")
}

// write stores the added bundles, and writes the referrers list with all bundles. It does not write
// existing manifests again.
func (r *referrerStore) write(ctx context.Context, all, added []attachment) error {
	for _, e := range added {
		if e.referrer == nil {
			continue // the manifest is already stored, and only missing in the referrers list
		}
		for _, l := range []attachment{e.referrer.config, e.referrer.layer} {
			if err := remote.WriteLayer(r.ref.Context(), l, r.opts...); err != nil {
				return fmt.Errorf("writing %s: %w", r, err)
			}
		}
		if err := r.put(ctx, e); err != nil {
			return fmt.Errorf("writing %s: %w", r, err)
		}
	}
	if r.native {
		return nil
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, e := range all {
		index.Manifests = append(index.Manifests, e.desc)
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return fmt.Errorf("writing %s: %w", r, err)
	}
	if err := remote.Put(r.tag(), rawManifest{raw, types.OCIImageIndex}, r.opts...); err != nil {
		return fmt.Errorf("writing %s: %w", r, err)
	}
	return nil
}

// put stores one manifest. After the write, remote.Put also requests the referrers list, and
// returns a failure of that request as its own. put ignores such a failure if the manifest is
// stored, because the caller reads the list back anyway.
func (r *referrerStore) put(ctx context.Context, e attachment) error {
	ref := r.ref.Context().Digest(e.desc.Digest.String())
	err := remote.Put(ref, rawManifest{e.referrer.manifest, e.desc.MediaType}, r.opts...)
	if err == nil {
		return nil
	}
	if _, missing := r.puller.Get(ctx, ref); missing != nil {
		return err
	}
	return nil
}

// remove deletes replaced bundles. If the registry refuses to delete, the bundles stay. They are
// harmless, because they are older than their replacements.
func (r *referrerStore) remove(ctx context.Context, replaced []attachment) error {
	for _, e := range replaced {
		err := remote.Delete(r.ref.Context().Digest(e.desc.Digest.String()), r.opts...)
		var status *transport.Error
		if err != nil && !errors.As(err, &status) {
			return fmt.Errorf("deleting from %s: %w", r, err)
		}
	}
	return ctx.Err()
}

// mayBeBundle reports whether a referrer may be a bundle, by its entry in the referrers list alone.
// Registries from before the final OCI 1.1 list the media type of the config as artifact type.
func mayBeBundle(d v1.Descriptor) bool {
	return d.MediaType.IsImage() && len(d.URLs) == 0 &&
		(trust.IsBundle(d.ArtifactType) || d.ArtifactType == "" || d.ArtifactType == string(emptyConfig))
}

// bundleLayer fetches the manifest of a referrer and returns its only layer, which contains the
// bundle. The error wraps errUnknownKind if the referrer is not a bundle, and errVanished if its
// manifest is missing.
func (r *referrerStore) bundleLayer(ctx context.Context, d v1.Descriptor) (attachment, error) {
	if !mayBeBundle(d) {
		return attachment{}, errUnknownKind
	}
	found, err := r.puller.Get(ctx, r.ref.Context().Digest(d.Digest.String()))
	if registry.IsNotFound(err) {
		err = fmt.Errorf("referrer %s: %w: %w", d.Digest, errVanished, err)
	}
	if err != nil {
		return attachment{}, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(found.Manifest))
	if err != nil || !found.MediaType.IsImage() || len(m.Layers) != 1 || !trust.IsBundle(string(m.Layers[0].MediaType)) {
		return attachment{}, fmt.Errorf("referrer %s is not a bundle: %w", d.Digest, errUnknownKind)
	}
	layer := m.Layers[0]
	if len(layer.URLs) > 0 {
		return attachment{}, fmt.Errorf("the layer of referrer %s has URLs, so its content would be downloaded from another server: %w", d.Digest, errUnknownKind)
	}
	l, err := r.puller.Layer(ctx, r.ref.Context().Digest(layer.Digest.String()))
	if err != nil {
		return attachment{}, err
	}
	return attachment{desc: layer, open: l.Compressed}, nil
}

// referrer has the manifest and the layer of a referrer that is not stored yet.
type referrer struct {
	manifest      []byte
	config, layer attachment
}

// rawManifest is a manifest that is pushed byte for byte.
type rawManifest struct {
	raw       []byte
	mediaType types.MediaType
}

func (m rawManifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m rawManifest) MediaType() (types.MediaType, error) { return m.mediaType, nil }

// newBundle returns a referrer of subject that contains a bundle.
func newBundle(body trust.Envelope, kind string, subject v1.Descriptor) (attachment, error) {
	return newReferrer(body, trust.BundleType, map[string]string{contentAnnotation: contentEnvelope, bundlePredicateAnnotation: kind}, subject)
}

// newReferrer returns a referrer of subject that contains body. kind is the media type of body.
func newReferrer(body []byte, kind string, annotations map[string]string, subject v1.Descriptor) (attachment, error) {
	layer, err := newAttachment(body, types.MediaType(kind), nil)
	if err != nil {
		return attachment{}, err
	}
	config, err := newAttachment([]byte("{}"), emptyConfig, nil)
	if err != nil {
		return attachment{}, err
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  kind,
		Config:        config.desc,
		Layers:        []v1.Descriptor{layer.desc},
		Subject:       &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations:   annotations,
	})
	if err != nil {
		return attachment{}, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return attachment{}, err
	}
	return attachment{referrer: &referrer{raw, config, layer}, desc: v1.Descriptor{MediaType: types.OCIManifestSchema1,
		ArtifactType: kind, Digest: digest, Size: size, Annotations: annotations}}, nil
}
