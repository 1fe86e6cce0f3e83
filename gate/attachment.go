package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate/layers"
)

// The annotation and media types that buildx sets in attestation manifests:
// https://docs.docker.com/build/metadata/attestations/attestation-storage/
const (
	attachmentSubject = "vnd.docker.reference.digest"
	inTotoLayer       = types.MediaType("application/vnd.in-toto+json")
	emptyConfig       = types.MediaType("application/vnd.oci.empty.v1+json")
	buildxArtifact    = "application/vnd.docker.attestation.manifest.v1+json"
)

// isSignedStatement reports whether t is the media type of a statement in a DSSE envelope, such as
// application/vnd.in-toto.provenance+dsse. Docker's signer writes such layers:
// https://github.com/docker/attest
func isSignedStatement(t types.MediaType) bool {
	return strings.HasPrefix(string(t), "application/vnd.in-toto.") && strings.HasSuffix(string(t), "+dsse")
}

// readAttachment reads an attestation manifest and checks that it is not an image. An image that is
// annotated as an attestation would be promoted without a scan, and nodes could pull it by its
// digest.
func readAttachment(ctx context.Context, store *layers.Store, r *root, d v1.Descriptor, images []v1.Descriptor) (Attachment, error) {
	if d.Platform == nil || d.Platform.OS != "unknown" || d.Platform.Architecture != "unknown" {
		return Attachment{}, refuse("the attestation has the platform %s, but an attestation must not name a platform", d.Platform)
	}
	subject := d.Annotations[attachmentSubject]
	if !slices.ContainsFunc(images, func(i v1.Descriptor) bool { return i.Digest.String() == subject }) {
		return Attachment{}, refuse("the attestation is about %q, which is not an image of the index", subject)
	}
	raw, m, err := r.child(d)
	if err != nil {
		return Attachment{}, err
	}
	switch {
	case !d.MediaType.IsImage() || len(m.Layers) == 0:
		return Attachment{}, refuse("the manifest has media type %q and %d statements: expected an image manifest with at least one statement", d.MediaType, len(m.Layers))
	case !m.Config.MediaType.IsConfig() && m.Config.MediaType != emptyConfig:
		return Attachment{}, refuse("unsupported media type %q of the config", m.Config.MediaType)
	case m.Subject != nil && m.Subject.Digest.String() != subject:
		return Attachment{}, refuse("the subject of the manifest is %s, not the image that the attestation is about", m.Subject.Digest)
	case m.ArtifactType != "" && m.ArtifactType != buildxArtifact:
		return Attachment{}, refuse("unsupported artifact type %q", m.ArtifactType)
	}
	a := Attachment{Descriptor: d, Manifest: raw}
	for _, l := range m.Layers {
		if l.MediaType != inTotoLayer && !isSignedStatement(l.MediaType) {
			return Attachment{}, refuse("the manifest has a layer with media type %q: every layer must be a statement", l.MediaType)
		}
	}
	for i, b := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		blob, content, err := readAttached(ctx, store, r, b)
		if err != nil {
			return Attachment{}, err
		}
		if i == 0 {
			err = checkAttachedConfig(m, content)
		} else {
			err = checkStatement(b.MediaType, content, subject)
		}
		if err != nil {
			return Attachment{}, fmt.Errorf("blob %s: %w", b.Digest, err)
		}
		a.Blobs = append(a.Blobs, blob)
	}
	return a, nil
}

// maxStatement is the maximum size of one statement of an attestation manifest, in bytes. BuildKit
// writes at most 80 MiB.
const maxStatement = 128 << 20

// child reads and parses the manifest of a child of the index: an attestation or a SOCI index. It
// is an error if the content does not have the digest and the size in the descriptor.
func (r *root) child(d v1.Descriptor) ([]byte, *v1.Manifest, error) {
	raw, err := r.manifest(d)
	if err != nil {
		return nil, nil, err
	}
	if err := checkManifest(d, raw); err != nil {
		return nil, nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, refuse("parsing the manifest: %v", err)
	}
	return raw, m, nil
}

