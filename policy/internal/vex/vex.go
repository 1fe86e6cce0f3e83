// Package vex finds the VEX statements that remove a finding.
package vex

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/indexed"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/order"
)

// Rule is the part of a policy that selects statements. The zero value accepts none.
type Rule struct {
	// Accept lists the statuses that remove a finding.
	Accept []evidence.VEXStatus
	// Justifications lists the only accepted justifications for not_affected. Empty accepts any.
	Justifications []string
	// Trusts reports whether the policy trusts the source of a statement. All other statements are
	// ignored.
	Trusts func(*evidence.VEXStatement) bool
}

// accepts reports whether the policy accepts the statement's status and justification.
func (r *Rule) accepts(s *evidence.VEXStatement) bool {
	switch {
	case s.Status != evidence.VEXNotAffected && s.Status != evidence.VEXFixed, !slices.Contains(r.Accept, s.Status):
		return false
	case s.Status == evidence.VEXNotAffected && len(r.Justifications) > 0:
		return slices.Contains(r.Justifications, s.Justification)
	}
	return true
}

// Statements finds the statements about a finding. A nil *Statements has none.
type Statements struct {
	image string // the digest of the image
	byID  map[string][]*statement
}

type statement struct {
	*evidence.VEXStatement
	accepted      bool
	since         time.Time // the date for choosing the latest statement
	products      []product
	subcomponents []match.PURLPattern
}

// product is an image, or a pattern for packages, that a statement names.
type product struct {
	name     string // the key for grouping statements by product
	image    bool
	packages match.PURLPattern
}

// neverReplaced is later than the date of any statement.
var neverReplaced = time.Unix(1<<40, 0)

// New indexes the statements that r trusts. A statement dated in the future does not count yet: New
// calls later with the instant when it will. New returns nil if r accepts no status.
func New(r Rule, in *evidence.Input, now time.Time, later func(time.Time)) *Statements {
	if len(r.Accept) == 0 {
		return nil
	}
	all := &Statements{image: in.Image.Digest, byID: make(map[string][]*statement)}
	for i := range in.VEX {
		s := &statement{VEXStatement: &in.VEX[i], since: in.VEX[i].Timestamp}
		if !r.Trusts(s.VEXStatement) {
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

// Removing returns the statement that removes f, or nil. If statements about several products
// remove f, it returns the latest of them.
func (all *Statements) Removing(f *indexed.Finding) *evidence.VEXStatement {
	if all == nil {
		return nil
	}
	latest := map[string]*statement{} // the latest statement of each product
	for _, id := range f.LowerIDs {
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

// covers reports whether the statement s is about the package of the finding f, because of its
// product p.
func (all *Statements) covers(s *statement, p *product, f *indexed.Finding) bool {
	// A statement that removes the finding must name exactly the package, or the image with the
	// package. A statement that keeps the finding counts without this precision.
	none, some := len(s.subcomponents) == 0, false
	for _, c := range s.subcomponents {
		some = some || c.Match(f.PURL)
	}
	if p.image {
		return (p.name == all.image || p.name == f.Platform.Digest) && p.name != "" && (some || none && !s.accepted)
	}
	return p.packages.Match(f.PURL) && (none || !s.accepted)
}

// replaces reports whether s counts instead of b: s is later, or equally old and less permissive.
// If they are also equally permissive, a fixed order decides, so that the result does not depend on
// the order of the input.
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
		order.CompareSigners(a.Signer, b.Signer),
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
