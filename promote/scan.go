package promote

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/policy"
)

// scanPredicate is cosign's vulnerability predicate:
// https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md
type scanPredicate struct {
	Invocation scanInvocation `json:"invocation"`
	Scanner    scanScanner    `json:"scanner"`
	Metadata   scanMetadata   `json:"metadata"`
}

type scanInvocation struct {
	// Parameters name the scanned image and platform.
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
	// URI is the origin of the database and Version its digest: two builds of the same day have the
	// same schema version but different content.
	URI     string `json:"uri"`
	Version string `json:"version"`
}

type scanMetadata struct {
	Started  time.Time `json:"scanStartedOn"`
	Finished time.Time `json:"scanFinishedOn"`
}

// scanResult is the part of the predicate that the scanner defines. It is short enough for logs and
// registries; the report has the descriptions and all locations.
type scanResult struct {
	Platform     string              `json:"platform"`
	Distribution policy.Distribution `json:"distribution"`
	Packages     int                 `json:"packages"`
	Findings     []scanFinding       `json:"findings"`
	Unknowns     []policy.Unknown    `json:"unknowns"`
	Unmatched    []policy.Unmatched  `json:"unmatched"`
	Suppressed   int                 `json:"suppressed"`
}

type scanFinding struct {
	ID       string          `json:"id"`
	Aliases  []string        `json:"aliases,omitempty"`
	Package  string          `json:"package"` // purl, or name@version if there is none
	Type     string          `json:"type"`    // of the package, as in policy.Package
	Name     string          `json:"name"`    // of the package
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

// vulnsPredicate has the same content as scanPredicate, in in-toto's form:
// https://github.com/in-toto/attestation/blob/main/spec/predicates/vulns_02.md
type vulnsPredicate struct {
	Scanner  vulnsScanner `json:"scanner"`
	Metadata scanMetadata `json:"metadata"`
	// Extent is our extension of the predicate. An empty list of results means only that nothing
	// was found; Extent shows how much was scanned.
	Extent vulnsExtent `json:"imagegate_extent"`
}

type vulnsScanner struct {
	URI     string        `json:"uri"`
	Version string        `json:"version"`
	DB      vulnsDatabase `json:"db"`
	Result  []vulnsResult `json:"result"`
}

type vulnsDatabase struct {
	scanDatabase
	LastUpdate time.Time `json:"lastUpdate"` // capture time of the oldest data, see lastUpdate
}

type vulnsResult struct {
	ID       string          `json:"id"`
	Severity []vulnsSeverity `json:"severity"`
	// Annotations has one entry: the finding in cosign's form.
	Annotations []scanFinding `json:"annotations"`
}

type vulnsSeverity struct {
	Method string `json:"method"`
	Score  string `json:"score"`
}

type vulnsExtent struct {
	Platform   string `json:"platform"`
	Packages   int    `json:"packages"`
	Unknowns   int    `json:"unknowns"`
	Unmatched  int    `json:"unmatched"`
	Suppressed int    `json:"suppressed"`
}

func newVulns(a *gate.Approval, p policy.Platform) vulnsPredicate {
	scan := newScan(a, p)
	out := vulnsPredicate{
		Scanner: vulnsScanner{URI: scan.Scanner.URI, Version: scan.Scanner.Version,
			DB: vulnsDatabase{scan.Scanner.DB, lastUpdate(a.Input().Database).UTC()}, Result: []vulnsResult{}},
		Metadata: scan.Metadata,
		Extent:   vulnsExtent{Platform: p.Platform, Packages: len(p.Packages), Suppressed: len(p.Suppressed)},
	}
	// Files and packages that another package accounts for are not a gap.
	for _, u := range p.Unknowns {
		if u.Class != policy.UnknownOwned {
			out.Extent.Unknowns++
		}
	}
	for _, u := range p.Unmatched {
		if !u.Reason.EvaluatedElsewhere() {
			out.Extent.Unmatched++
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
func severities(f policy.Finding) []vulnsSeverity {
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

// lastUpdate returns the capture time of the oldest data in the database. Rebuilding the database
// from old data is not an update.
func lastUpdate(db policy.Database) time.Time {
	oldest := db.Built
	for _, p := range db.Providers {
		if p.Captured.Before(oldest) {
			oldest = p.Captured
		}
	}
	return oldest
}

// databaseURI returns the source of the database. A database that was imported from a file is named
// by its content.
func databaseURI(db policy.Database) string {
	if strings.Contains(db.Source, "://") {
		return db.Source
	}
	return "urn:" + db.Digest
}

// packageName returns the purl of a package, or name@version if there is none.
func packageName(p policy.Package) string {
	return cmp.Or(p.PURL, p.Name+"@"+p.Version)
}
