package policy

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/signed"
	"github.com/imagegate/imagegate/policy/internal/vex"
)

// vexJustifications lists the justifications that OpenVEX and CSAF define.
var vexJustifications = []string{
	"component_not_present",
	"vulnerable_code_not_present",
	"vulnerable_code_not_in_execute_path",
	"vulnerable_code_cannot_be_controlled_by_adversary",
	"inline_mitigations_already_exist",
}

// VEXRule sets which VEX statements remove findings. Without this section, no VEX statement removes
// a finding.
//
// A statement counts for a finding if both have an id or alias in common, and if one of these is
// true:
//
//   - A product of the statement is the package of the finding, and the statement has no
//     subcomponents.
//   - A product of the statement is the image, and a subcomponent is the package of the finding. A
//     statement names the image by the digest of the image or of a platform, alone or as the
//     version of a purl of type oci.
//
// Purls are compared like a purl pattern of an exception, but "*" is a plain character.
//
// If several statements count for a finding:
//
//   - The latest statement about a product decides. If two statements are equally old, the one that
//     does not remove the finding decides.
//   - If several products match the package, the deciding statement about each product must remove
//     the finding.
//   - A statement with a status or justification that the policy does not accept does not remove
//     the finding. Such a statement counts even if it names the image without subcomponents, or the
//     package with subcomponents. If it has no date, it counts as the latest.
//   - A statement that is dated in the future removes nothing before that date.
type VEXRule struct {
	Position Position `json:"position,omitzero"`
	// Accept lists the statuses that remove a finding: not_affected, fixed or both. Default: none.
	// Example: "accept: [not_affected]".
	Accept []evidence.VEXStatus `json:"accept,omitempty"`
	// Justifications lists the only justifications that are accepted for not_affected, as OpenVEX
	// names them. Default: any justification, or none. Example: "justifications:
	// [component_not_present]".
	Justifications []string `json:"justifications,omitempty"`
	// Files accepts unsigned statements in the files that the user passes with --vex. The only
	// value is true. Default: these statements do not count. Example: "files: true".
	Files bool `json:"files,omitempty"`
	// Signers lists names of entries in the section signers. Statements count if one of these
	// signers signed them and they are attached to the image in the staging registry. Default:
	// none. Example: "signers: [security team]".
	Signers []string `json:"signers,omitempty"`
}

func (d *decoder) vex(r *VEXRule) strict.Reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		var accept []string
		d.Mapping(n, strict.Quoted(key),
			strict.Optional("accept", d.Texts(&accept, checkAccepted, "omit the section to accept nothing")),
			strict.Optional("justifications", d.Texts(&r.Justifications, checkJustification, "omit the key to accept any")),
			strict.Optional("files", d.Yes(&r.Files)),
			strict.Optional("signers", d.Texts(&r.Signers, func(string) error { return nil }, "omit the key to accept none")),
		)
		for _, status := range accept {
			r.Accept = append(r.Accept, evidence.VEXStatus(status))
		}
	}
}

func checkAccepted(s string) error {
	switch evidence.VEXStatus(s) {
	case evidence.VEXNotAffected, evidence.VEXFixed:
		return nil
	}
	return fmt.Errorf("%q does not remove findings: expected %s or %s", s, evidence.VEXNotAffected, evidence.VEXFixed)
}

func checkJustification(s string) error {
	if !slices.Contains(vexJustifications, s) {
		return fmt.Errorf("unknown justification %q: expected one of %s", s, strings.Join(vexJustifications, ", "))
	}
	return nil
}

// statements indexes the VEX statements that the rule trusts, so that they can be looked up by
// finding.
func (r *VEXRule) statements(e *evaluation) *vex.Statements {
	trusts := func(s *evidence.VEXStatement) bool { return r.trusts(s, e.signers) }
	return vex.New(vex.Rule{Accept: r.Accept, Justifications: r.Justifications, Trusts: trusts}, e.in, e.now, e.changes)
}

// trusts reports whether the rule trusts the source of a statement: one of its signers or, for an
// unsigned statement, the files from the user.
func (r *VEXRule) trusts(s *evidence.VEXStatement, known signed.Signers) bool {
	if s.Signer == nil {
		return r.Files
	}
	return known.Has(r.Signers, *s.Signer)
}
