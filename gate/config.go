package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/secrets"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Annotations with the name and the digest of the base image:
// https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md
const (
	baseName   = "org.opencontainers.image.base.name"
	baseDigest = "org.opencontainers.image.base.digest"
)

// configOf returns the evidence in an image's configuration. It includes the names of environment
// variables but never their values, because any value may be secret.
func configOf(s *secrets.Detector, c *v1.ConfigFile) (*evidence.ImageConfig, error) {
	var history []string
	for _, h := range c.History {
		history = append(history, h.CreatedBy)
	}
	out := &evidence.ImageConfig{
		User:         c.Config.User,
		Env:          []string{},
		Labels:       c.Config.Labels,
		HiddenLabels: s.HiddenLabels(c.Config.Labels),
		ExposedPorts: sortedKeys(c.Config.ExposedPorts),
		Created:      c.Created.Time.UTC(),
		Secrets:      s.Find(secrets.Config{Env: c.Config.Env, Labels: c.Config.Labels, History: history}),
	}
	for _, e := range c.Config.Env {
		name, _, _ := strings.Cut(e, "=")
		out.Env = append(out.Env, s.Public(name)) // An entry without "=" may be any text, even a secret.
	}
	return out, nil
}

// layersOf returns an image's layers, and the compressed size of all layers and the config in
// bytes.
func layersOf(img v1.Image) (layers []evidence.Layer, size int64, err error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, 0, err
	}
	c, err := img.ConfigFile()
	if err != nil {
		return nil, 0, err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, 0, fmt.Errorf("the image has %d layers but %d diffIDs", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	size = m.Config.Size
	base := baseLayers(c.History, len(m.Layers))
	for i, l := range m.Layers {
		layers = append(layers, evidence.Layer{Digest: l.Digest.String(), DiffID: c.RootFS.DiffIDs[i].String(), Size: l.Size, FromBase: i < base})
		size += l.Size
	}
	return layers, size, nil
}

// baseLayers returns how many layers of an image come from its base image, or 0 if the image's
// history does not show that. Most base images end with CMD or ENTRYPOINT, which makes no layer. So
// the base image ends with the last such history entry that a layer follows.
func baseLayers(history []v1.History, layers int) int {
	made, base := 0, 0 // base is the number of layers up to the last CMD or ENTRYPOINT that a layer follows
	end := 0
	for _, h := range history {
		if !h.EmptyLayer {
			made++
			base = end
			continue
		}
		// Docker's classic builder writes "/bin/sh -c #(nop)  CMD ...", BuildKit writes "CMD ...".
		_, command, found := strings.Cut(h.CreatedBy, "#(nop)")
		if !found {
			command = h.CreatedBy
		}
		if word, _, _ := strings.Cut(strings.TrimSpace(command), " "); word == "CMD" || word == "ENTRYPOINT" {
			end = made
		}
	}
	if made != layers {
		return 0 // The history does not describe these layers.
	}
	return base
}

// baseOf returns the base image that the image names, in the annotations of its manifest or else in
// the labels of its config. It returns nil if neither names one. The name is not verified.
func baseOf(s *secrets.Detector, img v1.Image) (*evidence.Base, error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	c, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	for _, from := range []map[string]string{m.Annotations, c.Config.Labels} {
		if b := (evidence.Base{Name: s.Public(from[baseName]), Digest: s.Public(from[baseDigest])}); b != (evidence.Base{}) {
			return &b, nil
		}
	}
	return nil, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
