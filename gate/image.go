package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/internal/registry"
)

// Limits for responses of a registry. They are far above the sizes of real images, and low enough
// that no response exhausts memory.
const (
	maxChildren = 256 // maximum number of manifests in an index
)

// Image is a reference that was resolved once to a digest. All later steps use only digests, so
// that a moved tag does not change which image is scanned and promoted.
type Image struct {
	Source Source
	// Digest, MediaType and Manifest describe the index or manifest that the reference resolved to.
	// If Options.Platform is set, they describe the manifest of that platform.
	Digest    v1.Hash
	MediaType types.MediaType
	Manifest  []byte
	// Platforms has the images of the index in its order, each distinct image once, or the single
	// image.
	Platforms []Platform
	// Attachments are the attestation manifests of an index, as buildx writes them. They are copied
	// with the index, because the index lists their digests. The gate neither scans them nor uses
	// them as evidence.
	Attachments []Attachment

	// LazyIndexes are the SOCI indexes that an index lists. Nodes with lazy pulling read them. They
	// are not scanned. They are copied only if an exception of the policy allows it.
	LazyIndexes []Attachment
	// Unlisted are the SOCI indexes that the manifests of platforms name but the index does not
	// list. They are not copied, so nodes pull the complete layers.
	Unlisted []v1.Hash

	root v1.Hash // the digest that the reference resolved to, even if Options.Platform is set
}

// IsIndex reports whether the image is an index.
func (i *Image) IsIndex() bool { return i.MediaType.IsIndex() }

// Platform is one image that a node can run.
type Platform struct {
	// Name is os/arch or os/arch/variant. If an index lists the image for several platforms, Name
	// lists all of them.
	Name   string
	Digest v1.Hash
	// Image serves the verified manifest, config and layers.
	Image  v1.Image
	Config *v1.ConfigFile
}

// Attachment is a child of an index that is not an image: an attestation manifest or a SOCI index.
type Attachment struct {
	Descriptor v1.Descriptor
	Manifest   []byte
	// Blobs are the verified config and layers of the manifest.
	Blobs []layers.Blob
}

// root is the manifest that a reference resolved to, with functions that fetch the manifest's
// images, child manifests and blobs.
type root struct {
	descriptor v1.Descriptor
	raw        []byte
	// image, manifest and blob fetch content by digest from the registry, layout or archive of the
	// root manifest.
	image    func(v1.Descriptor) (v1.Image, error)
	manifest func(v1.Descriptor) ([]byte, error)
	blob     func(v1.Descriptor) (layers.Open, error)
}

// resolve resolves the reference of src to a digest and reads its manifests and configs. It reads
// no layers.
func (g *Gate) resolve(ctx context.Context, store *layers.Store, src Source) (*Image, error) {
	r, err := g.open(ctx, store, src)
	if err != nil {
		return nil, err
	}
	if err := checkManifest(r.descriptor, r.raw); err != nil {
		return nil, fmt.Errorf("resolving %s: %w", src, err)
	}
	img := &Image{Source: src, Digest: r.descriptor.Digest, MediaType: r.descriptor.MediaType, Manifest: r.raw,
		root: r.descriptor.Digest}
	switch {
	case r.descriptor.MediaType.IsIndex():
		err = img.expand(ctx, store, r, g.platform)
	case r.descriptor.MediaType.IsImage():
		err = img.single(ctx, store, r, g.platform)
	default:
		err = refuse("%s has media type %q, which is not the type of an image or an index", r.descriptor.Digest, r.descriptor.MediaType)
	}
	if err == nil {
		err = img.findUnlisted()
	}
	if err == nil {
		return img, nil
	}
	if src.Transport == Registry {
		return nil, registry.NewError(registry.Staging, "reading "+src.Ref.Context().Digest(img.Digest.String()).String(), err)
	}
	return nil, fmt.Errorf("reading %s: %w", src, err)
}

// single makes the image of the root manifest the only platform.
func (i *Image) single(ctx context.Context, store *layers.Store, r *root, want *v1.Platform) error {
	p, err := readPlatform(ctx, store, r, r.descriptor)
	if err != nil {
		return err
	}
	if want != nil && !satisfies(p.Config.Platform(), want) {
		return &InputError{refuse("the image is for platform %s, not for %s", p.Name, want)}
	}
	i.Platforms = []Platform{p}
	return nil
}

