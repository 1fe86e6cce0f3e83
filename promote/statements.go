package promote

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/policy"
)

// The predicate types of the statements on a promoted image. Cluster policies match them as
// strings.
const (
	SPDXType      = "https://spdx.dev/Document"
	CycloneDXType = "https://cyclonedx.org/bom"
	ScanType      = "https://cosign.sigstore.dev/attestation/vuln/v1"
	VulnsType     = "https://in-toto.io/attestation/vulns/v0.2"
	DecisionType  = "https://slsa.dev/verification_summary/v1"
)

// platformTypes are the types of the statements that every platform must have.
var platformTypes = []string{SPDXType, CycloneDXType, ScanType, VulnsType}

// decisionPredicate is a SLSA verification summary:
// https://slsa.dev/spec/v1.1/verification_summary
type decisionPredicate struct {
	Verifier     decisionVerifier `json:"verifier"`
	TimeVerified time.Time        `json:"timeVerified"`
	ResourceURI  string           `json:"resourceUri"`
	Policy       resource         `json:"policy"`
	// Inputs lists every other statement by its digest, see inputOf.
	Inputs  []resource `json:"inputAttestations"`
	Result  string     `json:"verificationResult"`
	Levels  []string   `json:"verifiedLevels"`
	Version string     `json:"slsaVersion"`
	// Basis is an extension field, named as the specification requires.
	Basis DecisionBasis `json:"imagegate_basis"`
}

type decisionVerifier struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version"`
}

type resource struct {
	URI       string            `json:"uri,omitempty"`
	Digest    map[string]string `json:"digest"`
	MediaType string            `json:"mediaType,omitempty"`
}

// Values that the specification defines for a verification summary, and our own level.
const (
	resultPassed = "PASSED"
	resultFailed = "FAILED"
	// levelPolicy is our own level. imagegate does not evaluate SLSA levels, but the
	// specification's value for that, SLSA_BUILD_LEVEL_UNEVALUATED, makes slsa-verifier refuse the
	// whole summary.
	levelPolicy = "IMAGEGATE_POLICY"
	// levelFailed is the specification's value if no level was reached.
	levelFailed = "FAILED"
	slsaVersion = "1.1"
)

// DecisionBasis records what a decision depends on, in addition to the statements that it lists.
type DecisionBasis struct {
	Source string `json:"source"` // staging repository of the image
	// Tags are the tags of the approved repository that the decision was made for.
	Tags []string `json:"tags"`
	// Expires is when the decision becomes too old for its policy. Zero means never.
	Expires    time.Time        `json:"expires,omitzero"`
	Image      string           `json:"image"` // digest of the index or manifest
	Platforms  []PlatformDigest `json:"platforms"`
	Database   policy.Database  `json:"database"`
	Exceptions []Used           `json:"exceptions"`
	// ExternalEvidence is the digest of all external evidence that was available, see ExternalEvidenceDigest.
	ExternalEvidence string `json:"externalEvidence,omitempty"`
	// NotAffected lists the VEX statements that removed a finding.
	NotAffected []UsedVEX `json:"notAffected,omitempty"`
	// Provenance lists the signatures and attestations that satisfied rules about provenance.
	Provenance []UsedAttestation `json:"provenance,omitempty"`
	// CopiedAttestations lists the signatures and attestations that were copied from staging, and
	// SkippedAttestations those
	// that were skipped.
	CopiedAttestations  []CopiedAttestation  `json:"copiedAttestations,omitempty"`
	SkippedAttestations []SkippedAttestation `json:"skippedAttestations,omitempty"`
	// Baseline lists the findings that only produced warnings because approved images have them,
	// too. Nil without a baseline.
	Baseline *UsedBaseline `json:"baseline,omitempty"`
	// Violations is the number of violations of a denial.
	Violations int `json:"violations,omitempty"`
	Warnings   int `json:"warnings"`
	Allowed    int `json:"allowed"`
	// Until is when the decision ends, see policy.Decision.
	Until time.Time `json:"until,omitzero"`
	// TimeDependent reports that a rule depends on the current time, so that the decision applies only
	// to the moment when it was made.
	TimeDependent bool `json:"timeDependent,omitempty"`
}

// PlatformDigest is a platform of the image.
type PlatformDigest struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
}

// Used is an exception that the pass depends on.
type Used struct {
	// ID and Package identify the finding that the exception covered. Rule is set instead if the
	// exception covers a violation of another kind of rule.
	ID      string `json:"id,omitempty"`
	Package string `json:"package,omitempty"`
	Rule    string `json:"rule,omitempty"`
	// Path is the file that the exception covered, if the rule is about files or about packages
	// without a version.
	Path    string    `json:"path,omitempty"`
	Reason  string    `json:"reason"`
	Owner   string    `json:"owner"`
	Ticket  string    `json:"ticket,omitempty"`
	Expires time.Time `json:"expires"`
}

// UsedVEX is a VEX statement that removed a finding.
type UsedVEX struct {
	ID            string           `json:"id"`
	Package       string           `json:"package"`
	Status        policy.VEXStatus `json:"status"`
	Justification string           `json:"justification,omitempty"`
	Impact        string           `json:"impact,omitempty"`
	Document      string           `json:"document"`
	Author        string           `json:"author,omitempty"`
	Signer        string           `json:"signer,omitempty"`
}

