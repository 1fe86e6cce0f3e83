package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/clock"
)

// VEXStatus is what a VEX statement says of a vulnerability in a product, in the
// words of OpenVEX.
type VEXStatus string

// The statuses. Only the first two can take a finding away.
const (
	VEXNotAffected        VEXStatus = "not_affected"
	VEXFixed              VEXStatus = "fixed"
	VEXAffected           VEXStatus = "affected"
	VEXUnderInvestigation VEXStatus = "under_investigation"
)

// vexJustifications are those of OpenVEX and CSAF.
var vexJustifications = []string{
	"component_not_present",
	"vulnerable_code_not_present",
	"vulnerable_code_not_in_execute_path",
	"vulnerable_code_cannot_be_controlled_by_adversary",
	"inline_mitigations_already_exist",
}

// VEXRule says whose statements take findings away. The zero value accepts
// nothing.
//
// A statement counts for a finding if it has its id or an alias in common with
// it and one of its products is the package, or is the image itself and one of
// the subcomponents is the package. Purls are compared part by part as those of
// exceptions, but "*" is a star. The image is named by its digest or that of the
// platform, also as the version of a purl of type oci; an image without
// subcomponents, and a package with some, is not enough to take a finding away.
//
// Of the statements about one product the latest counts, of equally old ones the
// one that does not take the finding away; one with a status or a justification
// that the policy does not accept does not. Where several products are the
// package, all must agree. One that is dated in the future does not take away
// anything yet, and one that takes nothing away counts as the latest where it has
// no date.
type VEXRule struct {
	Position Position `json:"position,omitzero"`
	// Accept are the statuses that take a finding away: not_affected, fixed or
	// both; none where left out. Example: "accept: [not_affected]".
	Accept []VEXStatus `json:"accept,omitempty"`
	// Justifications are those with which not_affected is accepted, in the
	// words of OpenVEX; any, and none, where left out.
	// Example: "justifications: [component_not_present]".
	Justifications []string `json:"justifications,omitempty"`
	// Files lets statements count that nobody signed, from files named by
	// whoever runs the check; they do not where left out. Only true can be
	// written. Example: "files: true".
	Files bool `json:"files,omitempty"`
	// Signers are names of the policy's signers: statements count that one of
	// them has signed and attached to the image where it is staged; none where
	// left out. Example: "signers: [security team]".
	Signers []string `json:"signers,omitempty"`
}

// VEXStatement says of one vulnerability how it concerns some products.
type VEXStatement struct {
	ID      string   `json:"id"`
	Aliases []string `json:"aliases,omitempty"`
	// Products are purls of packages, or images by digest, "sha256:<hex>", or
	// by purls of type oci. Subcomponents are purls of packages in them.
	Products      []string  `json:"products,omitempty"`
	Subcomponents []string  `json:"subcomponents,omitempty"`
	Status        VEXStatus `json:"status"`
	Justification string    `json:"justification,omitempty"`
	Impact        string    `json:"impact,omitempty"`
	// Document names where the statement stands, Author who it says wrote it.
	Document string `json:"document,omitempty"`
	Author   string `json:"author,omitempty"`
	// Signer is who signed it, verified; nil if nobody did.
	Signer    *Signatory `json:"signer,omitempty"`
	Timestamp time.Time  `json:"timestamp,omitzero"`
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
			r.Accept = append(r.Accept, VEXStatus(status))
		}
	}
}

func checkAccepted(s string) error {
	switch VEXStatus(s) {
	case VEXNotAffected, VEXFixed:
		return nil
	}
	return fmt.Errorf("%q takes no finding away: want %s or %s", s, VEXNotAffected, VEXFixed)
}

func checkJustification(s string) error {
	if !slices.Contains(vexJustifications, s) {
		return fmt.Errorf("unknown justification %q: want one of %s", s, strings.Join(vexJustifications, ", "))
	}
	return nil
}

// trusts reports whether a statement counts at all.
func (r *VEXRule) trusts(s *VEXStatement, known signers) bool {
	if s.Signer == nil {
		return r.Files
	}
	return known.has(r.Signers, *s.Signer)
}

// accepts reports whether a statement takes findings away.
func (r *VEXRule) accepts(s *VEXStatement) bool {
	switch {
	case s.Status != VEXNotAffected && s.Status != VEXFixed, !slices.Contains(r.Accept, s.Status):
		return false
	case s.Status == VEXNotAffected && len(r.Justifications) > 0:
		return slices.Contains(r.Justifications, s.Justification)
	}
	return true
}

// statements finds those about a finding.
type statements struct {
	image string // its digest
	byID  map[string][]*statement
}

type statement struct {
	*VEXStatement
	accepted      bool
	since         time.Time // as far as it tells which is later
	products      []product
	subcomponents []purlPattern
}

// product is an image, or else packages.
type product struct {
	name     string // tells apart what statements are about
	image    bool
	packages purlPattern
}

// neverReplaced is later than the date of any statement.
var neverReplaced = time.Unix(1<<40, 0)

// newStatements prepares the statements that r trusts, and tells later of
// instants from which one of the others counts. It is nil if r accepts nothing.
func newStatements(r *VEXRule, known signers, in *Input, now time.Time, later func(time.Time)) *statements {
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
			s.subcomponents = append(s.subcomponents, literalPURL(p))
		}
		ids := lowerIDs(s.ID, s.Aliases)
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
		return product{name: strings.ToLower(splitPURL(s).version.text), image: true}
	case strings.HasPrefix(s, "pkg:"):
		return product{name: s, packages: literalPURL(s)}
	}
	return product{name: strings.ToLower(s), image: true}
}

// literalPURL returns a pattern in which a star is no wildcard.
func literalPURL(s string) purlPattern {
	parts := splitPURL(s)
	p := purlPattern{name: glob{parts.name}}
	if parts.version.present {
		p.version = glob{parts.version.text}
	}
	if parts.subpath.present {
		p.subpath = glob{parts.subpath.text}
	}
	for _, q := range parts.qualifiers {
		p.qualifiers = append(p.qualifiers, qualifierPattern{q.key, glob{q.value}})
	}
	return p
}

// takesAway returns the statement that takes f away, or nil; of several products
// that of the latest.
func (all *statements) takesAway(f *subject) *VEXStatement {
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

// covers reports whether s speaks of f's package in p.
func (all *statements) covers(s *statement, p *product, f *subject) bool {
	// What takes nothing away need not be exact.
	none, some := len(s.subcomponents) == 0, false
	for _, c := range s.subcomponents {
		some = some || c.match(f.purl)
	}
	if p.image {
		return (p.name == all.image || p.name == f.platform.Digest) && p.name != "" && (some || none && !s.accepted)
	}
	return p.packages.match(f.purl) && (none || !s.accepted)
}

// replaces reports whether s counts instead of b: it is later, or of the same age
// and takes less away. Of the rest any will do, so long as it is always the same.
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

func compareStatements(a, b *VEXStatement) int {
	return cmp.Or(
		strings.Compare(a.Document, b.Document),
		compareSignatories(a.Signer, b.Signer),
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
