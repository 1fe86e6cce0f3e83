package formats

import (
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	openvex "github.com/openvex/go-vex/pkg/vex"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/vex"
)

func TestCycloneDXVEXIsValid(t *testing.T) {
	s := compileSchema(t, moduleFile(t, "github.com/CycloneDX/cyclonedx-go", "schema/bom-1.6.schema.json"))
	reports := outcomes(t)
	reports["30000 findings"] = manyFindings()
	for name, r := range reports {
		if data, err := write(t, row(t, "cyclonedx-vex"), r); err == nil {
			valid(t, s, name, data)
		} else if r.Decision != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenVEXIsValid(t *testing.T) {
	s := compileSchema(t, shared(t, "openvex-0.2.0.schema.json"))
	reports := outcomes(t)
	reports["30000 findings"] = manyFindings()
	for name, r := range reports {
		data, err := write(t, row(t, "openvex"), r)
		if possible := r.Decision != nil && hasVulnerability(r) == nil; possible != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			valid(t, s, name, data)
		}
	}
	if data, err := write(t, row(t, "openvex"), outcomes(t)["no findings"]); err == nil {
		t.Errorf("a document without statements, which no reader accepts: %s", data)
	}
}

// TestOnlyVEXStatementsRemoveVulnerabilities checks that a scanner which applies the written VEX
// document removes exactly the vulnerabilities that VEX statements removed in the report. It must
// not remove one that blocks, warns or is excepted.
func TestOnlyVEXStatementsRemoveVulnerabilities(t *testing.T) {
	for _, format := range []string{"cyclonedx-vex", "openvex"} {
		for name, r := range outcomes(t) {
			data, err := write(t, row(t, format), r)
			if err != nil || name == "hostile" {
				continue
			}
			statements, err := vex.Parse("vex.json", data)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, format, err)
			}
			removed := map[string]bool{} // a set, because a reader may list a statement once for each product
			for _, s := range statements {
				if s.Status == vex.NotAffected || s.Status == vex.Fixed {
					removed[s.ID] = true
				}
			}
			if want := r.Counts().NotAffected; len(removed) != want {
				t.Errorf("%s: %s removes %v, want %d vulnerabilities", name, format, removed, want)
			}
		}
	}
}

// TestOpenVEXNamesEveryDigest checks that a scanner can find a statement by the digest of the
// index, and by the digest of each platform that has the problem.
func TestOpenVEXNamesEveryDigest(t *testing.T) {
	data, err := write(t, row(t, "openvex"), outcomes(t)["denied"])
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range decode[openvex.VEX](t, data).Statements {
		var digests []string
		for _, p := range s.Products {
			digests = append(digests, string(p.Hashes[openvex.SHA256])[:4]+string(p.Hashes[openvex.SHA256])[60:])
		}
		if got := strings.Join(digests, " "); got != "abababab 00000001 00000002" {
			t.Errorf("digests %s", got)
		}
	}
}

// TestVEXStates checks the analysis of a vulnerability with each status.
func TestVEXStates(t *testing.T) {
	all := outcomes(t)
	for name, want := range map[string]struct {
		state  cdx.ImpactAnalysisState
		status openvex.Status
	}{
		"denied root": {cdx.IASExploitable, openvex.StatusAffected},
		"warned":      {cdx.IASExploitable, openvex.StatusAffected},
		"excepted":    {cdx.IASExploitable, openvex.StatusAffected},
		"vex":         {cdx.IASNotAffected, openvex.StatusNotAffected},
	} {
		data, err := write(t, row(t, "cyclonedx-vex"), all[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range *decode[cdx.BOM](t, data).Vulnerabilities {
			if v.Analysis.State != want.state || v.Analysis.Detail == "" {
				t.Errorf("%s: %+v", name, v.Analysis)
			}
			accepted := v.Analysis.Response != nil && (*v.Analysis.Response)[0] == cdx.IARWillNotFix
			if excepted := status(&v) == report.Excepted.String(); accepted != excepted {
				t.Errorf("%s: status %s, response %v", name, status(&v), v.Analysis.Response)
			}
		}
		if data, err = write(t, row(t, "openvex"), all[name]); err != nil {
			t.Fatal(err)
		}
		for _, s := range decode[openvex.VEX](t, data).Statements {
			if s.Status != want.status {
				t.Errorf("%s: status %s", name, s.Status)
			}
		}
	}
}

// status returns the property of v that has the status of the vulnerability.
func status(v *cdx.Vulnerability) string { return property(*v.Properties, "status") }

func property(list []cdx.Property, name string) string {
	for _, p := range list {
		if p.Name == "imagegate:"+name {
			return p.Value
		}
	}
	return ""
}
