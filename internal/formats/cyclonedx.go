package formats

import (
	"cmp"
	"io"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// CycloneDXVEX writes the vulnerabilities as a CycloneDX 1.6 document with an analysis of each. A
// vulnerability that blocks or warns is exploitable, which in CycloneDX means that it may be. One
// that an exception covers is exploitable with the response will_not_fix until the exception ends.
// Only a VEX statement makes a vulnerability not affected or resolved.
//
// The metadata has the verdict and the counts. Problems that are not vulnerabilities are only
// counted there.
func CycloneDXVEX(w io.Writer, r report.Report) error {
	bom := cdx.NewBOM()
	bom.SpecVersion, bom.JSONSchema = cdx.SpecVersion1_6, "http://cyclonedx.org/schema/bom-1.6.schema.json"
	bom.SerialNumber = "urn:uuid:" + uuid(r.Input.Image.Repository+" "+r.Input.Image.Digest+" "+r.Finished.UTC().String())
	root := imageRef(r)
	bom.Metadata = &cdx.Metadata{
		Tools:      &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: toolName, Version: name(r.Tool.Version)}}},
		Component:  &cdx.Component{Type: cdx.ComponentTypeContainer, BOMRef: root, Name: cmp.Or(name(r.Input.Image.Repository), "image"), Version: name(r.Input.Image.Digest)},
		Properties: properties(facts(r)...),
	}
	if !r.Finished.IsZero() {
		bom.Metadata.Timestamp = r.Finished.UTC().Format(time.RFC3339)
	}
	components, vulnerabilities := []cdx.Component{}, []cdx.Vulnerability{}
	known := map[string]bool{}
	for _, p := range problems(r) {
		if p.Finding == nil {
			continue
		}
		one := component(&p)
		if !known[one.BOMRef] {
			known[one.BOMRef] = true
			components = append(components, one)
		}
		vulnerabilities = append(vulnerabilities, vulnerability(&p, one.BOMRef))
	}
	bom.Components, bom.Vulnerabilities = &components, &vulnerabilities
	return report.WriteJSON(w, bom)
}

// properties returns CycloneDX properties in imagegate's namespace. Facts with an empty value are
// omitted.
func properties(facts ...fact) *[]cdx.Property {
	var out []cdx.Property
	for _, f := range facts {
		if f.value != "" {
			out = append(out, cdx.Property{Name: toolName + ":" + f.name, Value: f.value})
		}
	}
	return &out
}

// imageRef returns the reference (bom-ref) of the image in a CycloneDX document.
func imageRef(r report.Report) string {
	return "image:" + cmp.Or(name(r.Input.Image.Digest), "unknown")
}

// component returns the CycloneDX component for the package of a problem. Equal packages have equal
// references (bom-ref).
func component(p *problem) cdx.Component {
	c := cdx.Component{Type: cdx.ComponentTypeLibrary, Name: cmp.Or(p.Name, "unknown"), Version: p.Version}
	if isPURL(p.PURL) {
		c.PackageURL = p.PURL
	}
	c.BOMRef = "package:" + uuid(p.Name+" "+p.Version+" "+p.Type+" "+p.PURL)
	return c
}

func vulnerability(p *problem, ref string) cdx.Vulnerability {
	f := p.Finding
	v := cdx.Vulnerability{BOMRef: "problem:" + p.Fingerprint, ID: cmp.Or(p.ID, "unknown"), Description: clean(f.Description), Recommendation: p.Do(),
		Affects: &[]cdx.Affects{{Ref: ref}}, Ratings: ratings(p), Analysis: analysis(p),
		Properties: properties(fact{"status", p.Status.String()}, fact{"rule", p.Rule}, fact{"platforms", p.On()}, fact{"path", p.Path})}
	if source := (cdx.Source{Name: name(f.Namespace), URL: p.URL()}); source != (cdx.Source{}) {
		v.Source = &source
	}
	if id := strings.Trim(cve(f), " ()"); id != "" {
		v.References = &[]cdx.VulnerabilityReference{{ID: id, Source: &cdx.Source{Name: "NVD", URL: webAddress("https://nvd.nist.gov/vuln/detail/" + id)}}}
	}
	if !f.Published.IsZero() {
		v.Published = f.Published.UTC().Format(time.RFC3339)
	}
	return v
}

func ratings(p *problem) *[]cdx.VulnerabilityRating {
	severity := cdx.Severity(p.Severity())
	switch p.Finding.Severity {
	case evidence.SeverityNegligible:
		severity = cdx.SeverityInfo
	case evidence.SeverityUnknown:
		severity = cdx.SeverityUnknown
	}
	out := []cdx.VulnerabilityRating{{Severity: severity}}
	for _, c := range p.Finding.CVSS {
		score := c.Score
		method, known := map[string]cdx.ScoringMethod{"2": cdx.ScoringMethodCVSSv2, "2.0": cdx.ScoringMethodCVSSv2, "3.0": cdx.ScoringMethodCVSSv3,
			"3": cdx.ScoringMethodCVSSv3, "3.1": cdx.ScoringMethodCVSSv31, "4.0": cdx.ScoringMethodCVSSv4}[c.Version]
		if !known {
			method = cdx.ScoringMethodOther
		}
		out = append(out, cdx.VulnerabilityRating{Score: &score, Method: method, Vector: name(c.Vector), Source: &cdx.Source{Name: cmp.Or(name(c.Source), "unknown")}})
	}
	return &out
}

// analysis returns the CycloneDX analysis of a vulnerability. Without a VEX statement, its state is
// always exploitable.
func analysis(p *problem) *cdx.VulnerabilityAnalysis {
	out := &cdx.VulnerabilityAnalysis{State: cdx.IASExploitable, Detail: p.Note}
	if p.Note == "" {
		out.Detail = p.Rule
	}
	switch {
	case p.Status == report.Excepted:
		out.Response = &[]cdx.ImpactAnalysisResponse{cdx.IARWillNotFix}
	case p.Status == report.NotAffected && p.Statement != nil && p.Statement.Status == evidence.VEXFixed:
		out.State = cdx.IASResolved
	case p.Status == report.NotAffected:
		out.State = cdx.IASNotAffected
		if p.Statement != nil {
			out.Justification = cycloneDXJustifications[p.Statement.Justification]
		}
	case p.Fixed != "":
		out.Response = &[]cdx.ImpactAnalysisResponse{cdx.IARUpdate}
	}
	return out
}

// cycloneDXJustifications maps the justifications of OpenVEX to the closest justifications of
// CycloneDX.
var cycloneDXJustifications = map[string]cdx.ImpactAnalysisJustification{
	"component_not_present":                             cdx.IAJCodeNotPresent,
	"vulnerable_code_not_present":                       cdx.IAJCodeNotPresent,
	"vulnerable_code_not_in_execute_path":               cdx.IAJCodeNotReachable,
	"vulnerable_code_cannot_be_controlled_by_adversary": cdx.IAJRequiresEnvironment,
	"inline_mitigations_already_exist":                  cdx.IAJProtectedByMitigatingControl,
}
