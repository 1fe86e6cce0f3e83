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

// The annotations that buildx sets on attestation manifests:
// https://docs.docker.com/build/metadata/attestations/attestation-storage/
const (
	attachmentSubject = "vnd.docker.reference.digest"
	inTotoLayer       = types.MediaType("application/vnd.in-toto+json")
	emptyConfig       = types.MediaType("application/vnd.oci.empty.v1+json")
	buildxArtifact    = "application/vnd.docker.attestation.manifest.v1+json"
)

// isSignedStatement reports whether the media type of a layer is a statement in a DSSE envelope,
// such as application/vnd.in-toto.provenance+dsse. Docker's signer writes these:
// https://github.com/docker/attest
func isSignedStatement(t types.MediaType) bool {
	return strings.HasPrefix(string(t), "application/vnd.in-toto.") && strings.HasSuffix(string(t), "+dsse")
}

// readAttachment checks that the manifest is an attestation, as its annotations say. An image that
// is annotated as an attestation would be promoted without a scan, and could be pulled by its
// digest.
func readAttachment(ctx context.Context, store *layers.Store, r *root, d v1.Descriptor, images []v1.Descriptor) (Attachment, error) {
	if d.Platform == nil || d.Platform.OS != "unknown" || d.Platform.Architecture != "unknown" {
		return Attachment{}, refuse("it is for platform %s: an attestation must not name a platform", d.Platform)
	}
	subject := d.Annotations[attachmentSubject]
	if !slices.ContainsFunc(images, func(i v1.Descriptor) bool { return i.Digest.String() == subject }) {
		return Attachment{}, refuse("it describes %q, which is not an image of the index", subject)
	}
	raw, m, err := r.child(d)
	if err != nil {
		return Attachment{}, err
	}
	switch {
	case !d.MediaType.IsImage() || len(m.Layers) == 0:
		return Attachment{}, refuse("it is a %q with %d statements", d.MediaType, len(m.Layers))
	case !m.Config.MediaType.IsConfig() && m.Config.MediaType != emptyConfig:
		return Attachment{}, refuse("its config is a %q", m.Config.MediaType)
	case m.Subject != nil && m.Subject.Digest.String() != subject:
		return Attachment{}, refuse("it is attached to %s, not to the image that it describes", m.Subject.Digest)
	case m.ArtifactType != "" && m.ArtifactType != buildxArtifact:
		return Attachment{}, refuse("it is a %q", m.ArtifactType)
	}
	a := Attachment{Descriptor: d, Manifest: raw}
	for _, l := range m.Layers {
		if l.MediaType != inTotoLayer && !isSignedStatement(l.MediaType) {
			return Attachment{}, refuse("it carries a %q, not only statements", l.MediaType)
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

// maxStatement limits one statement of an attestation manifest, in bytes. BuildKit writes at most
// 80 MiB.
const maxStatement = 128 << 20

// child reads and parses the manifest of a child of the index that is not an image. The content must
// have the digest and the size of the descriptor.
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
		return nil, nil, refuse("parsing it: %v", err)
	}
	return raw, m, nil
}

// readAttached reads the config or a statement of an attestation manifest.
func readAttached(ctx context.Context, store *layers.Store, r *root, d v1.Descriptor) (layers.Blob, []byte, error) {
	if len(d.URLs) > 0 {
		return layers.Blob{}, nil, refuse("blob %s has a download URL outside the registry: not allowed", d.Digest)
	}
	if d.Size > maxStatement {
		return layers.Blob{}, nil, refuse("blob %s has %d bytes, more than %d", d.Digest, d.Size, maxStatement)
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

// checkAttachedConfig requires a config as buildx writes it. It is an empty document, or the config
// of an image without a platform and without settings, whose layers are the statements.
func checkAttachedConfig(m *v1.Manifest, raw []byte) error {
	if m.Config.MediaType == emptyConfig {
		if string(raw) != "{}" {
			return refuse("a config of the type %q is not empty", emptyConfig)
		}
		return nil
	}
	config, err := layers.DecodeConfig(raw)
	if err != nil {
		return refuse("parsing the config: %v", err)
	}
	// Docker's signer leaves both empty.
	if config.OS+config.Architecture != "" && (config.OS != "unknown" || config.Architecture != "unknown") {
		return refuse("the config is for %q and %q: an attestation must not name a platform", config.OS, config.Architecture)
	}
	if !reflect.ValueOf(config.Config).IsZero() {
		return refuse("the config has the settings of a container")
	}
	for _, id := range config.RootFS.DiffIDs {
		if !slices.ContainsFunc(m.Layers, func(l v1.Descriptor) bool { return l.Digest == id }) {
			return refuse("the config has the layer %s, which is not one of the statements", id)
		}
	}
	return nil
}

// checkStatement requires an in-toto statement about the image, in JSON. An empty list of subjects
// is accepted: BuildKit writes it if the image has no name during the build.
func checkStatement(kind types.MediaType, raw []byte, subject string) error {
	if layers.LooksPacked(raw) {
		return refuse("it is an archive, not a statement")
	}
	if isSignedStatement(kind) {
		var envelope struct {
			PayloadType string          `json:"payloadType"`
			Payload     []byte          `json:"payload"`
			Signatures  json.RawMessage `json:"signatures"`
		}
		if err := layers.DecodeStatement(raw, &envelope); err != nil {
			return refuse("parsing it as a signed statement: %v", err)
		}
		if envelope.PayloadType != string(inTotoLayer) {
			return refuse("the signed content is a %q, not a statement", envelope.PayloadType)
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
		return refuse("parsing it as an in-toto statement: %v", err)
	}
	if !strings.HasPrefix(s.Type, "https://in-toto.io/Statement/v") || s.PredicateType == "" {
		return refuse("it is not an in-toto statement but a %q with the predicate %q", s.Type, s.PredicateType)
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
