package promote

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Predicate types of the statements on a promoted image. Cluster policies compare them as strings,
// so they must not change.
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
	// The program that made the decision: imagegate.
	Verifier decisionVerifier `json:"verifier"`
	// Time of the decision, RFC 3339 in UTC.
	TimeVerified time.Time `json:"timeVerified"`
	// Approved repository that the decision is for: "oci://" and the repository name, without tag
	// or digest.
	ResourceURI string `json:"resourceUri"`
	// Policy that made the decision: its name in uri, and the SHA-256 of its text. The names of
	// several policies are joined by " + ".
	Policy resource `json:"policy"`
	// All other statements of this promotion, each with its predicate type in uri and the SHA-256
	// of its payload in digest. An override is not listed, because it is made after the decision.
	Inputs []resource `json:"inputAttestations"`
	// PASSED, or FAILED for a denial that an override let through.
	Result string `json:"verificationResult"`
	// IMAGEGATE_POLICY for a pass, FAILED otherwise. SLSA levels are not evaluated.
	Levels []string `json:"verifiedLevels"`
	// Version of the SLSA specification: "1.1".
	Version string `json:"slsaVersion"`
	// Extension of imagegate. The specification requires the form of this name for extensions.
	Basis DecisionBasis `json:"imagegate_basis"`
}

type decisionVerifier struct {
	// URI that identifies the program.
	ID string `json:"id"`
	// Versions of the program and of its components, such as grype and syft, by name.
	Version map[string]string `json:"version"`
}

type resource struct {
	// Identifier: the name of a policy, or the predicate type of a statement.
	URI string `json:"uri,omitempty"`
	// Digest of the policy or statement, in hexadecimal, by the name of the algorithm, such as
	// sha256.
	Digest map[string]string `json:"digest"`
	// Media type of the policy or statement.
	MediaType string `json:"mediaType,omitempty"`
}

// Values of a verification summary. Except for levelPolicy, the SLSA specification defines them.
const (
	resultPassed = "PASSED"
	resultFailed = "FAILED"
	// levelPolicy is imagegate's own level. imagegate does not evaluate SLSA levels. The
	// specification's value for that case, SLSA_BUILD_LEVEL_UNEVALUATED, makes slsa-verifier refuse
	// the whole summary.
	levelPolicy = "IMAGEGATE_POLICY"
	// levelFailed is the specification's value for an image that reached no level.
	levelFailed = "FAILED"
	slsaVersion = "1.1"
)

// DecisionBasis records the input of a decision, in addition to the statements that the decision
// lists. It is the field imagegate_basis of the decision. The description in docs/statements.md is
// generated from these comments.
type DecisionBasis struct {
	// Version of this extension: 1.
	SchemaVersion int `json:"schemaVersion"`
	// Staging repository of the image.
	Source string `json:"source"`
	// Tags of the approved repository that the decision was made for.
	Tags []string `json:"tags"`
	// Time when the decision expires, from decision.maxAge of the policy. Absent if the decision
	// never expires.
	Expires time.Time `json:"expires,omitzero"`
	// Digest of the index or manifest that was evaluated.
	Image string `json:"image"`
	// Every platform of the image.
	Platforms []PlatformDigest `json:"platforms"`
	// Vulnerability database that the scan used.
	Database evidence.Database `json:"database"`
	// Exceptions of the policy that the decision depends on.
	Exceptions []Used `json:"exceptions"`
	// SHA-256 of the VEX statements and staging attestations that were available to the policy.
	// Absent if there were none.
	ExternalEvidence string `json:"externalEvidence,omitempty"`
	// VEX statements that removed a finding.
	NotAffected []UsedVEX `json:"notAffected,omitempty"`
	// Signatures and attestations in the staging registry that satisfied a provenance rule.
	Provenance []UsedAttestation `json:"provenance,omitempty"`
	// Signatures and attestations that were copied from the staging registry.
	CopiedAttestations []CopiedAttestation `json:"copiedAttestations,omitempty"`
	// Signatures and attestations in the staging registry that were not copied.
	SkippedAttestations []SkippedAttestation `json:"skippedAttestations,omitempty"`
	// Findings that only produced warnings because the approved images also have them. Absent if no
	// baseline was used.
	Baseline *UsedBaseline `json:"baseline,omitempty"`
	// Number of violations. Absent if the image passed.
	Violations int `json:"violations,omitempty"`
	// Number of warnings.
	Warnings int `json:"warnings"`
	// Number of findings that matched no rule.
	Allowed int `json:"allowed"`
	// First time when the policy could decide differently about the same input, for example because
	// an exception expires. Default: never.
	Until time.Time `json:"until,omitzero"`
	// True if the policy has a rule that reads the clock. The decision then applies only to the
	// moment when it was made.
	TimeDependent bool `json:"timeDependent,omitempty"`
}

