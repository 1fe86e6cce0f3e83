// Package evidence has the types that a policy is evaluated against: everything that is known about
// one image, its packages and their vulnerabilities, and the vulnerability database.
//
// The gate fills in an [Input], package policy evaluates it, and reports print it. The types are
// plain data with a stable JSON form. They contain no rules: a policy decides whether a finding
// blocks.
package evidence

import "time"

// Input is all evidence about one image, in the form that policies evaluate and reports print.
// It holds only plain data: no types of scanners, registries or clocks.
//
// An Input without platforms is incomplete and therefore denied.
type Input struct {
	Image     Image      `json:"image"`
	Platforms []Platform `json:"platforms"`
	Database  Database   `json:"database"`
	// Baseline holds the findings of the current approved image. It is nil if that image does not
	// exist or was not read; then no finding is inherited.
	Baseline *Baseline `json:"baseline,omitempty"`
	// VEX lists the statements from the image or from files. The policy decides which of them
	// count.
	VEX []VEXStatement `json:"vex,omitempty"`
	// Attestations lists the signatures and statements about the image in the staging registry that
	// verify for a signer of a policy. Unverified is the number of signatures and statements that
	// verify for none of these signers.
	Attestations []Attestation `json:"attestations,omitempty"`
	Unverified   int           `json:"unverified,omitempty"`
}

// Image identifies the image.
type Image struct {
	// Reference is the reference as the user wrote it, before it was resolved.
	Reference string `json:"reference"`
	// Repository is the registry and repository without tag and digest, such
	// as "registry.example/team/app"; for an image outside registries, transport
	// and path, such as "oci:builds/app". Image patterns are matched against its
	// canonical form.
	Repository string `json:"repository"`
	// Digest is the digest of the index or manifest, "sha256:<hex>".
	Digest string `json:"digest"`
	// MediaType is the media type of the index or manifest.
	MediaType string `json:"mediaType"`
	// LazyIndexes lists the manifests of the index that some nodes read instead of the scanned
	// layers. They block, unless an exception covers the rule "image.lazyIndexes".
	LazyIndexes []LazyIndex `json:"lazyIndexes,omitempty"`
}

// LazyIndex is a manifest that lists the files of an image for nodes that load it lazily.
type LazyIndex struct {
	// Digest is the digest of the manifest, "sha256:<hex>".
	Digest string `json:"digest"`
	// Kind is the format: "SOCI".
	Kind string `json:"kind"`
}

// Platform is the evidence about the image of one platform. An image that is not an index has
// exactly one.
type Platform struct {
	// Platform is os/arch or os/arch/variant, such as "linux/arm64/v8".
	Platform string `json:"platform"`
	// Digest is the digest of the platform's manifest.
	Digest       string       `json:"digest"`
	Distribution Distribution `json:"distribution"`
	Packages     []Package    `json:"packages"`
	Findings     []Finding    `json:"findings"`
	// Unknowns lists the files that the cataloger could not read.
	Unknowns []Unknown `json:"unknowns"`
	// Unmatched lists the packages, package types and distributions that could not be matched with
	// advisories.
	Unmatched []Unmatched `json:"unmatched"`
	// Suppressed lists the matches that the matcher dropped by its own data corrections. Reports
	// show them; policies do not evaluate them.
	Suppressed []Suppressed `json:"suppressed"`
	// Config is the image's configuration. Every image has one, so nil means incomplete evidence: a
	// rule that needs the configuration then blocks.
	Config *ImageConfig `json:"config,omitempty"`
	// Size is the size of the configuration and the layers as they are pulled: compressed, in
	// bytes. Zero means incomplete evidence: a rule that needs the size then blocks.
	Size int64 `json:"size,omitempty"`
	// Layers lists the layers, the lowest first. It may be empty.
	Layers []Layer `json:"layers,omitempty"`
	// Base is the base image that the image states, or nil if it states none.
	Base *Base `json:"base,omitempty"`
}

// Distribution is the operating system that the image states, with the data of the vulnerability
// database about it. The zero value means that the image has no readable os-release.
type Distribution struct {
	// ID and Version are the values ID and VERSION_ID of os-release, such as "debian" and "12".
	ID      string `json:"id,omitempty"`
	Version string `json:"version,omitempty"`
	// Name is PRETTY_NAME of os-release, for display.
	Name string `json:"name,omitempty"`
	// EndOfLife is the first day when the vendor publishes no more advisories. It is zero if the
	// database does not state it.
	EndOfLife time.Time `json:"endOfLife,omitzero"`
}

// Package is one cataloged package.
type Package struct {
	Name     string     `json:"name"`
	Version  string     `json:"version"`
	Type     string     `json:"type"` // syft's package type: "deb", "npm", "go-module"
	PURL     string     `json:"purl,omitempty"`
	Licenses []string   `json:"licenses,omitempty"` // SPDX expressions if known, otherwise as declared
	Found    []Location `json:"locations,omitempty"`
}

// Location is a place in the image.
type Location struct {
	Path string `json:"path"`
	// Layer is the diffID of the layer, "sha256:<hex>".
	Layer string `json:"layer,omitempty"`
}
