package policy

import (
	"fmt"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// origin denies the image if the policy does not allow the origin of the database. An unknown
// origin matches no pattern.
func (e *evaluation) origin() {
	db := &e.in.Database
	rule := e.policy.Database
	if rule.Origins == nil || db.Source != "" && match.Any(rule.Origins, db.Source) {
		return
	}
	message := fmt.Sprintf("the vulnerability database comes from %q, which the policy does not trust", db.Source)
	if db.Source == "" {
		message = "the origin of the vulnerability database is unknown"
	}
	e.blockDatabase("database.origins", "%s", message)
}

// distribution reports a violation if the policy does not allow the distribution of a platform.
func (e *evaluation) distribution(p *evidence.Platform) {
	rule := e.policy.Distribution
	name := wording.Joined(p.Distribution.ID, p.Distribution.Version)
	if rule.Allow == nil || p.Distribution.ID != "" && match.Any(rule.Allow, name) {
		return
	}
	message := fmt.Sprintf("the distribution is %q, which the policy does not allow", name)
	if p.Distribution.ID == "" {
		message = "the image has no distribution, and the policy allows only some distributions"
	}
	e.reportRule(rule.NotAllowed, Violation{
		Kind: KindDistribution, Rule: "distribution.allow", Position: rule.Position, Platform: p.Platform, Message: message,
	}, nil)
}

// checkDistribution returns an error for a pattern that cannot match "id version".
func checkDistribution(s string) error {
	if strings.Join(strings.Fields(s), " ") != s || strings.Count(s, " ") > 1 || s != strings.ToLower(s) {
		return fmt.Errorf(`%q is not an id and version of os-release, such as "debian 12" or "alpine 3.*"`, s)
	}
	return nil
}
