package policy

import "time"

// ImageConfig is what an image's configuration says about how it runs.
type ImageConfig struct {
	User         string            `json:"user,omitempty"`
	Env          []string          `json:"env,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	ExposedPorts []string          `json:"exposedPorts,omitempty"`
	Created      time.Time         `json:"created,omitzero"`
	Secrets      []Secret          `json:"secrets,omitempty"`
}

// Secret is a place that holds a credential. The credential itself is nowhere
// in the evidence.
type Secret struct {
	Where string `json:"where"`
	Kind  string `json:"kind"`
}

// Layer is one layer of an image.
type Layer struct {
	Digest string `json:"digest"`
	DiffID string `json:"diffId"`
	Size   int64  `json:"size"`
}

// Base is the image on which another was built.
type Base struct {
	Name   string `json:"name,omitempty"`
	Digest string `json:"digest,omitempty"`
}
