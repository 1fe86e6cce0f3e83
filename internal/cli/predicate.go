package cli

import (
	"net/url"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
)

var requireFlag = &cli.StringSliceFlag{Name: "require-predicate", EnvVars: []string{"IMAGEGATE_REQUIRE_PREDICATE"},
	Usage: "also require a signed statement of this `TYPE`: a URI, or a name that cosign uses, such as spdxjson. Repeatable"}

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

// requiredPredicates returns the types given with --require-predicate, without duplicates.
func requiredPredicates(c *cli.Context) ([]string, error) {
	var out []string
	for _, kind := range c.StringSlice("require-predicate") {
		if uri, ok := predicateNames[kind]; ok {
			kind = uri
		} else if u, err := url.Parse(kind); err != nil || !u.IsAbs() {
			return nil, exit.Usagef("invalid --require-predicate %q: must be a URI, or one of cosign's names, such as spdxjson or vuln", kind)
		}
		if !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	return out, nil
}
