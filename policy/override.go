package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// OverrideRule sets who may let a denied image through, and for how long. Without this section,
// overrides are not allowed. An overridden denial is still a denial: in the Go API, Evaluate
// ignores this section.
type OverrideRule struct {
	Position Position `json:"position,omitzero"`
	// MaxLifetime limits how far in the future an override may expire. Mandatory. Example:
	// "maxLifetime: 24h".
	MaxLifetime time.Duration `json:"maxLifetime,omitempty"`
	// Approvers lists patterns for the name of the approver; "*" matches any characters. At least
	// one pattern must match. The user who runs imagegate enters the name, and imagegate does not
	// verify it. Mandatory. Example: "approvers: [oncall@example.com]".
	Approvers []string `json:"approvers,omitempty"`
}

// Override is a person's decision to let a denied image through.
type Override struct {
	Reason string `json:"reason"`
	// Approver is the name of the approver, as stated by the user who runs imagegate.
	Approver string `json:"approver"`
	// Expires is the first instant when the override no longer applies.
	Expires time.Time `json:"expires"`
}

// GrantedOverride is an override that was used, with the violations that it overrode.
type GrantedOverride struct {
	Override
	// Granted is the time of use.
	Granted    time.Time    `json:"granted"`
	Violations []Overridden `json:"violations"`
}

// Overridden identifies a violation. It has few fields, because the signed statement with it is
// kept for years.
type Overridden struct {
	Kind     Kind   `json:"kind"`
	Rule     string `json:"rule"`
	Platform string `json:"platform,omitempty"` // empty for the whole image
	// ID is the id of the finding. A violation without a finding has its Message instead, which may
	// quote text from the image.
	ID      string `json:"id,omitempty"`
	Message string `json:"message,omitempty"`
	// Package is the purl of the package, or name@version if it has no purl. It is empty if the
	// violation is not about a package.
	Package string `json:"package,omitempty"`
}

// Grant returns the record that override o was used on the denial d at the time now.
func (d Decision) Grant(o Override, now time.Time) GrantedOverride {
	g := GrantedOverride{Override: o, Granted: now.UTC(), Violations: []Overridden{}}
	g.Expires = g.Expires.UTC()
	for _, v := range d.Violations {
		one := Overridden{Kind: v.Kind, Rule: v.Rule, Platform: v.Platform, Message: v.Message}
		about := v.Package
		if v.Finding != nil {
			one.ID, one.Message, about = v.Finding.ID, "", &v.Finding.Package
		}
		if about != nil {
			one.Package = cmp.Or(about.PURL, about.Name+"@"+about.Version)
		}
		g.Violations = append(g.Violations, one)
	}
	return g
}

func (d *decoder) override(r *OverrideRule) strict.Reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		d.Mapping(n, strict.Quoted(key),
			strict.Mandatory("maxLifetime", d.Duration(&r.MaxLifetime)),
			strict.Mandatory("approvers", d.Texts(&r.Approvers, func(string) error { return nil }, "omit the section to allow none")),
		)
	}
}

// CheckOverride returns nil if the policy allows o at now, and the reason otherwise. A nil policy,
// or one without an override section, allows none. CheckOverride does not verify the approver's
// identity.
func (p *Policy) CheckOverride(o Override, now time.Time) error {
	if p == nil || p.Override.MaxLifetime <= 0 || len(p.Override.Approvers) == 0 {
		return errors.New("the policy does not allow overrides")
	}
	r := &p.Override
	switch latest := now.Add(r.MaxLifetime); {
	case strings.TrimSpace(o.Reason) == "":
		return errors.New("the override has no reason")
	case strings.TrimSpace(o.Approver) == "":
		return errors.New("the override has no approver")
	case !slices.ContainsFunc(r.Approvers, func(pattern string) bool { return match.NewGlob(pattern).Match(o.Approver) }):
		return fmt.Errorf("%q may not approve an override: no pattern in the policy's section at %s matches", o.Approver, r.Position)
	case !now.Before(o.Expires):
		return fmt.Errorf("the override expired on %s", wording.Time(o.Expires))
	case o.Expires.After(latest):
		return fmt.Errorf("the override expires on %s, more than %s ahead of now", wording.Time(o.Expires), wording.Duration(r.MaxLifetime))
	}
	return nil
}

// CheckOverride returns nil if every policy allows o at now. The empty Set allows none.
func (s Set) CheckOverride(o Override, now time.Time) error {
	if len(s) == 0 {
		s = Set{nil}
	}
	for _, p := range s {
		if err := p.CheckOverride(o, now); err != nil {
			return err
		}
	}
	return nil
}
