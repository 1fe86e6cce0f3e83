package vex

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	digest  = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	image   = "pkg:oci/app@sha256%3Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?repository_url=registry.example/team/app"
	openssl = "pkg:deb/debian/openssl@3.0.11-1~deb12u2"
	ghsa    = "GHSA-9v9h-cgj8-h64p"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParse(t *testing.T) {
	at := func(month time.Month, day, hour, minute int) time.Time {
		return time.Date(2026, month, day, hour, minute, 0, 0, time.UTC)
	}
	no := []string{} // an empty list of products, which matches nothing
	base := func(doc, author, id string, s Status, when time.Time) Statement {
		out := Statement{ID: id, Status: s, Document: doc, Author: author, Timestamp: when}
		if id == "CVE-2024-0727" {
			out.Aliases = []string{ghsa}
		}
		return out
	}
	of := func(s Statement, justification, impact string, products, inside []string) Statement {
		s.Justification, s.Impact, s.Products, s.Subcomponents = justification, impact, products, inside
		return s
	}
	const why = "PKCS12 files are never read."

	const o, cdx, c = "https://example.com/vex/2026-001", "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79", "EXAMPLE-2026-001"
	openvexNot := base(o, "Example Security Team", "CVE-2024-0727", NotAffected, at(1, 10, 10, 0))
	cdxNot := base(cdx, "Example", "CVE-2024-0727", NotAffected, at(1, 12, 8, 0))
	csafNot := base(c, "Example", "CVE-2024-0727", NotAffected, at(1, 12, 10, 0))
	for name, want := range map[string][]Statement{
		"openvex.json": {
			of(openvexNot, "vulnerable_code_not_in_execute_path", why, []string{image, digest}, []string{openssl + "?arch=amd64&distro=debian-12"}),
			of(openvexNot, "vulnerable_code_not_in_execute_path", why, []string{"pkg:npm/ip@2.0.1"}, nil),
			of(base(o, "Example Security Team", "CVE-2021-3918", Fixed, at(2, 1, 10, 30)), "", "", no, nil),
			of(base(o, "Example Security Team", "CVE-2025-1", Affected, at(1, 10, 10, 0)), "", "", no, nil),
		},
		"cyclonedx.json": {
			of(cdxNot, "vulnerable_code_not_in_execute_path", why, []string{digest}, []string{openssl}),
			of(cdxNot, "vulnerable_code_not_in_execute_path", why, []string{digest}, nil),
			of(cdxNot, "vulnerable_code_not_in_execute_path", why, no, nil),
			of(cdxNot, "vulnerable_code_not_in_execute_path", why, no, nil),
			of(base(cdx, "Example", "CVE-2025-1", Affected, at(1, 10, 10, 0)), "", "", []string{digest}, []string{openssl}),
			of(base(cdx, "Example", "CVE-2025-2", Fixed, at(1, 10, 10, 0)), "", "", no, nil),
			of(base(cdx, "Example", "CVE-2025-2", Fixed, at(1, 10, 10, 0)), "", "", []string{digest}, []string{"pkg:npm/ip@2.0.1"}),
		},
		"csaf.json": {
			of(csafNot, "vulnerable_code_not_in_execute_path", why, no, nil),
			of(csafNot, "vulnerable_code_not_in_execute_path", why, []string{digest}, []string{openssl}),
			of(base(c, "Example", "CVE-2024-0727", Fixed, at(1, 12, 10, 0)), "", "", []string{openssl}, nil),
			of(csafNot, "", why, no, nil),
		},
	} {
		got, err := Parse(name, read(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestInvalidDocumentIsAnError edits a valid document in several ways, and checks that each edit
// makes the whole document invalid.
func TestInvalidDocumentIsAnError(t *testing.T) {
	for _, c := range []struct{ file, old, new, says string }{
		{"openvex.json", `"not_affected"`, `"notaffected"`, "invalid status"},
		{"openvex.json", `"vulnerable_code_not_in_execute_path"`, `"because"`, "invalid justification"},
		{"openvex.json", `"subcomponents"`, `"subcomponent"`, "unknown field"},
		{"openvex.json", `"status": "not_affected"`, `"status": "fixed", "status": "not_affected"`, "repeated"},
		{"openvex.json", `openvex.dev/ns/v0.2.0`, `openvex.dev/ns`, "unsupported @context"},
		{"openvex.json", `"timestamp": "2026-01-10T10:00:00Z",`, ``, "timestamp is missing"},
		{"openvex.json", `"timestamp": "2026-01-10T10:00:00Z",`, `"timestamp": "soon",`, "parsing time"},
		{"openvex.json", `"CVE-2024-0727"`, `"*"`, "no name"},
		{"openvex.json", `"author": "Example Security Team",`, ``, "author is missing"},
		{"openvex.json", `"justification": "vulnerable_code_not_in_execute_path",
      "impact_statement": "PKCS12 files are never read."`, `"status_notes": "trust us"`, "either justification"},
		{"cyclonedx.json", `"state": "not_affected"`, `"state": "fine"`, "analysis state"},
		{"cyclonedx.json", `"code_not_reachable"`, `"because"`, "analysis justification"},
		{"cyclonedx.json", `"justification": "code_not_reachable", "detail": "PKCS12 files are never read.",`, ``, "needs a justification"},
		{"cyclonedx.json", `"specVersion": "1.5"`, `"specVersion": "1.3"`, "1.4 or later"},
		{"cyclonedx.json", `{"ref": "image"}`, `{"ref": "nobody"}`, "not in the BOM"},
		{"cyclonedx.json", `"bom-ref": "unnamed"`, `"bom-ref": "openssl"`, "two components"},
		{"cyclonedx.json", `"2026-01-12T08:00:00Z"`, `"yesterday"`, "no valid date"},
		{"csaf.json", `"csaf_vex"`, `"csaf_base"`, "category"},
		{"csaf.json", `"status": "final"`, `"status": "draft"`, "final or interim"},
		{"csaf.json", `"fixed": ["openssl"]`, `"fixed": ["app:openssl"]`, "both"},
		{"csaf.json", `"fixed": ["openssl"]`, `"fixed": ["other"]`, "not in the product tree"},
		{"csaf.json", `"product_id": "unnamed"`, `"product_id": "openssl"`, "used twice"},
		{"csaf.json", `"threats": [{"category": "impact", "details": "PKCS12 files are never read."}]`, `"title": "x"`, "needs a justification"},
		{"csaf.json", `"csaf_version": "2.0"`, `"csaf_version": "9.0"`, "must be 2.0"},
		{"csaf.json", `"label": "vulnerable_code_not_in_execute_path"`, `"label": "because"`, "unknown justification flag"},
		{"csaf.json", `"known_not_affected"`, `"not_affected"`, "unknown product status"},
		{"csaf.json", `"default_component_of"`, `"somewhere_near"`, "unknown category"},
		{"csaf.json", `"group_ids": ["both"]`, `"group_ids": ["all"]`, "group "},
		{"csaf.json", `"current_release_date": "2026-01-12T10:00:00Z"`, `"current_release_date": "soon"`, "release date"},
	} {
		text := string(read(t, c.file))
		edited := strings.Replace(text, c.old, c.new, 1)
		if edited == text {
			t.Fatalf("%s has no %s", c.file, c.old)
		}
		got, err := Parse(c.file, []byte(edited))
		if err == nil || got != nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %s: %v, %v", c.file, c.new, got, err)
		}
	}
	for name, text := range map[string]string{
		"empty": ``, "null": `null`, "list": `[]`, "nothing": `{}`, "cut": `{"@context": "https://openvex.dev/ns/v0.2.0"`,
		"two formats": `{"@context": "x", "bomFormat": "CycloneDX"}`,
		"more":        `{} {}`,
		"deep":        strings.Repeat(`[`, 1000) + strings.Repeat(`]`, 1000),
		"large":       `{"@context": "` + strings.Repeat("x", maxBytes) + `"}`,
		"SBOM":        `{"bomFormat": "CycloneDX", "specVersion": "1.5"}`,
	} {
		if got, err := Parse(name, []byte(text)); err == nil || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestStatementWithoutProductsAppliesToSubjects(t *testing.T) {
	const doc = `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "y", "timestamp": "2026-01-10T10:00:00Z", "version": 1,
		"statements": [{"vulnerability": {"name": "CVE-1"}, "status": "fixed"},
			{"vulnerability": {"name": "CVE-2"}, "status": "fixed", "products": [{"@id": "https://example.com/other"}]}]}`
	got, err := FromAttestation("https://openvex.dev/ns/v0.2.0", []byte(doc), []string{digest})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{digest}, {}}, [][]string{got[0].Products, got[1].Products}); diff != "" {
		t.Error(diff)
	}
	for _, kind := range []string{"", "https://openvex.dev/nsx", "https://cyclonedx.org/bom", "https://spdx.dev/Document"} {
		if _, err := FromAttestation(kind, []byte(doc), []string{digest}); err == nil {
			t.Errorf("%q is taken for VEX", kind)
		}
	}
}

// FuzzParse checks that every statement that Parse accepts is complete.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"openvex.json", "cyclonedx.json", "csaf.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse("fuzz", data)
		if err != nil {
			if got != nil {
				t.Errorf("statements with an error: %v", got)
			}
			return
		}
		if !json.Valid(data) {
			t.Error("accepted what is no JSON")
		}
		for _, s := range got {
			if err := s.check(); err != nil {
				t.Error(err)
			}
			for _, p := range s.Products {
				if !isPURL(p) && imageDigest(p) != p {
					t.Errorf("product %q", p)
				}
			}
		}
	})
}