// expand reads every child of an index. It refuses a child that is neither an image nor a
// recognized attachment, because that child would be promoted without a check.
func (i *Image) expand(ctx context.Context, store *layers.Store, r *root, want *v1.Platform) error {
	index, err := registry.ParseIndex(r.raw)
	if err != nil {
		return refuse("parsing index %s: %v", i.Digest, err)
	}
	if n := index.Len(); n > maxChildren {
		return refuse("index %s lists %d manifests, the limit is %d", i.Digest, n, maxChildren)
	}
	for child := range index.Children() {
		if len(child.URLs) > 0 {
			return refuse("manifest %s of index %s has a download URL outside the registry", child.Digest, i.Digest)
		}
	}
	for _, child := range index.Other {
		return refuse("manifest %s of index %s has media type %q, which imagegate cannot scan", child.Digest, i.Digest, child.MediaType)
	}
	if want != nil {
		return i.narrow(ctx, store, r, index.Platforms, want)
	}
	if len(index.Platforms) == 0 {
		return refuse("index %s lists no image", i.Digest)
	}
	if err := i.addPlatforms(ctx, store, r, index.Platforms); err != nil {
		return err
	}
	return i.addAttachments(ctx, store, r, index)
}

// addPlatforms reads the images of an index and adds them to i.Platforms.
func (i *Image) addPlatforms(ctx context.Context, store *layers.Store, r *root, images []v1.Descriptor) error {
	for _, child := range images {
		// An index may list the same image for several platforms. The image is checked once.
		if at := slices.IndexFunc(i.Platforms, func(p Platform) bool { return p.Digest == child.Digest }); at >= 0 {
			if child.Platform != nil {
				i.Platforms[at].Name += ", " + child.Platform.String()
			}
			continue
		}
		p, err := readPlatform(ctx, store, r, child)
		if err != nil {
			return fmt.Errorf("%s of index %s: %w", platformOf(child), i.Digest, err)
		}
		i.Platforms = append(i.Platforms, p)
	}
	return nil
}

// addAttachments reads the attestation manifests and SOCI indexes that an index lists.
func (i *Image) addAttachments(ctx context.Context, store *layers.Store, r *root, index registry.Index) error {
	for _, child := range index.Attestations {
		a, err := readAttachment(ctx, store, r, child, index.Platforms)
		if err != nil {
			return fmt.Errorf("attestation manifest %s of index %s: %w", child.Digest, i.Digest, err)
		}
		i.Attachments = append(i.Attachments, a)
	}
	for _, child := range index.SOCI {
		a, err := readSOCI(ctx, store, r, child)
		if err != nil {
			return fmt.Errorf("SOCI index %s of index %s: %w", child.Digest, i.Digest, err)
		}
		i.LazyIndexes = append(i.LazyIndexes, a)
	}
	return nil
}

// platformOf returns the name of a child of an index for error messages: its platform, or its
// digest if the index lists no platform.
func platformOf(child v1.Descriptor) string {
	if child.Platform == nil {
		return "manifest " + child.Digest.String()
	}
	return "platform " + child.Platform.String()
}

// narrow replaces the index with its only image for the wanted platform.
func (i *Image) narrow(ctx context.Context, store *layers.Store, r *root, images []v1.Descriptor, want *v1.Platform) error {
	child, err := choose(images, want)
	if err != nil {
		return &InputError{refuse("index %s: %v", i.Digest, err)}
	}
	p, err := readPlatform(ctx, store, r, child)
	if err != nil {
		return fmt.Errorf("platform %s of index %s: %w", want, i.Digest, err)
	}
	if !satisfies(p.Config.Platform(), want) {
		return refuse("index %[2]s lists image %[1]s for platform %[3]s, but the config of the image has platform %[4]s", child.Digest, i.Digest, want, p.Config.Platform())
	}
	raw, err := p.Image.RawManifest()
	if err != nil {
		return err
	}
	i.Digest, i.MediaType, i.Manifest, i.Platforms = child.Digest, child.MediaType, raw, []Platform{p}
	return nil
}

