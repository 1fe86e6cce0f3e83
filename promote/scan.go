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
	// Scanned platform.
	Invocation scanInvocation `json:"invocation"`
	// Scanner, its database and its result.
	Scanner scanScanner `json:"scanner"`
	// Times of the scan.
	Metadata scanMetadata `json:"metadata"`
}

type scanInvocation struct {
	// Scanned platform: "image=" and its digest, "platform=" and its name.
	Parameters []string `json:"parameters"`
	// Identifier of the program, as in verifier.id of the decision.
	URI string `json:"uri"`
	// Always empty. The field is part of cosign's specification.
	EventID string `json:"event_id"`
	// Always empty. The field is part of cosign's specification.
	BuilderID string `json:"builder.id"`
}

type scanScanner struct {
	// Identifier of the program.
	URI string `json:"uri"`
	// Version of the program.
	Version string `json:"version"`
	// Vulnerability database.
	DB scanDatabase `json:"db"`
	// Result in imagegate's own format.
	Result scanResult `json:"result"`
}

type scanDatabase struct {
	// Origin of the database: its URL, or "urn:" and its digest if it was imported from a file.
	URI string `json:"uri"`
	// Digest of the database. Two builds of the same day have the same schema version but different
	// content.
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
	// Number of cataloged packages.
	Packages int `json:"packages"`
	// Every finding, whether a rule matched it or not.
	Findings []scanFinding `json:"findings"`
	// Files that the cataloger could not read.
	Unknowns []evidence.Unknown `json:"unknowns"`
	// Packages that could not be matched against the database.
	Unmatched []evidence.Unmatched `json:"unmatched"`
	// Number of matches that grype dropped by its own data corrections.
	Suppressed int `json:"suppressed"`
}

type scanFinding struct {
	// ID of the vulnerability.
	ID string `json:"id"`
	// Other IDs of the same vulnerability.
	Aliases []string `json:"aliases,omitempty"`
	// Purl of the package, or name@version if the package has no purl.
	Package string `json:"package"`
	// Type of the package, such as "deb" or "npm".
	Type string `json:"type"`
	// Name of the package.
	Name string `json:"name"`
	// Severity according to the database.
	Severity evidence.Severity `json:"severity"`
	// Highest CVSS base score.
	Score float64 `json:"cvss,omitempty"`
	// EPSS probability, 0 to 1.
	EPSS float64 `json:"epss,omitempty"`
	// Listed in CISA's KEV catalog.
	KEV bool `json:"kev,omitempty"`
	// State of the fix according to the database.
	FixState evidence.FixState `json:"fixState"`
	// Fixed versions.
	Fixes []evidence.Fix `json:"fixes,omitempty"`
	// First location of the package.
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
	// Scanner, its database and its result.
	Scanner vulnsScanner `json:"scanner"`
	// Times of the scan.
	Metadata scanMetadata `json:"metadata"`
	// Extension of imagegate that states how much was scanned. Without it, an empty list of results
	// does not show whether packages were scanned at all.
	Coverage vulnsCoverage `json:"imagegate_coverage"`
}

type vulnsScanner struct {
	// Identifier of the program.
	URI string `json:"uri"`
	// Version of the program.
	Version string `json:"version"`
	// Vulnerability database.
	DB vulnsDatabase `json:"db"`
	// Every finding, whether a rule matched it or not.
	Result []vulnsResult `json:"result"`
}

type vulnsDatabase struct {
	scanDatabase
	// Time when the oldest data of the database was fetched from its source.
	LastUpdate time.Time `json:"lastUpdate"`
}

type vulnsResult struct {
	// ID of the vulnerability.
	ID string `json:"id"`
	// Severity according to the database, and each score.
	Severity []vulnsSeverity `json:"severity"`
	// One entry: the finding, as in scanner.result.findings of the scan in cosign's format.
	Annotations []scanFinding `json:"annotations"`
}

type vulnsSeverity struct {
	// Database namespace, or scoring system such as "cvss_v3.1" or "epss".
	Method string `json:"method"`
	// Severity or score.
	Score string `json:"score"`
}

type vulnsCoverage struct {
	// Version of this extension, and of the finding in annotations: 1.
	SchemaVersion int `json:"schemaVersion"`
	// Name of the platform, such as "linux/amd64".
	Platform string `json:"platform"`
	// Number of cataloged packages.
	Packages int `json:"packages"`
	// Number of files that the cataloger could not read.
	Unknowns int `json:"unknowns"`
	// Number of packages that could not be matched against the database.
	Unmatched int `json:"unmatched"`
	// Number of matches that grype dropped by its own data corrections.
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