// PlatformDigest is a platform of the image.
type PlatformDigest struct {
	// Name of the platform, such as "linux/amd64".
	Platform string `json:"platform"`
	// Digest of the platform's manifest.
	Digest string `json:"digest"`
}

// Used is an exception that the decision depends on.
type Used struct {
	// ID of the finding that the exception covered. Absent if the exception is for a rule.
	ID string `json:"id,omitempty"`
	// Purl of the package that the exception covered. Absent if the exception did not cover a
	// package.
	Package string `json:"package,omitempty"`
	// Name of the rule whose violation the exception covered. Absent if the exception is for a
	// finding.
	Rule string `json:"rule,omitempty"`
	// File that the exception covered, if the violation is about an unreadable file or an unmatched
	// package.
	Path string `json:"path,omitempty"`
	// Reason of the exception, from the policy.
	Reason string `json:"reason"`
	// Owner of the exception, from the policy.
	Owner string `json:"owner"`
	// Ticket of the exception, from the policy.
	Ticket string `json:"ticket,omitempty"`
	// Time when the exception expires.
	Expires time.Time `json:"expires"`
}

// UsedVEX is a VEX statement that removed a finding.
type UsedVEX struct {
	// ID of the finding that the statement removed.
	ID string `json:"id"`
	// Purl of the package that has the finding.
	Package string `json:"package"`
	// Status in the VEX statement: not_affected or fixed.
	Status evidence.VEXStatus `json:"status"`
	// Justification in the VEX statement.
	Justification string `json:"justification,omitempty"`
	// Impact statement in the VEX statement.
	Impact string `json:"impact,omitempty"`
	// ID of the VEX document.
	Document string `json:"document"`
	// Author of the VEX document.
	Author string `json:"author,omitempty"`
	// Signer of the VEX document. Absent if the document came from a file.
	Signer string `json:"signer,omitempty"`
}

// UsedAttestation is a signature or attestation from staging that satisfied a rule.
type UsedAttestation struct {
	// Name of the provenance rule.
	Rule string `json:"rule"`
	// Platform that the rule was evaluated for.
	Platform string `json:"platform"`
	// SHA-256 of the signed content.
	Digest string `json:"digest"`
	// Predicate type of the attestation. Absent for a signature.
	PredicateType string `json:"predicateType,omitempty"`
	// Trusted signer of the signature or attestation.
	Signer evidence.Signer `json:"signer"`
}

// ExternalEvidenceDigest returns the SHA-256 of the external evidence in JSON, as "sha256:<hex>".
// Without external evidence it returns "". It leaves out the baseline, which describes an image
// that is already approved.
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
	external, err := ExternalEvidenceDigest(gate.ExternalEvidence{VEX: in.VEX, Attestations: in.Attestations, Unverified: in.Unverified})
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
		Basis: DecisionBasis{SchemaVersion: SchemaVersion, Source: a.Input().Image.Repository, Tags: to.tagNames(), Image: a.Image().Digest.String(), Database: a.Input().Database,
			Exceptions: []Used{}, ExternalEvidence: external, Warnings: len(decision.Warnings), Allowed: len(decision.Allowed), Until: decision.Until, TimeDependent: decision.TimeDependent},
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

// resourceURI returns the name of the repository that a decision is for. It omits the digest, which
// is the subject of the statement, and the tag, which may move.
func resourceURI(repo name.Repository) string { return "oci://" + repo.Name() }

// digestSet converts "sha256:<hex>" to the form that in-toto uses.
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
