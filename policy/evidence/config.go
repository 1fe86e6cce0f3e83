package evidence

import (
	"maps"
	"slices"
	"time"
)

// ImageConfig is the part of an image's configuration about how it runs, see
// https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md. The image's author wrote it,
// and imagegate does not verify it.
type ImageConfig struct {
	// User is the user that the image runs as: a name or number, optionally followed by ":" and a
	// group. Empty means root.
	User string `json:"user,omitempty"`
	// Env lists the names of the environment variables, in the image's order. The values are left
	// out, because they can be secret.
	Env []string `json:"env,omitempty"`
	// Labels holds all labels and their values. Input.Public replaces the values of HiddenLabels
	// with HiddenValue, for evidence that leaves imagegate.
	Labels map[string]string `json:"labels,omitempty"`
	// HiddenLabels lists the names of the labels whose values look like credentials, sorted.
	// Messages of rules never quote these values.
	HiddenLabels []string `json:"hiddenLabels,omitempty"`
	// ExposedPorts lists the ports as the image writes them, "8080/tcp" or "8080", sorted.
	ExposedPorts []string `json:"exposedPorts,omitempty"`
	// Created is the creation time of the image. It is zero if the image does not state it. Images
	// built reproducibly often state 1970.
	Created time.Time `json:"created,omitzero"`
	// Secrets lists the places in the configuration that contain a credential.
	Secrets []Secret `json:"secrets,omitempty"`
}

// HiddenValue replaces a value that looks like a credential.
const HiddenValue = "[hidden: looks like a credential]"

// Public returns the evidence without the values of labels that look like credentials, for reports
// and signed statements. Rules are evaluated on the full evidence.
func (in Input) Public() Input {
	in.Platforms = slices.Clone(in.Platforms)
	for i, p := range in.Platforms {
		in.Platforms[i].Config = p.Config.Public()
	}
	return in
}

// Public returns the configuration without the values of HiddenLabels. It returns c itself if
// HiddenLabels is empty.
func (c *ImageConfig) Public() *ImageConfig {
	if c == nil || len(c.HiddenLabels) == 0 {
		return c
	}
	out := *c
	out.Labels = maps.Clone(c.Labels)
	for _, name := range c.HiddenLabels {
		if _, ok := out.Labels[name]; ok {
			out.Labels[name] = HiddenValue
		}
	}
	return &out
}

// Secret is a place that contains a credential. The evidence never contains the credential itself.
type Secret struct {
	// Where describes the place, such as "environment variable TOKEN".
	Where string `json:"where"`
	// Kind is the name of the detector's rule that matched, such as "github-pat".
	Kind string `json:"kind"`
}

// Layer is one layer of an image.
type Layer struct {
	// Digest is the digest of the layer as it is pulled. DiffID is the digest of the decompressed
	// layer. Both are "sha256:<hex>".
	Digest string `json:"digest"`
	DiffID string `json:"diffId"`
	// Size is the size of the layer as it is pulled, in bytes.
	Size int64 `json:"size"`
	// FromBase means that the layer comes from the base image, as far as the history of the image
	// shows. Use it only to group findings in reports, because the builder of an image can write
	// any history.
	FromBase bool `json:"fromBase,omitempty"`
}

// Base is the base image that an image states: the annotations org.opencontainers.image.base.name
// and .digest of its manifest, or its labels of these names. imagegate does not verify it. At least
// one field is set.
type Base struct {
	// Name is a reference, such as "registry.example/base/debian:12".
	Name string `json:"name,omitempty"`
	// Digest is the digest of the base's manifest, "sha256:<hex>".
	Digest string `json:"digest,omitempty"`
}