// UsedAttestation is a signature or attestation from staging that satisfied a rule.
type UsedAttestation struct {
	Rule     string `json:"rule"`
	Platform string `json:"platform"`
	// Digest is the digest of the signed content. PredicateType is empty for a signature.
	Digest        string        `json:"digest"`
	PredicateType string        `json:"predicateType,omitempty"`
	Signer        policy.Signer `json:"signer"`
}

// ExternalEvidenceDigest returns the SHA-256 of the JSON of the external evidence, "sha256:<hex>", or "" if
// there is none. The baseline is not included: it describes an image that is already approved,
// either another image or this one.
func ExternalEvidenceDigest(b gate.ExternalEvidence) (string, error) {
	b.Baseline = nil
	if len(b.VEX)+len(b.Attestations)+b.Unverified == 0 {
		return "", nil
	}
	raw, err := encode(b)
	if err != nil {
		return "", err
	}
	return "sha256:" + payloadDigest(raw), nil
}

func newDecision(a *gate.Approval, to destination, inputs []resource, takes CopyPlan) (decisionPredicate, error) {
	in := a.Input()
	beside, err := ExternalEvidenceDigest(gate.ExternalEvidence{VEX: in.VEX, Attestations: in.Attestations, Unverified: in.Unverified})
	if err != nil {
		return decisionPredicate{}, err
	}
	tool, decision := a.Tool(), a.Decision()
	_, finished := a.Times()
	versions := map[string]string{tool.Name: tool.Version}
	for component, version := range tool.Components {
		versions[component] = version
	}
	out := decisionPredicate{
		Verifier:     decisionVerifier{ID: tool.URI, Version: versions},
		TimeVerified: finished.UTC(),
		ResourceURI:  resourceURI(to.repo),
		Policy:       resource{URI: a.Policies().Title(), Digest: digestSet(a.Policies().Digest())},
		Inputs:       inputs,
		Result:       resultPassed,
		Levels:       []string{levelPolicy},
		Version:      slsaVersion,
		Basis: DecisionBasis{Source: a.Input().Image.Repository, Tags: to.tagNames(), Image: a.Image().Digest.String(), Database: a.Input().Database,
			Exceptions: []Used{}, ExternalEvidence: beside, Warnings: len(decision.Warnings), Allowed: len(decision.Allowed), Until: decision.Until, TimeDependent: decision.TimeDependent},
	}
	if age := a.Policies().DecisionMaxAge(); age > 0 {
		out.Basis.Expires = out.TimeVerified.Add(age)
	}
	for _, p := range a.Image().Platforms {
		out.Basis.Platforms = append(out.Basis.Platforms, PlatformDigest{Platform: p.Name, Digest: p.Digest.String()})
	}
	for _, e := range decision.Excepted {
		used := Used{Rule: e.Exception.Rule, Reason: e.Exception.Reason,
			Owner: e.Exception.Owner, Ticket: e.Exception.Ticket, Expires: e.Exception.Expires}
		switch {
		case e.Finding != nil:
			used.ID, used.Package = e.Finding.ID, e.Finding.Package.PURL
		case e.Unknown != nil:
			used.Path = e.Unknown.Path
		case e.Unmatched != nil && e.Unmatched.Package != nil:
			used.Package = e.Unmatched.Package.PURL
			if found := e.Unmatched.Package.Found; len(found) > 0 {
				used.Path = found[0].Path
			}
		}
		if !slices.Contains(out.Basis.Exceptions, used) {
			out.Basis.Exceptions = append(out.Basis.Exceptions, used)
		}
	}
	for _, v := range decision.Provenance {
		out.Basis.Provenance = append(out.Basis.Provenance, UsedAttestation{Rule: v.Rule, Platform: v.Platform,
			Digest: v.Attestation.Digest, PredicateType: v.Attestation.PredicateType, Signer: v.Attestation.Signer})
	}
	if a.Override() != nil {
		out.Result, out.Levels, out.Basis.Violations = resultFailed, []string{levelFailed}, len(decision.Violations)
	}
	out.Basis.CopiedAttestations, out.Basis.SkippedAttestations = takes.entries(), takes.Skip
	out.Basis.Baseline = usedBaseline(in.Baseline, decision.Warnings)
	for _, n := range decision.NotAffected {
		s := n.Statement
		used := UsedVEX{ID: n.Finding.ID, Package: n.Finding.Package.PURL, Status: s.Status, Justification: s.Justification,
			Impact: s.Impact, Document: s.Document, Author: s.Author, Signer: s.Signer.String()}
		if !slices.Contains(out.Basis.NotAffected, used) {
			out.Basis.NotAffected = append(out.Basis.NotAffected, used)
		}
	}
	return out, nil
}

// resourceURI names the repository that the decision is for. It omits the digest, which is the
// statement's subject, and the tag, which may move.
func resourceURI(repo name.Repository) string { return "oci://" + repo.Name() }

// digestSet converts "sha256:<hex>" to in-toto's form.
func digestSet(digest string) map[string]string {
	algorithm, hex, _ := strings.Cut(digest, ":")
	return map[string]string{algorithm: hex}
}

func encode(v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a %T: %w", v, err)
	}
	return raw, nil
}
