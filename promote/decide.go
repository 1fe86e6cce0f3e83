package promote

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/clock"
)

// decide selects the decisions that count. It requires each of them to be a pass or overridden, and
// not too old. For each policy and tag that t selects, only the newest decision counts. So a later
// denial by a policy outweighs an earlier pass by the same policy, but not a pass by another
// policy.
func (pr *proof) decide(decisions []signedDecision, t Trust, now time.Time) error {
	if len(decisions) == 0 {
		return pr.fail("the image has no decision signed by a trusted signer%s", because(pr.reasons))
	}
	asked := slices.DeleteFunc(slices.Clone(decisions), func(d signedDecision) bool { return !d.isFor(t) })
	if len(asked) == 0 {
		reason := notAsked(decisions, t)
		if len(pr.reasons) > 0 {
			reason += "; ignored statements" + because(pr.reasons)
		}
		return &VerifyError{Ref: pr.ref.String(), OtherPolicy: len(ofOtherPolicy(decisions, t)) > 0, Reason: reason}
	}
	count := newestOfEach(asked, t)
	slices.SortFunc(count, func(a, b signedDecision) int { return a.TimeVerified.Compare(b.TimeVerified) })
	for _, d := range count {
		if err := pr.accept(d, t, now); err != nil {
			return err
		}
	}
	return nil
}

// accept requires a decision to be a pass or overridden, and makes it the decision of the proof. A
// pass never replaces an overridden decision, because the override is more important for the user.
func (pr *proof) accept(d signedDecision, t Trust, now time.Time) error {
	if err := d.check(now); err != nil {
		return pr.fail("%v", err)
	}
	if d.copied {
		return &VerifyError{Ref: pr.ref.String(), Overtaken: true,
			Reason: fmt.Sprintf("the newest decision %s (%s) is missing from the attachment list, because another writer has overwritten the list: promote the image again",
				d.describe(), d.Result)}
	}
	if d.Result != resultPassed {
		if err := pr.acceptOverride(d, t, now); err != nil {
			return err
		}
	} else if pr.override == nil {
		pr.decision = d
	}
	if err := d.isCurrent(t, now); err != nil {
		return pr.fail("%v", err)
	}
	return nil
}

// isFor reports whether a decision is by the policy and for the tag that t requires. Empty fields
// of t match every decision.
func (d decisionPredicate) isFor(t Trust) bool {
	return (t.Policy == "" || maps.Equal(d.Policy.Digest, digestSet(t.Policy))) &&
		(t.PolicyName == "" || d.Policy.URI == t.PolicyName) &&
		(t.Tag == "" || slices.Contains(d.Basis.Tags, t.Tag))
}

// ofOtherPolicy returns the decisions that match t except for the content of the policy.
func ofOtherPolicy(decisions []signedDecision, t Trust) []signedDecision {
	t.Policy = ""
	return slices.DeleteFunc(slices.Clone(decisions), func(d signedDecision) bool { return !d.isFor(t) })
}

// notAsked returns the message for an image that has decisions, but none that matches t. If only the
// content of the policy differs, the message says so. The message lists the decisions.
func notAsked(decisions []signedDecision, t Trust) string {
	policy := cmp.Or(t.PolicyFile, "the given policy") + fmt.Sprintf(" (%.19s)", t.Policy)
	if other := ofOtherPolicy(decisions, t); len(other) > 0 {
		return fmt.Sprintf("the content of %s differs from the policy that decided about the image; its decisions are %s", policy, listDecisions(other))
	}
	var want []string
	if t.PolicyName != "" {
		want = append(want, fmt.Sprintf("by a policy named %q", t.PolicyName))
	}
	if t.Policy != "" {
		want = append(want, "by "+policy)
	}
	if t.Tag != "" {
		want = append(want, fmt.Sprintf("for the tag %q", t.Tag))
	}
	return fmt.Sprintf("the image has no decision %s signed by a trusted signer; its decisions are %s", strings.Join(want, " and "), listDecisions(decisions))
}

