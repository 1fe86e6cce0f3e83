package promote

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// step is one promotion of an image, by one policy and for one tag. All steps promote the same
// image.
type step struct {
	policy   string // "strict" denies the image, "loose" passes it
	tag      string
	override bool
}

// approval checks the image against one of the two policies, and overrides a denial.
func (w *world) approval(s step, what remote.Taggable) *gate.Approval {
	w.Helper()
	text := "version: 1\nname: " + s.policy + "\n"
	if s.policy == "strict" {
		text += "rules: [{name: nothing medium, severity: medium}]\noverride: {maxLifetime: 24h, approvers: [oncall@example.com]}\n"
	} else {
		text += "rules: [{name: all, effect: warn}]\n"
	}
	p, err := policy.Parse(s.policy+".yaml", []byte(text))
	if err != nil {
		w.Fatal(err)
	}
	w.policy = p
	r := w.check(what, gate.ExternalEvidence{})
	if !s.override {
		if r.Approval == nil {
			w.Fatal("denied")
		}
		return r.Approval
	}
	a, err := r.Override(asked())
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// TestPromotionChangesNothingForAnotherPolicyOrTag checks that a promotion does not change the
// result for another policy or tag. It promotes one digest by two policies for two tags, in every
// order.
func TestPromotionChangesNothingForAnotherPolicyOrTag(t *testing.T) {
	steps := []step{{"strict", "prod", true}, {"loose", "dev", false}, {"loose", "prod", false}}
	for _, form := range []trust.Format{trust.Legacy, trust.Bundle} {
		for _, order := range permutations(len(steps)) {
			t.Run(fmt.Sprint(form, " ", order), func(t *testing.T) {
				w := newWorld(t)
				img := w.having("linux/amd64", oldSSL)
				for _, i := range order {
					s := steps[i]
					a := w.approval(s, img)
					if _, err := w.promoter(func(o *Options) { o.Format = form }).Promote(t.Context(), a, w.tag("app:"+s.tag)); err != nil {
						t.Fatal(err)
					}
				}
				digest, err := img.Digest()
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range []struct {
					ref    name.Reference
					change func(*Trust)
					want   string // the expected error; empty means accepted
				}{
					{w.tag("app:prod"), func(*Trust) {}, "by strict"},
					{w.tag("app:dev"), func(*Trust) {}, ""},
					{w.tag("app:prod"), func(t *Trust) { t.PolicyName = "loose" }, ""},
					{w.tag("app:prod"), func(t *Trust) { t.PolicyName = "strict" }, "is FAILED"},
					{w.tag("app:prod"), func(t *Trust) { t.PolicyName, t.AllowOverride = "strict", true }, ""},
					{w.tag("app:dev"), func(t *Trust) { t.PolicyName = "strict" }, `by a policy named "strict" and for the tag "dev"`},
					{w.tag("app:dev"), func(t *Trust) { t.PolicyName, t.AnyTag = "strict", true }, "is FAILED"},
					{w.tag("app:dev"), func(t *Trust) { t.AnyTag = true }, "is FAILED"},
					{w.tag("app:prod").Context().Digest(digest.String()), func(*Trust) {}, "is FAILED"},
					{w.tag("app:prod").Context().Digest(digest.String()), func(t *Trust) { t.PolicyName = "loose" }, ""},
					{w.tag("app:prod"), func(t *Trust) { t.Policy = "sha256:" + strings.Repeat("0", 64) }, "the content of the given policy (sha256:000000000000) differs from the policy that decided about the image; its decisions are by "},
				} {
					tr := w.trusting(w.signer.PublicKey())
					c.change(&tr)
					if _, err := w.verify(c.ref, tr); c.want != "" {
						w.refused(fmt.Sprintf("%s, %+v", c.ref, tr.PolicyName), err, c.want)
					} else if err != nil {
						t.Errorf("%s, %q: %v", c.ref, tr.PolicyName, err)
					}
				}
			})
		}
	}
}

func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{{}}
	}
	var out [][]int
	for _, p := range permutations(n - 1) {
		for i := 0; i <= len(p); i++ {
			q := append(append(append([]int{}, p[:i]...), n-1), p[i:]...)
			out = append(out, q)
		}
	}
	return out
}