// readAttached fetches, verifies and stores the config or a statement of an attestation manifest.
// It returns the stored blob and its content. It refuses a blob with a download URL or with more
// than maxStatement bytes.
func readAttached(ctx context.Context, store *layers.Store, r *root, d v1.Descriptor) (layers.Blob, []byte, error) {
	if len(d.URLs) > 0 {
		return layers.Blob{}, nil, refuse("blob %s has a download URL outside the registry", d.Digest)
	}
	if d.Size > maxStatement {
		return layers.Blob{}, nil, refuse("blob %s has %d bytes, the limit is %d", d.Digest, d.Size, maxStatement)
	}
	open, err := r.blob(d)
	if err != nil {
		return layers.Blob{}, nil, err
	}
	blob, err := store.Blob(ctx, d, open)
	if err != nil {
		return layers.Blob{}, nil, err
	}
	in, err := blob.Compressed()
	if err != nil {
		return layers.Blob{}, nil, err
	}
	defer in.Close()
	content, err := io.ReadAll(in)
	return blob, content, err
}

// checkAttachedConfig checks that the config of an attestation manifest is one that buildx writes.
// It must be an empty document or the config of an image. In the second case it must have no
// platform and no container settings, and its layers must be the statements.
func checkAttachedConfig(m *v1.Manifest, raw []byte) error {
	if m.Config.MediaType == emptyConfig {
		if string(raw) != "{}" {
			return refuse("a config with media type %q must be the empty document {}", emptyConfig)
		}
		return nil
	}
	config, err := layers.DecodeConfig(raw)
	if err != nil {
		return refuse("parsing the config: %v", err)
	}
	// Accept an empty OS and architecture, because Docker's signer writes no platform.
	if config.OS+config.Architecture != "" && (config.OS != "unknown" || config.Architecture != "unknown") {
		return refuse("the config has OS %q and architecture %q: an attestation must not name a platform", config.OS, config.Architecture)
	}
	if !reflect.ValueOf(config.Config).IsZero() {
		return refuse("the config has container settings, which an attestation must not have")
	}
	for _, id := range config.RootFS.DiffIDs {
		if !slices.ContainsFunc(m.Layers, func(l v1.Descriptor) bool { return l.Digest == id }) {
			return refuse("the config has the layer %s, which is not one of the statements", id)
		}
	}
	return nil
}

// checkStatement checks that a blob is an in-toto statement about the image, in JSON. A statement
// without subjects is accepted, because BuildKit writes one if the image has no name during the
// build.
func checkStatement(kind types.MediaType, raw []byte, subject string) error {
	if layers.LooksPacked(raw) {
		return refuse("the content of the blob is an archive, not a statement")
	}
	if isSignedStatement(kind) {
		var envelope struct {
			PayloadType string          `json:"payloadType"`
			Payload     []byte          `json:"payload"`
			Signatures  json.RawMessage `json:"signatures"`
		}
		if err := layers.DecodeStatement(raw, &envelope); err != nil {
			return refuse("parsing the content of the blob as a signed statement: %v", err)
		}
		if envelope.PayloadType != string(inTotoLayer) {
			return refuse("the signed payload has type %q, so it is not a statement", envelope.PayloadType)
		}
		raw = envelope.Payload
	}
	var s struct {
		Type          string          `json:"_type"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
		Subject       []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := layers.DecodeStatement(raw, &s); err != nil {
		return refuse("parsing the content of the blob as an in-toto statement: %v", err)
	}
	if !strings.HasPrefix(s.Type, "https://in-toto.io/Statement/v") || s.PredicateType == "" {
		return refuse("the content of the blob has type %q and predicate type %q, so it is not an in-toto statement", s.Type, s.PredicateType)
	}
	about := len(s.Subject) == 0
	for _, one := range s.Subject {
		about = about || one.Digest["sha256"] == strings.TrimPrefix(subject, "sha256:")
	}
	if !about {
		return refuse("the statement is not about image %s", subject)
	}
	return nil
}
