package policy

import (
	"maps"
	"slices"
	"time"
)

// ImageConfig is what an image's configuration says about how it runs, see
// https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md. It is what
// the image's author wrote, and nothing in it is verified.
type ImageConfig struct {
	// User is whom the image runs as: a name or number, with ":" and a group
	// behind it or without. Empty means root.
	User string `json:"user,omitempty"`
	// Env are the names of the environment variables, in the image's order. Their
	// values are not evidence: some are secret.
	Env []string `json:"env,omitempty"`
	// Labels are all labels with their values. In evidence that leaves the program
	// HiddenValue stands for the values of HiddenLabels, see Input.Public.
	Labels map[string]string `json:"labels,omitempty"`
	// HiddenLabels are the names of the labels whose values look like
	// credentials, sorted. No text that a rule makes quotes these values.
	HiddenLabels []string `json:"hiddenLabels,omitempty"`
	// ExposedPorts are the ports as the image writes them, "8080/tcp" or "8080",
	// sorted.
	ExposedPorts []string `json:"exposedPorts,omitempty"`
	// Created is when the image was made; zero where it does not say. An image
	// built to be reproducible often says 1970.
	Created time.Time `json:"created,omitzero"`
	// Secrets are the places in the configuration that hold a credential.
	Secrets []Secret `json:"secrets,omitempty"`
}

// HiddenValue stands for a value that looks like a credential.
const HiddenValue = "[hidden: looks like a credential]"

// Public returns the evidence as it may leave the program: without the values of labels that look
// like credentials. Rules judge the evidence with them.
func (in Input) Public() Input {
	in.Platforms = slices.Clone(in.Platforms)
	for i, p := range in.Platforms {
		in.Platforms[i].Config = p.Config.public()
	}
	return in
}

// public returns c itself if it has nothing to hide.
func (c *ImageConfig) public() *ImageConfig {
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

// Secret is a place that holds a credential. The credential itself is nowhere
// in the evidence.
type Secret struct {
	// Where is the place in words, such as "environment variable TOKEN".
	Where string `json:"where"`
	// Kind is the name of the rule that knew it, such as "github-pat".
	Kind string `json:"kind"`
}

// Layer is one layer of an image.
type Layer struct {
	// Digest is that of the layer as it is pulled, and DiffID that of the same
	// uncompressed; both are "sha256:<hex>".
	Digest string `json:"digest"`
	DiffID string `json:"diffId"`
	// Size is that of the layer as it is pulled, in bytes.
	Size int64 `json:"size"`
}

// Base is the image on which another says that it was built: the annotations
// org.opencontainers.image.base.name and .digest of its manifest, or its labels
// of these names. Nobody has verified it. At least one of the two is set.
type Base struct {
	// Name is a reference, such as "registry.example/base/debian:12".
	Name string `json:"name,omitempty"`
	// Digest is that of the base's manifest, "sha256:<hex>".
	Digest string `json:"digest,omitempty"`
}
