package promote

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/policy"
)

// The predicate types of the statements that a promoted image carries. Cluster
// policies match them as strings.
const (
	SPDXType      = "https://spdx.dev/Document"
	CycloneDXType = "https://cyclonedx.org/bom"
	ScanType      = "https://cosign.sigstore.dev/attestation/vuln/v1"
	DecisionType  = "https://slsa.dev/verification_summary/v1"
)

// platformTypes are the statements that every platform must have.
var platformTypes = []string{SPDXType, CycloneDXType, ScanType}

// scanPredicate is cosign's vulnerability predicate:
// https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md
type scanPredicate struct {
	Invocation scanInvocation `json:"invocation"`
	Scanner    scanScanner    `json:"scanner"`
	Metadata   scanMetadata   `json:"metadata"`
}

type scanInvocation struct {
	// Parameters say what was scanned.
	Parameters []string `json:"parameters"`
	URI        string   `json:"uri"`
	EventID    string   `json:"event_id"`
	BuilderID  string   `json:"builder.id"`
}

type scanScanner struct {
	URI     string       `json:"uri"`
	Version string       `json:"version"`
	DB      scanDatabase `json:"db"`
	Result  scanResult   `json:"result"`
}

type scanDatabase struct {
	// URI is the origin of the database, Version its digest: two builds of
	// one day have one schema and differ.
	URI     string `json:"uri"`
	Version string `json:"version"`
}

type scanMetadata struct {
	Started  time.Time `json:"scanStartedOn"`
	Finished time.Time `json:"scanFinishedOn"`
}

// scanResult is the predicate's free part: a list of findings, short enough
// for logs and registries. Descriptions and every location are in the report.
type scanResult struct {
	Platform     string              `json:"platform"`
	Distribution policy.Distribution `json:"distribution"`
	Packages     int                 `json:"packages"`
	Findings     []scanFinding       `json:"findings"`
	Unknowns     []policy.Unknown    `json:"unknowns"`
	Uncovered    []policy.Uncovered  `json:"uncovered"`
	Suppressed   int                 `json:"suppressed"`
}

type scanFinding struct {
	ID       string          `json:"id"`
	Aliases  []string        `json:"aliases,omitempty"`
	Package  string          `json:"package"` // purl, or name@version where there is none
	Type     string          `json:"type"`    // of the package, as in policy.Package
	Name     string          `json:"name"`    // likewise
	Severity policy.Severity `json:"severity"`
	Score    float64         `json:"cvss,omitempty"` // the highest base score
	EPSS     float64         `json:"epss,omitempty"`
	KEV      bool            `json:"kev,omitempty"`
	FixState policy.FixState `json:"fixState"`
	Fixes    []policy.Fix    `json:"fixes,omitempty"`
	Path     string          `json:"path,omitempty"` // the first location
}

func newScan(a *gate.Approval, p policy.Platform) scanPredicate {
	tool, db := a.Tool(), a.Input().Database
	started, finished := a.Times()
	out := scanPredicate{
		Invocation: scanInvocation{Parameters: []string{"image=" + p.Digest, "platform=" + p.Platform}, URI: tool.URI},
		Scanner: scanScanner{
			URI:     tool.URI,
			Version: tool.Version,
			DB:      scanDatabase{URI: databaseURI(db), Version: db.Digest},
			Result: scanResult{
				Platform: p.Platform, Distribution: p.Distribution, Packages: len(p.Packages),
				Findings: []scanFinding{}, Unknowns: p.Unknowns, Uncovered: p.Uncovered, Suppressed: len(p.Suppressed),
			},
		},
		Metadata: scanMetadata{Started: started.UTC(), Finished: finished.UTC()},
	}
	for _, f := range p.Findings {
		out.Scanner.Result.Findings = append(out.Scanner.Result.Findings, shorten(f))
	}
	return out
}

func shorten(f policy.Finding) scanFinding {
	out := scanFinding{ID: f.ID, Aliases: f.Aliases, Package: packageName(f.Package), Type: f.Package.Type, Name: f.Package.Name, Severity: f.Severity,
		KEV: f.KEV != nil, FixState: f.FixState, Fixes: f.Fixes}
	for _, c := range f.CVSS {
		out.Score = max(out.Score, c.Score)
	}
	if f.EPSS != nil {
		out.EPSS = f.EPSS.Score
	}
	if len(f.Package.Found) > 0 {
		out.Path = f.Package.Found[0].Path
	}
	return out
}

// policyName is the policies' files without the folders in which they happened
// to be.
func policyName(policies policy.Set) string {
	var names []string
	for _, p := range policies {
		names = append(names, filepath.Base(p.File))
	}
	return strings.Join(names, " + ")
}

// databaseURI is where the database came from; one that was imported from a
// file is named by its content.
func databaseURI(db policy.Database) string {
	if strings.Contains(db.Source, "://") {
		return db.Source
	}
	return "urn:" + db.Digest
}

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
	// Basis extends the predicate, named as the specification asks of
	// extension fields.
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