// TestEditedPolicyReplacesItsEarlierVersion checks that a decision by an edited policy replaces the
// decision by its earlier version. Both versions have the same name and tag.
func TestEditedPolicyReplacesItsEarlierVersion(t *testing.T) {
	w := newWorld(t)
	img, tag := w.having("linux/amd64", oldSSL), w.tag("app:1")
	w.overridden(img, tag) // the current policy.yaml denies the image
	denied := w.policy.Digest
	w.put(img, tag) // the current policy.yaml passes the image
	if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
		t.Error(err)
	}
	tr := w.trustingOwnKey()
	tr.Policy = denied
	if record, err := w.verify(tag, tr); err != nil || record.Override == nil {
		t.Errorf("the earlier version is asked for: %v", err)
	}
}

// TestRetaggedImageIsNotAcceptedForTheTag checks that an image is refused under a tag that it was
// not promoted for. In the test, a user without a signing key moves the tag.
func TestRetaggedImageIsNotAcceptedForTheTag(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.image("x"))
	if _, err := w.promoter().Promote(t.Context(), a, w.tag("app:old")); err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Get(w.tag("app:old"))
	if err != nil {
		t.Fatal(err)
	}
	stable := w.tag("app:stable")
	if err := remote.Tag(stable, desc); err != nil {
		t.Fatal(err)
	}
	_, err = w.verify(stable, w.trusting(w.signer.PublicKey()))
	w.refused("retagged", err, `for the tag "stable" signed by a trusted signer; its decisions are by policy.yaml`)
	tr := w.trusting(w.signer.PublicKey())
	tr.AnyTag = true
	if _, err := w.verify(stable, tr); err != nil {
		t.Errorf("any tag: %v", err)
	}
	if b, missing := w.baseline(stable); b != nil || !strings.Contains(missing, `for the tag "stable"`) {
		t.Errorf("a retagged image is a baseline: %q", missing)
	}
}

// TestOldDecisionIsNotABaseline checks that an old decision is not a baseline, even if a tag points
// to its image again.
func TestOldDecisionIsNotABaseline(t *testing.T) {
	w := newWorld(t)
	tag := w.tag("app:1")
	w.put(w.image("x"), tag)
	b, missing, err := w.promoter(func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(policy.DefaultBaselineMaxAge + time.Hour) }
	}).Baseline(t.Context(), policy.DefaultBaselineMaxAge, nil, tag)
	if err != nil || b != nil || !strings.Contains(missing, "older than") {
		t.Errorf("%v, %q, %v", b, missing, err)
	}
}

// TestDecisionExpiresAsItsPolicyStates checks that the age limit of the policy applies, unless the
// caller sets another limit.
func TestDecisionExpiresAsItsPolicyStates(t *testing.T) {
	w := newWorld(t)
	w.parse(policyText + "decision: {maxAge: 7d}\n")
	tag := w.tag("app:1")
	if _, err := w.promoter().Promote(t.Context(), w.approve(w.image("x")), tag); err != nil {
		t.Fatal(err)
	}
	at := func(age time.Duration, max time.Duration) error {
		v, err := NewVerifier(VerifierOptions{Now: func() time.Time { return time.Now().Add(age) }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Verify(t.Context(), tag, Trust{Trust: w.signer.Trust(), MaxAge: max})
		return err
	}
	const day = 24 * time.Hour
	if err := at(6*day, 0); err != nil {
		t.Errorf("after six days: %v", err)
	}
	w.refused("after eight days", at(8*day, 0), "and expired at")
	if err := at(8*day, 10*day); err != nil {
		t.Errorf("after eight days, ten are asked for: %v", err)
	}
	w.refused("after two days, one is asked for", at(2*day, day), "older than 24h")
}

// TestWrittenTagsAreNamedWhenTheNextIsRefused checks that a PartialError names the written tags,
// and that promoting again writes the other tags.
func TestWrittenTagsAreNamedWhenTheNextIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.approve(w.image("x"))
	first, second := w.tag("app:1"), w.tag("app:2")
	w.approved.SetHook(refuseTag("2"))
	records, err := w.promoter().Promote(t.Context(), a, first, second)
	var partial *PartialError
	if !errors.As(err, &partial) || len(partial.Written) != 1 || partial.Written[0] != first || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	w.absent(second)
	w.approved.SetHook(nil)
	if _, err := w.promoter().Promote(t.Context(), a, first, second); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []name.Tag{first, second} {
		if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
			t.Error(err)
		}
	}
}