// listDecisions names the policies and tags of decisions for a message.
func listDecisions(decisions []signedDecision) string {
	var have []string
	for _, d := range decisions {
		have = append(have, d.describe())
	}
	slices.Sort(have)
	have = slices.Compact(have)
	if rest := len(have) - maxDescribed; rest > 0 {
		have = append(have[:maxDescribed], fmt.Sprintf("%d more", rest))
	}
	return strings.Join(have, "; ")
}

// maxDescribed is the maximum number of decisions that a message lists.
const maxDescribed = 5

// describe returns the policy and the tags of a decision for messages.
func (d decisionPredicate) describe() string {
	tags := "no tag"
	if len(d.Basis.Tags) > 0 {
		tags = "the tag " + strings.Join(d.Basis.Tags, ", ")
	}
	return fmt.Sprintf("by %s (sha256:%.12s) for %s", d.Policy.URI, d.Policy.Digest["sha256"], tags)
}

// newestOfEach returns the newest decision for each policy and tag. If several are equally new, it
// returns all of them. Policies are compared by name, so that an edited policy replaces its earlier
// versions. If t selects a policy by digest, names are ignored.
func newestOfEach(decisions []signedDecision, t Trust) []signedDecision {
	type unit struct{ policy, tag string }
	newest := map[unit]time.Time{}
	units := func(d signedDecision) []unit {
		name := d.Policy.URI
		if t.Policy != "" {
			name = ""
		}
		var out []unit
		for _, tag := range d.Basis.Tags {
			if t.Tag == "" || tag == t.Tag {
				out = append(out, unit{name, tag})
			}
		}
		if len(out) == 0 {
			out = append(out, unit{policy: name})
		}
		return out
	}
	for _, d := range decisions {
		for _, u := range units(d) {
			if d.TimeVerified.After(newest[u]) {
				newest[u] = d.TimeVerified
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(decisions), func(d signedDecision) bool {
		return !slices.ContainsFunc(units(d), func(u unit) bool { return d.TimeVerified.Equal(newest[u]) })
	})
}

// acceptOverride requires that a denial has a valid override and that t accepts overrides.
func (pr *proof) acceptOverride(d signedDecision, t Trust, now time.Time) error {
	statement, override, err := pr.overridden(d, now)
	switch {
	case err == nil && t.AllowOverride:
		pr.decision, pr.overrideStatement, pr.override = d, statement, override
		return nil
	case err == nil:
		return &VerifyError{Ref: pr.ref.String(), Overridden: true,
			Reason: fmt.Sprintf("the decision %s is %s, not %s: an override lets it through until %s, but this verification does not accept overrides",
				d.describe(), d.Result, resultPassed, override.Expires.Format(time.RFC3339))}
	case t.AllowOverride:
		return pr.fail("%v", err)
	}
	return pr.fail("the decision %s is %s, not %s", d.describe(), d.Result, resultPassed)
}

// check returns an error for a decision with an unknown result or with a time in the future.
func (d decisionPredicate) check(now time.Time) error {
	switch {
	case d.Result != resultPassed && d.Result != resultFailed:
		return fmt.Errorf("unknown result %q of the decision: expected %s or %s", d.Result, resultPassed, resultFailed)
	case clock.IsAhead(d.TimeVerified, now):
		return fmt.Errorf("the decision has a time in the future, %s, and the clock of this machine shows %s: check both clocks",
			d.TimeVerified.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// isCurrent returns an error if the decision is too old. The limit is t.MaxAge or, if MaxAge is 0,
// the expiry that the policy set. With t.bothLimits, both limits apply.
func (d decisionPredicate) isCurrent(t Trust, now time.Time) error {
	made := fmt.Sprintf("the decision %s was made at %s", d.describe(), d.TimeVerified.Format(time.RFC3339))
	switch {
	case t.MaxAge > 0 && now.Sub(d.TimeVerified) > t.MaxAge:
		return fmt.Errorf("%s and is older than %s", made, t.MaxAge)
	case (t.MaxAge == 0 || t.bothLimits) && !d.Basis.Expires.IsZero() && !now.Before(d.Basis.Expires):
		return fmt.Errorf("%s and expired at %s: the policy of that decision limits its age", made, d.Basis.Expires.Format(time.RFC3339))
	}
	return nil
}
