package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// vexJustifications are the justifications of OpenVEX and CSAF.
var vexJustifications = []string{
	"component_not_present",
	"vulnerable_code_not_present",
	"vulnerable_code_not_in_execute_path",
	"vulnerable_code_cannot_be_controlled_by_adversary",
	"inline_mitigations_already_exist",
}

// VEXRule sets which VEX statements remove findings. Without this section, no statement does.
//
// A statement counts for a finding if both have an id or alias in common, and if a product of the
// statement is the package. It also counts if a product is the image itself and one of the
// subcomponents is the package. Purls are compared part by part, as in an exception, but "*" is a
// plain character. A statement names the image by its digest or the digest of the platform, which
// can also be the version of a purl of type oci. Two kinds of statements cannot remove a finding:
// statements about an image without subcomponents, and statements about a package with
// subcomponents.
//
// The latest statement about a product counts. If two are equally old, the one that does not remove
// the finding counts. A statement with a status or justification that the policy does not accept
// does not remove a finding. If several products are the package, all of them must agree. A
// statement dated in the future does not remove anything until that date. A statement that does not
// remove findings and has no date counts as the latest.
type VEXRule struct {
	Position Position `json:"position,omitzero"`
	// Accept lists the statuses that remove a finding: not_affected, fixed or both. Default: none.
	// Example: "accept: [not_affected]".
	Accept []evidence.VEXStatus `json:"accept,omitempty"`
	// Justifications lists the only justifications that are accepted for not_affected, in the words
	// of OpenVEX. Default: any, and also no justification. Example: "justifications:
	// [component_not_present]".
	Justifications []string `json:"justifications,omitempty"`
	// Files accepts unsigned statements from the files that the user names with --vex. The only
	// value is true. Default: these statements do not count. Example: "files: true".
	Files bool `json:"files,omitempty"`
	// Signers lists names of the policy's signers. Statements that one of them signed and attached
	// to the image in the staging registry count. Default: none. Example: "signers: [security
	// team]".
	Signers []string `json:"signers,omitempty"`
}

func (d *decoder) vex(r *VEXRule) reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		var accept []string
		d.mapping(n, quoted(key),
			optional("accept", d.texts(&accept, checkAccepted, "leave the section out to accept nothing")),
			optional("justifications", d.texts(&r.Justifications, checkJustification, "leave it out to accept any")),
			optional("files", d.yes(&r.Files)),
			optional("signers", d.texts(&r.Signers, func(string) error { return nil }, "leave it out to accept none")),
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
	return fmt.Errorf("%q takes no finding away: want %s or %s", s, evidence.VEXNotAffected, evidence.VEXFixed)
}

func checkJustification(s string) error {
	if !slices.Contains(vexJustifications, s) {
		return fmt.Errorf("unknown justification %q: want one of %s", s, strings.Join(vexJustifications, ", "))
	}
	return nil
}

// trusts reports whether a statement counts at all.
func (r *VEXRule) trusts(s *evidence.VEXStatement, known signers) bool {
	if s.Signer == nil {
		return r.Files
	}
	return known.has(r.Signers, *s.Signer)
}

// accepts reports whether a statement can remove findings.
func (r *VEXRule) accepts(s *evidence.VEXStatement) bool {
	switch {
	case s.Status != evidence.VEXNotAffected && s.Status != evidence.VEXFixed, !slices.Contains(r.Accept, s.Status):
		return false
	case s.Status == evidence.VEXNotAffected && len(r.Justifications) > 0:
		return slices.Contains(r.Justifications, s.Justification)
	}
	return true
}

// statements finds the statements about a finding.
type statements struct {
	image string // the image's digest
	byID  map[string][]*statement
}

type statement struct {
	*evidence.VEXStatement
	accepted      bool
	since         time.Time // compared to find the latest statement
	products      []product
	subcomponents []match.PURLPattern
}

// product is an image, or a pattern for packages.
type product struct {
	name     string // the key that groups statements by product
	image    bool
	packages match.PURLPattern
}

// neverReplaced is later than the date of any statement.
var neverReplaced = time.Unix(1<<40, 0)

