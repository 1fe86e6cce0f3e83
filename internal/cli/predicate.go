package cli

import (
	"net/url"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/trust"
)

var requireFlag = &cli.StringSliceFlag{Name: "require-predicate", EnvVars: []string{"IMAGEGATE_REQUIRE_PREDICATE"},
	Usage: "also require a statement by a trusted signer of this `TYPE`: a predicate type URI, or a name that cosign uses, such as spdxjson. Repeatable"}

// requiredPredicates returns the predicate types given with --require-predicate, without
// duplicates.
func requiredPredicates(c *cli.Context) ([]string, error) {
	var out []string
	for _, kind := range c.StringSlice("require-predicate") {
		if uri := trust.PredicateType(kind); uri != "" {
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
