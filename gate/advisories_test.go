package gate

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/policy/evidence"
)

// TestEvidenceSaysHowMuchTheDatabaseHas checks that the evidence has the number of advisories for
// the distribution and for each type of package in the image, even if this number is 0.
func TestEvidenceSaysHowMuchTheDatabaseHas(t *testing.T) {
	h := newTester(t)
	spec := clean
	spec.NPM = []lab.NPM{{Name: "json-schema", Version: "0.4.0"}}
	spec.Files = []lab.File{{Path: "usr/lib/R/library/abc/DESCRIPTION", Content: "Package: abc\nVersion: 1.0\n"}}
	src := h.push("app:1", h.image(spec))
	counted := func(folders ...string) []evidence.Advisories {
		t.Helper()
		db := database
		if len(folders) > 0 {
			db = databaseWithout(t, folders...)
		}
		return h.check(h.gate(blockCritical, func(o *Options) { o.Database = db }), src).Input.Database.Advisories
	}
	debian := evidence.Advisories{Distribution: "debian 12", Count: 6}
	if diff := cmp.Diff([]evidence.Advisories{debian, {Type: "R-package", Count: 32, ByCPE: true}, {Type: "npm", Count: 7}}, counted()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]evidence.Advisories{debian, {Type: "R-package", ByCPE: true}, {Type: "npm"}}, counted("github", "nvd")); diff != "" {
		t.Error(diff)
	}
}

// TestOtherDatabaseNeverPasses checks that an image is denied if the database has too few
// advisories for the image's distribution, even if the policy only warns about unmatched packages.
func TestOtherDatabaseNeverPasses(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(clean))
	const warns = blockCritical + "distribution: {notCovered: warn}\n"
	r := h.check(h.gate(warns, func(o *Options) { o.Database = databaseWithout(t, "debian", "github") }), src)
	if r.Decision.Passed || r.Decision.Violations[0].Rule != "database.minAdvisories" {
		t.Errorf("passed is %v: %+v", r.Decision.Passed, r.Decision.Violations)
	}
	if r := h.check(h.gate(warns), src); !r.Decision.Passed {
		t.Errorf("denied with the whole database: %+v", r.Decision.Violations)
	}
	if r := h.check(h.gate(warns+"database: {minAdvisories: 7}\n"), src); r.Decision.Passed {
		t.Error("passed with fewer advisories than the policy asks for")
	}
	if r := h.check(h.gate(warns+"database: {minAdvisories: 6}\n"), src); !r.Decision.Passed {
		t.Errorf("denied with as many as the policy asks for: %+v", r.Decision.Violations)
	}
}

// TestTypeOfOwnedPackagesIsNotCounted checks that advisories are not counted for a package type if
// the distribution owns all its packages. The distribution's advisories cover such packages, so a
// minimum count for their type would deny the image without a reason.
func TestTypeOfOwnedPackagesIsNotCounted(t *testing.T) {
	h := newTester(t)
	spec := owning(lab.File{Path: "usr/share/nodejs/a/package.json", Content: `{"name":"a","version":"1.0.0"}`})
	spec.NPM = nil
	r := h.check(h.gate(blockCritical+"database: {minAdvisories: 6}\n", func(o *Options) { o.Database = databaseWithout(t, "github") }),
		h.push("app:1", h.image(spec)))
	if diff := cmp.Diff([]evidence.Advisories{{Distribution: "debian 12", Count: 6}}, r.Input.Database.Advisories); diff != "" {
		t.Error(diff)
	}
	if !r.Decision.Passed {
		t.Errorf("denied: %+v", r.Decision.Violations)
	}
}
