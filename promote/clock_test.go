package promote

import (
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy"
)

// TestDecisionAndOverrideFromTheFutureAreRefusedAtOneLimit checks that the times in decisions and
// overrides may be ahead of this machine's clock by at most clock.Skew, the limit that also applies
// to databases. Beyond the limit, the error names both times.
func TestDecisionAndOverrideFromTheFutureAreRefusedAtOneLimit(t *testing.T) {
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	for _, ahead := range []time.Duration{0, time.Minute, 6 * time.Minute, clock.Skew, clock.Skew + 1, time.Hour} {
		made := now.Add(ahead)
		d := signedDecision{decisionPredicate: decisionPredicate{Result: resultPassed, TimeVerified: made}}
		d.Digest, d.Basis.Image, d.ResourceURI = "sha256:1", "sha256:2", "oci://registry.example/app"
		o := overridePredicate{Decision: resource{Digest: map[string]string{"sha256": "1"}}, Image: "sha256:2", ResourceURI: d.ResourceURI,
			GrantedOverride: policy.GrantedOverride{Override: policy.Override{Reason: "r", Approver: "a", Expires: now.Add(24 * time.Hour)}, Granted: made}}
		for what, err := range map[string]error{"decision": d.check(now), "override": o.check(d, now)} {
			switch {
			case ahead <= clock.Skew && err != nil:
				t.Errorf("a %s %s ahead: %v", what, ahead, err)
			case ahead > clock.Skew && (err == nil || !strings.Contains(err.Error(), made.Format(time.RFC3339)) || !strings.Contains(err.Error(), now.Format(time.RFC3339))):
				t.Errorf("a %s %s ahead: %v", what, ahead, err)
			}
		}
	}
}