// The values of a verification summary that are used here.
const (
	resultPassed = "PASSED"
	resultFailed = "FAILED"
	// levelPolicy is a level of our own. Levels of SLSA are not judged; the
	// specification's word for that, SLSA_BUILD_LEVEL_UNEVALUATED, makes
	// slsa-verifier refuse the whole summary.
	levelPolicy = "IMAGEGATE_POLICY"
	// levelFailed is the specification's word where no level was reached.
	levelFailed = "FAILED"
	slsaVersion = "1.1"
)

// DecisionBasis is what led to a decision beside the statements it lists.
type DecisionBasis struct {
	Source     string          `json:"source"` // repository from which it came
	Image      string          `json:"image"`  // digest of the index or manifest
	Platforms  []SubjectOf     `json:"platforms"`
	Database   policy.Database `json:"database"`
	Exceptions []Used          `json:"exceptions"`
	// Beside stands for all evidence that was at hand beside the image, see
	// BesideDigest.
	Beside string `json:"beside,omitempty"`
	// NotAffected are the VEX statements that took a finding away.
	NotAffected []UsedVEX `json:"notAffected,omitempty"`
	// Provenance is what rules about provenance were content with.
	Provenance []UsedAttestation `json:"provenance,omitempty"`
	// Baseline is what only warned because approved images have it too; nil where
	// there was none to compare with.
	Baseline *UsedBaseline `json:"baseline,omitempty"`
	// Violations is how many there are of a denial.
	Violations int `json:"violations,omitempty"`
	Warnings   int `json:"warnings"`
	Allowed    int `json:"allowed"`
	// Until is when the decision ends, see policy.Decision.
	Until time.Time `json:"until,omitzero"`
	// Momentary: a rule reads the clock, so that the decision is of its instant
	// alone.
	Momentary bool `json:"momentary,omitempty"`
}

// SubjectOf is a platform of the image.
type SubjectOf struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
}

// Used is an exception that the pass rests on.
type Used struct {
	// ID and Package are those of the finding that it covered. Rule is set
	// instead where the exception is from a rule about something else.
	ID      string    `json:"id,omitempty"`
	Package string    `json:"package,omitempty"`
	Rule    string    `json:"rule,omitempty"`
	Reason  string    `json:"reason"`
	Owner   string    `json:"owner"`
	Ticket  string    `json:"ticket,omitempty"`
	Expires time.Time `json:"expires"`
}

// UsedVEX is a VEX statement that took a finding away.
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

// UsedAttestation is something signed about the image where it was staged that
// met a rule.
type UsedAttestation struct {
	Rule     string `json:"rule"`
	Platform string `json:"platform"`
	// Digest is that of what was signed; PredicateType is empty for a signature.
	Digest        string           `json:"digest"`
	PredicateType string           `json:"predicateType,omitempty"`
	Signer        policy.Signatory `json:"signer"`
}

// BesideDigest is the SHA-256 of the JSON of what can change a decision about the
// same image, "sha256:<hex>"; empty for nothing. The baseline is no part of it: it
// is of an image that is approved, and this one is not yet, or is the same.
func BesideDigest(b gate.Beside) (string, error) {
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

func newDecision(a *gate.Approval, repo name.Repository, inputs []resource) (decisionPredicate, error) {
	in := a.Input()
	beside, err := BesideDigest(gate.Beside{VEX: in.VEX, Attestations: in.Attestations, Unverified: in.Unverified})
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
		ResourceURI:  resourceURI(repo),
		Policy:       resource{URI: policyName(a.Policies()), Digest: digestSet(a.Policies().Digest())},
		Inputs:       inputs,
		Result:       resultPassed,
		Levels:       []string{levelPolicy},
		Version:      slsaVersion,
		Basis: DecisionBasis{Source: a.Input().Image.Repository, Image: a.Image().Digest.String(), Database: a.Input().Database,
			Exceptions: []Used{}, Beside: beside, Warnings: len(decision.Warnings), Allowed: len(decision.Allowed), Until: decision.Until, Momentary: decision.Momentary},
	}
	for _, p := range a.Image().Platforms {
		out.Basis.Platforms = append(out.Basis.Platforms, SubjectOf{Platform: p.Name, Digest: p.Digest.String()})
	}
	for _, e := range decision.Excepted {
		used := Used{Rule: e.Exception.Rule, Reason: e.Exception.Reason,
			Owner: e.Exception.Owner, Ticket: e.Exception.Ticket, Expires: e.Exception.Expires}
		if e.Finding != nil {
			used.ID, used.Package = e.Finding.ID, e.Finding.Package.PURL
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

// packageName is a package's purl, or name@version where there is none.
func packageName(p policy.Package) string {
	return cmp.Or(p.PURL, p.Name+"@"+p.Version)
}

// resourceURI names the repository that the decision is for. The digest is the
// statement's subject, and the tag may move.
func resourceURI(repo name.Repository) string { return "oci://" + repo.Name() }

// digestSet turns "sha256:<hex>" into in-toto's form.
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
