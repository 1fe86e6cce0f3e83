package trust

import (
	"maps"
	"slices"
)

// predicateNames are cosign's short names for predicate types:
// https://github.com/sigstore/cosign/blob/v2.6.5/cmd/cosign/cli/options/predicate.go
var predicateNames = map[string]string{
	"custom":           "https://cosign.sigstore.dev/attestation/v1",
	"cyclonedx":        "https://cyclonedx.org/bom",
	"link":             "https://in-toto.io/Link/v1",
	"openvex":          "https://openvex.dev/ns",
	"slsaprovenance":   "https://slsa.dev/provenance/v0.2",
	"slsaprovenance02": "https://slsa.dev/provenance/v0.2",
	"slsaprovenance1":  "https://slsa.dev/provenance/v1",
	"spdx":             "https://spdx.dev/Document",
	"spdxjson":         "https://spdx.dev/Document",
	"vuln":             "https://cosign.sigstore.dev/attestation/vuln/v1",
}

// PredicateType returns the predicate type that the cosign command means by a short name, such as
// "spdxjson". It returns "" for another text.
func PredicateType(name string) string { return predicateNames[name] }

// PredicateNames returns cosign's short names for predicate types, sorted.
func PredicateNames() []string { return slices.Sorted(maps.Keys(predicateNames)) }
