package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// OverrideRule says who may let an image through that the policy denies, and for
// how long at most. The zero value lets nobody. Evaluate knows nothing of it: an
// overridden denial is a denial still.
type OverrideRule struct {
	Position Position `json:"position,omitzero"`
	// MaxLifetime is how far ahead an override may end. Mandatory.
	// Example: "maxLifetime: 24h".
	MaxLifetime time.Duration `json:"maxLifetime,omitempty"`
	// Approvers are patterns over the identity of who approves it, of which one
	// must match. "*" stands for any run of characters. Mandatory.
	// Example: "approvers: [oncall@example.com]".
	Approvers []string `json:"approvers,omitempty"`
}

// Override is one decision of a person to let an image through.
type Override struct {
	Reason string `json:"reason"`
	// Approver is the verified identity of who approves it.
	Approver string `json:"approver"`
	// Expires is the first instant at which it no longer applies.
	Expires time.Time `json:"expires"`
}

func (d *decoder) override(r *OverrideRule) reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		d.mapping(n, quoted(key),
			mandatory("maxLifetime", d.duration(&r.MaxLifetime)),
			mandatory("approvers", d.texts(&r.Approvers, func(string) error { return nil }, "leave the section out to allow none")),
		)
	}
}

// CheckOverride returns nil if the policy allows o at now, and else why not. A
// nil policy, and one without an override section, allows none. That the
// approver is who it says, and that o is about this image, is for the caller to
// know.
func (p *Policy) CheckOverride(o Override, now time.Time) error {
	if p == nil || p.Override.MaxLifetime <= 0 || len(p.Override.Approvers) == 0 {
		return errors.New("the policy allows no override")
	}
	r := &p.Override
	switch latest := now.Add(r.MaxLifetime); {
	case strings.TrimSpace(o.Reason) == "":
		return errors.New("the override has no reason")
	case strings.TrimSpace(o.Approver) == "":
		return errors.New("the override has no approver")
	case !slices.ContainsFunc(r.Approvers, func(pattern string) bool { return newGlob(pattern).match(o.Approver) }):
		return fmt.Errorf("%q may not approve an override by the policy's section at %s", o.Approver, r.Position)
	case !now.Before(o.Expires):
		return fmt.Errorf("the override ended on %s", formatTime(o.Expires))
	case o.Expires.After(latest):
		return fmt.Errorf("the override ends on %s, which is more than %s ahead", formatTime(o.Expires), formatDuration(r.MaxLifetime))
	}
	return nil
}

// CheckOverride returns nil if every policy allows o at now. The empty Set allows
// none.
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