// newStatements prepares the statements that r trusts. It calls later with the instants when other
// statements begin to count. It returns nil if r accepts none.
func newStatements(r *VEXRule, known signers, in *evidence.Input, now time.Time, later func(time.Time)) *statements {
	if len(r.Accept) == 0 {
		return nil
	}
	all := &statements{image: in.Image.Digest, byID: make(map[string][]*statement)}
	for i := range in.VEX {
		s := &statement{VEXStatement: &in.VEX[i], since: in.VEX[i].Timestamp}
		if !r.trusts(s.VEXStatement, known) {
			continue
		}
		s.accepted = r.accepts(s.VEXStatement)
		if counts := s.Timestamp.Add(-clock.Skew); s.accepted && counts.After(now) {
			later(counts)
			continue
		}
		if !s.accepted && s.Timestamp.IsZero() {
			s.since = neverReplaced
		}
		for _, p := range s.Products {
			s.products = append(s.products, newProduct(p))
		}
		for _, p := range s.Subcomponents {
			s.subcomponents = append(s.subcomponents, match.LiteralPURL(p))
		}
		ids := s.IDs()
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			if id != "" {
				all.byID[id] = append(all.byID[id], s)
			}
		}
	}
	return all
}

func newProduct(s string) product {
	const oci = "pkg:oci/"
	switch {
	case len(s) >= len(oci) && strings.EqualFold(s[:len(oci)], oci):
		return product{name: strings.ToLower(match.SplitPURL(s).Version.Text), image: true}
	case strings.HasPrefix(s, "pkg:"):
		return product{name: s, packages: match.LiteralPURL(s)}
	}
	return product{name: strings.ToLower(s), image: true}
}

// removing returns the statement that removes f, or nil. If several products are affected, it
// returns the latest statement.
func (all *statements) removing(f *indexedFinding) *evidence.VEXStatement {
	if all == nil {
		return nil
	}
	latest := map[string]*statement{} // by product
	for _, id := range f.ids {
		for _, s := range all.byID[id] {
			for i := range s.products {
				p := &s.products[i]
				if all.covers(s, p, f) && s.replaces(latest[p.name]) {
					latest[p.name] = s
				}
			}
		}
	}
	var deciding *statement
	for _, s := range latest {
		if !s.accepted {
			return nil
		}
		if s.replaces(deciding) {
			deciding = s
		}
	}
	if deciding == nil {
		return nil
	}
	return deciding.VEXStatement
}

// covers reports whether s is about f's package in p.
func (all *statements) covers(s *statement, p *product, f *indexedFinding) bool {
	// A statement that does not remove the finding need not be exact.
	none, some := len(s.subcomponents) == 0, false
	for _, c := range s.subcomponents {
		some = some || c.Match(f.purl)
	}
	if p.image {
		return (p.name == all.image || p.name == f.platform.Digest) && p.name != "" && (some || none && !s.accepted)
	}
	return p.packages.Match(f.purl) && (none || !s.accepted)
}

// replaces reports whether s counts instead of b: it is later, or equally old and less permissive.
// Otherwise a fixed order decides, so that the result does not depend on the input's order.
func (s *statement) replaces(b *statement) bool {
	if b == nil {
		return true
	}
	if c := s.since.Compare(b.since); c != 0 {
		return c > 0
	}
	if s.accepted != b.accepted {
		return b.accepted
	}
	return compareStatements(s.VEXStatement, b.VEXStatement) < 0
}

func compareStatements(a, b *evidence.VEXStatement) int {
	return cmp.Or(
		strings.Compare(a.Document, b.Document),
		compareSigners(a.Signer, b.Signer),
		strings.Compare(a.ID, b.ID),
		strings.Compare(string(a.Status), string(b.Status)),
		strings.Compare(a.Justification, b.Justification),
		strings.Compare(a.Author, b.Author),
		strings.Compare(a.Impact, b.Impact),
		a.Timestamp.Compare(b.Timestamp),
		slices.Compare(a.Aliases, b.Aliases),
		slices.Compare(a.Products, b.Products),
		slices.Compare(a.Subcomponents, b.Subcomponents),
	)
}
