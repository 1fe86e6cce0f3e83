package promote

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/policy/evidence"
)

// scanPredicate is cosign's vulnerability predicate:
// https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md
type scanPredicate struct {
	// Input of the scan.
	Invocation scanInvocation `json:"invocation"`
	// Scanner, the database that it used, and its result.
	Scanner scanScanner `json:"scanner"`
	// Start and end of the scan.
	Metadata scanMetadata `json:"metadata"`
}

type scanInvocation struct {
	// The scanned platform: "image=" and the digest of its manifest, "platform=" and its name.
	Parameters []string `json:"parameters"`
	// URI that identifies the scanner, as verifier.id in the decision.
	URI string `json:"uri"`
	// Always empty. The field is part of cosign's specification.
	EventID string `json:"event_id"`
	// Always empty. The field is part of cosign's specification.
	BuilderID string `json:"builder.id"`
}

type scanScanner struct {
	// URI that identifies the scanner.
	URI string `json:"uri"`
	// Version of the scanner.
	Version string `json:"version"`
	// Vulnerability database.
	DB scanDatabase `json:"db"`
	// Result in imagegate's own format, see below.
	Result scanResult `json:"result"`
}

type scanDatabase struct {
	// Origin of the database: its URL, or "urn:" and its digest if the database was imported from a
	// file.
	URI string `json:"uri"`
	// Digest of the database. The schema version would not identify the database, because daily
	// builds share it.
	Version string `json:"version"`
}

type scanMetadata struct {
	// Start of the scan.
	Started time.Time `json:"scanStartedOn"`
	// End of the scan.
	Finished time.Time `json:"scanFinishedOn"`
}

// scanResult is the part of the predicate that the scanner defines. It is short enough for logs and
// registries. The report also has the descriptions and all locations.
type scanResult struct {
	// Version of this object: 1.
	SchemaVersion int `json:"schemaVersion"`
	// Name of the platform, such as "linux/amd64".
	Platform string `json:"platform"`
	// Distribution of the platform.
	Distribution evidence.Distribution `json:"distribution"`
	// Number of packages in the SBOM.
	Packages int `json:"packages"`
	// All findings, also findings that match no rule of the policy.
	Findings []scanFinding `json:"findings"`
	// Files that the cataloger could not read.
	Unknowns []evidence.Unknown `json:"unknowns"`
	// Packages that could not be matched with advisories in the database.
	Unmatched []evidence.Unmatched `json:"unmatched"`
	// Number of matches that do not count as findings, because built-in rules of grype or imagegate
	// drop them. The JSON report lists each with its reason.
	Suppressed int `json:"suppressed"`
}

type scanFinding struct {
	// ID of the vulnerability.
	ID string `json:"id"`
	// Other IDs of the same vulnerability.
	Aliases []string `json:"aliases,omitempty"`
	// Purl of the package that has the finding, or name@version if the package has no purl.
	Package string `json:"package"`
	// Type of the package, such as "deb" or "npm".
	Type string `json:"type"`
	// Name of the package.
	Name string `json:"name"`
	// Severity of the finding in the database.
	Severity evidence.Severity `json:"severity"`
	// Highest CVSS base score of the vulnerability.
	Score float64 `json:"cvss,omitempty"`
	// EPSS: predicted probability of exploitation, 0 to 1.
	EPSS float64 `json:"epss,omitempty"`
	// True if CISA's catalog lists the vulnerability as known to be exploited.
	KEV bool `json:"kev,omitempty"`
	// State of the fix in the database, such as "fixed".
	FixState evidence.FixState `json:"fixState"`
	// Versions that fix the vulnerability.
	Fixes []evidence.Fix `json:"fixes,omitempty"`
	// Path of the first file that identifies the package.
	Path string `json:"path,omitempty"`
}

func newScan(a *gate.Approval, p evidence.Platform) scanPredicate {
	tool, db := a.Tool(), a.Input().Database
	started, finished := a.Times()
	out := scanPredicate{
		Invocation: scanInvocation{Parameters: []string{"image=" + p.Digest, "platform=" + p.Platform}, URI: tool.URI},
		Scanner: scanScanner{
			URI:     tool.URI,
			Version: tool.Version,
			DB:      scanDatabase{URI: databaseURI(db), Version: db.Digest},
			Result: scanResult{
				SchemaVersion: SchemaVersion, Platform: p.Platform, Distribution: p.Distribution, Packages: len(p.Packages),
				Findings: []scanFinding{}, Unknowns: p.Unknowns, Unmatched: p.Unmatched, Suppressed: len(p.Suppressed),
			},
		},
		Metadata: scanMetadata{Started: started.UTC(), Finished: finished.UTC()},
	}
	for _, f := range p.Findings {
		out.Scanner.Result.Findings = append(out.Scanner.Result.Findings, shorten(f))
	}
	return out
}

