package promote

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/trust"
)

// retentionOf returns which older statements about the same image a new statement replaces.
// Decisions by several policies and for several tags are stored side by side. For each policy and
// tag, the newest decision is kept, with the statements that it lists.
func retentionOf(st trust.Statement) attach.Retention {
	switch {
	case st.PredicateType == DecisionType:
		return retentionOfDecision(st)
	case strings.HasSuffix(st.PredicateType, overrideSuffix):
		var o overridePredicate
		if json.Unmarshal(st.Predicate, &o) != nil {
			return attach.Retention{}
		}
		return attach.Retention{BelongsTo: "sha256:" + o.Decision.Digest["sha256"]}
	case st.PredicateType == ScanType || st.PredicateType == VulnsType:
		var scan struct {
			Metadata struct {
				Finished time.Time `json:"scanFinishedOn"`
			} `json:"metadata"`
		}
		if json.Unmarshal(st.Predicate, &scan) != nil {
			return attach.Retention{}
		}
		return attach.Retention{Evidence: true, At: scan.Metadata.Finished}
	case st.PredicateType == SPDXType || st.PredicateType == CycloneDXType || st.PredicateType == ReferenceType:
		return attach.Retention{Evidence: true}
	}
	return attach.Retention{}
}

// retentionOfDecision returns the retention of a decision. It identifies the policy by its digest,
// because two policies can have the same name.
func retentionOfDecision(st trust.Statement) attach.Retention {
	d, err := parseDecision(st.Predicate)
	if err != nil { // another program made this decision with the same key
		return attach.Retention{Key: payloadDigest(st.Payload)}
	}
	out := attach.Retention{Key: d.Policy.Digest["sha256"] + " " + strings.Join(d.Basis.Tags, " "), At: d.TimeVerified,
		Group: d.Policy.URI + " " + strings.Join(d.Basis.Tags, " ")}
	if d.Basis.SchemaVersion != SchemaVersion { // Keep the decision, because only a newer imagegate knows which statements it replaces.
		out = attach.Retention{Key: payloadDigest(st.Payload)}
	}
	for _, in := range d.Inputs {
		out.Lists = append(out.Lists, "sha256:"+in.Digest["sha256"])
	}
	return out
}