// choose returns the only image of an index for the wanted platform. It is an error if there is
// none or more than one.
func choose(images []v1.Descriptor, want *v1.Platform) (v1.Descriptor, error) {
	var found []v1.Descriptor
	var have []string
	for _, child := range images {
		if child.Platform == nil {
			continue
		}
		have = append(have, child.Platform.String())
		if satisfies(child.Platform, want) {
			found = append(found, child)
		}
	}
	if len(found) != 1 {
		return v1.Descriptor{}, fmt.Errorf("found %d images for platform %s, expected one; available platforms: %s", len(found), want, strings.Join(have, ", "))
	}
	return found[0], nil
}

// satisfies reports whether an image for platform have can be used for platform want. The variants
// are compared only if want has one.
func satisfies(have, want *v1.Platform) bool {
	return have != nil && have.OS == want.OS && have.Architecture == want.Architecture &&
		(want.Variant == "" || have.Variant == want.Variant)
}

func readPlatform(ctx context.Context, store *layers.Store, r *root, d v1.Descriptor) (Platform, error) {
	src, err := r.image(d)
	if err != nil {
		return Platform{}, err
	}
	img, err := store.Image(ctx, d, src)
	if err != nil {
		return Platform{}, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return Platform{}, err
	}
	// Refuse an image without an OS or architecture. Some runtimes would assume their own platform.
	for _, field := range []struct{ name, value string }{{"os", cfg.OS}, {"architecture", cfg.Architecture}} {
		if field.value == "" {
			return Platform{}, refuse("the config of image %s has no %q, so the platform of the image is unknown", d.Digest, field.name)
		}
	}
	p := d.Platform
	if p == nil {
		p = cfg.Platform()
	}
	return Platform{Name: p.String(), Digest: d.Digest, Image: img, Config: cfg}, nil
}

// checkManifest compares a manifest with the descriptor that lists it. If the manifest has a media
// type, it must equal the media type of the descriptor. Otherwise one client could read an image
// and another one an index.
func checkManifest(d v1.Descriptor, raw []byte) error {
	if len(raw) > registry.MaxManifest {
		return refuse("manifest %s has %d bytes, the limit is %d", d.Digest, len(raw), registry.MaxManifest)
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	if digest != d.Digest {
		return &layers.CorruptError{Digest: d.Digest, Reason: fmt.Sprintf("the content of the manifest has the different digest %s", digest)}
	}
	if d.Size != 0 && d.Size != int64(len(raw)) {
		return &layers.CorruptError{Digest: d.Digest, Reason: fmt.Sprintf("the manifest has %d bytes, but its descriptor lists %d", len(raw), d.Size)}
	}
	var inside struct {
		MediaType types.MediaType   `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
		Layers    []json.RawMessage `json:"layers"`
		Subject   *v1.Descriptor    `json:"subject"`
	}
	if err := layers.DecodeManifest(raw, &inside); err != nil {
		return refuse("parsing manifest %s: %v", d.Digest, err)
	}
	if inside.MediaType != "" && inside.MediaType != d.MediaType {
		return refuse("the media type of manifest %s is %q in its descriptor but %q in the manifest", d.Digest, d.MediaType, inside.MediaType)
	}
	// Pushing this manifest would attach it to another image. On a registry without a referrers
	// API, pushing it would also change the referrers fallback tag of that image.
	if inside.Subject != nil && !registry.IsAttestation(d) {
		return refuse("manifest %s has the subject %s, which is not allowed for an image", d.Digest, inside.Subject.Digest)
	}
	if d.MediaType.IsIndex() && inside.Layers != nil || d.MediaType.IsImage() && inside.Manifests != nil {
		return refuse("manifest %s with media type %q has both layers and manifests", d.Digest, d.MediaType)
	}
	return nil
}

// reference returns the reference of the image by digest, or nil if the image is not in a registry.
func (i *Image) reference() name.Reference {
	if i.Source.Transport != Registry {
		return nil
	}
	return i.Source.Ref.Context().Digest(i.Digest.String())
}