func shorten(f evidence.Finding) scanFinding {
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

// vulnsPredicate has the same content as scanPredicate in the format of in-toto:
// https://github.com/in-toto/attestation/blob/main/spec/predicates/vulns_02.md
type vulnsPredicate struct {
	// Scanner, the database that it used, and its result.
	Scanner vulnsScanner `json:"scanner"`
	// Start and end of the scan.
	Metadata scanMetadata `json:"metadata"`
	// Extension of imagegate that states how much was scanned. An empty list of results alone does
	// not show whether any packages were scanned.
	Coverage vulnsCoverage `json:"imagegate_coverage"`
}

type vulnsScanner struct {
	// URI that identifies the scanner.
	URI string `json:"uri"`
	// Version of the scanner.
	Version string `json:"version"`
	// Vulnerability database.
	DB vulnsDatabase `json:"db"`
	// All findings, also findings that match no rule of the policy.
	Result []vulnsResult `json:"result"`
}

type vulnsDatabase struct {
	scanDatabase
	// Time when the oldest data in the database was fetched from its upstream source.
	LastUpdate time.Time `json:"lastUpdate"`
}

type vulnsResult struct {
	// ID of the vulnerability.
	ID string `json:"id"`
	// Severity of the finding in the database, and each score of the vulnerability.
	Severity []vulnsSeverity `json:"severity"`
	// One entry: the finding, with the same fields as scanner.result.findings in cosign's form of
	// the scan.
	Annotations []scanFinding `json:"annotations"`
}

type vulnsSeverity struct {
	// Origin of the score: a namespace of the database, or a scoring system such as "cvss_v3.1" or
	// "epss".
	Method string `json:"method"`
	// Severity or score, as the method states it.
	Score string `json:"score"`
}

type vulnsCoverage struct {
	// Version of this extension, and of the entries in annotations: 1.
	SchemaVersion int `json:"schemaVersion"`
	// Name of the platform, such as "linux/amd64".
	Platform string `json:"platform"`
	// Number of packages in the SBOM.
	Packages int `json:"packages"`
	// Number of files that the cataloger could not read.
	Unknowns int `json:"unknowns"`
	// Number of packages that could not be matched with advisories in the database.
	Unmatched int `json:"unmatched"`
	// Number of matches that do not count as findings, because built-in rules of grype or imagegate
	// drop them. The JSON report lists each with its reason.
	Suppressed int `json:"suppressed"`
}

func newVulns(a *gate.Approval, p evidence.Platform) vulnsPredicate {
	scan := newScan(a, p)
	out := vulnsPredicate{
		Scanner: vulnsScanner{URI: scan.Scanner.URI, Version: scan.Scanner.Version,
			DB: vulnsDatabase{scan.Scanner.DB, lastUpdate(a.Input().Database).UTC()}, Result: []vulnsResult{}},
		Metadata: scan.Metadata,
		Coverage: vulnsCoverage{SchemaVersion: SchemaVersion, Platform: p.Platform, Packages: len(p.Packages), Suppressed: len(p.Suppressed)},
	}
	// Files and packages that another evaluated package owns are not gaps.
	for _, u := range p.Unknowns {
		if u.Class != evidence.UnknownOwned {
			out.Coverage.Unknowns++
		}
	}
	for _, u := range p.Unmatched {
		if !u.Reason.EvaluatedElsewhere() {
			out.Coverage.Unmatched++
		}
	}
	for i, f := range p.Findings {
		out.Scanner.Result = append(out.Scanner.Result,
			vulnsResult{ID: f.ID, Severity: severities(f), Annotations: scan.Scanner.Result.Findings[i : i+1]})
	}
	return out
}

// severities returns the severity of a finding according to the database, and each score under the
// name of its scoring system.
func severities(f evidence.Finding) []vulnsSeverity {
	out := []vulnsSeverity{{cmp.Or(f.Namespace, "severity"), f.Severity.String()}}
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	for _, c := range f.CVSS {
		out = append(out, vulnsSeverity{"cvss_v" + c.Version, number(c.Score)})
	}
	if f.EPSS != nil {
		out = append(out, vulnsSeverity{"epss", number(f.EPSS.Score)})
	}
	return out
}

// lastUpdate returns the capture time of the oldest data in the database. A rebuild from old data
// does not count as an update.
func lastUpdate(db evidence.Database) time.Time {
	oldest := db.Built
	for _, p := range db.Providers {
		if p.Captured.Before(oldest) {
			oldest = p.Captured
		}
	}
	return oldest
}

// databaseURI returns the URL of the database. For a database that was imported from a file, it
// returns a URN with the digest of the database.
func databaseURI(db evidence.Database) string {
	if strings.Contains(db.Source, "://") {
		return db.Source
	}
	return "urn:" + db.Digest
}

// packageName returns the purl of a package, or name@version if the package has no purl.
func packageName(p evidence.Package) string {
	return cmp.Or(p.PURL, p.Name+"@"+p.Version)
}
