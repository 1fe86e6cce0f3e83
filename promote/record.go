package promote

import (
	"maps"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// Record describes the contents of an approved registry as they were read and verified.
type Record struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest"`
	// SignedFor is the repository that the image was signed for, if Repository is a mirror of it.
	// It is empty if both are the same.
	SignedFor string `json:"signedFor,omitempty"`
	// Signer is the fingerprint of the signing key, or the identity and its issuer.
	Signer string `json:"signer"`
	// Statements lists the decision and the statements that it depends on.
	Statements []Statement `json:"statements"`
	Decision   Summary     `json:"decision"`
	// Override is the override of a denial. It is nil for a pass.
	Override *policy.GrantedOverride `json:"override,omitempty"`
	// Repeated is true if the evidence was already complete and nothing was written.
	Repeated bool   `json:"repeated,omitempty"`
	Copied   Copied `json:"copied"`

	// source has the attachments that were read for the record. If it is nil, Evidence reads them
	// again.
	source *snapshot
}

// Reference returns the full tag, or the reference by digest if the tag is empty.
func (r *Record) Reference() string {
	if r.Tag == "" {
		return r.Repository + "@" + r.Digest
	}
	return r.Repository + ":" + r.Tag
}

// Statement is one verified statement.
type Statement struct {
	PredicateType string `json:"predicateType"`
	// Subject is the digest of the platform or image that the statement is about.
	Subject string `json:"subject"`
	// Digest is the SHA-256 of the signed statement.
	Digest string `json:"digest"`
	// Signer is the fingerprint of the signing key, or the identity and its issuer.
	Signer string `json:"signer"`
}

// Summary has the content of the signed decision.
type Summary struct {
	Result   string            `json:"result"` // "PASSED" or "FAILED"
	Time     time.Time         `json:"time"`
	Resource string            `json:"resource"`
	Policy   map[string]string `json:"policy"` // the digest of the policy, by algorithm
	// PolicyName is the name of the policy. The names of several policies are joined with " + ".
	PolicyName string `json:"policyName"`
	// Digest is the SHA-256 of the signed decision, "sha256:<hex>".
	Digest   string            `json:"digest"`
	Verifier string            `json:"verifier"`
	Versions map[string]string `json:"versions"`
	Basis    DecisionBasis     `json:"basis"`
}

func (d signedDecision) summary() Summary {
	return Summary{Result: d.Result, Time: d.TimeVerified, Resource: d.ResourceURI, Policy: d.Policy.Digest, PolicyName: d.Policy.URI, Digest: d.Digest,
		Verifier: d.Verifier.ID, Versions: d.Verifier.Version, Basis: d.Basis}
}

// isCurrent reports whether promoting again on the basis b would give the same record.
func (r *Record) isCurrent(b Basis, now time.Time) bool {
	return r.Decision.isBasedOn(b, now) && (r.Override == nil || sameOverride(r.Override, b.Override))
}

// isBasedOn reports whether the decision was made on the basis b and has not expired.
func (s Summary) isBasedOn(b Basis, now time.Time) bool {
	versions := maps.Clone(b.Tool.Components)
	if versions == nil {
		versions = map[string]string{}
	}
	versions[b.Tool.Name] = b.Tool.Version
	return s.Verifier == b.Tool.URI && s.Basis.Source == b.Repository && s.Basis.ExternalEvidence == b.ExternalEvidence && maps.Equal(s.Versions, versions) &&
		maps.Equal(s.Policy, digestSet(b.Policy)) && s.Basis.Database.Digest == b.Database &&
		!s.Basis.TimeDependent && (s.Basis.Until.IsZero() || now.Before(s.Basis.Until))
}
