package gate

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/policy/evidence"
)

// databaseOf returns a vulnerability database that is built from the example records. The function
// change can modify a copy of the records before the build.
func databaseOf(t *testing.T, change func(records string) error) *vulndb.DB {
	t.Helper()
	dir := t.TempDir()
	records, archive := filepath.Join(dir, "records"), filepath.Join(dir, "database.tar.gz")
	if err := os.CopyFS(records, os.DirFS("../examples/records")); err != nil {
		t.Fatal(err)
	}
	if err := change(records); err != nil {
		t.Fatal(err)
	}
	if _, err := vulndb.Build(t.Context(), vulndb.BuildOptions{From: records, To: archive, TempDir: dir, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	if _, err := vulndb.Import(t.Context(), vulndb.ImportOptions{Dir: filepath.Join(dir, "db"), File: archive, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	db, err := vulndb.Open(t.Context(), filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// databaseWithout returns a vulnerability database built from the example records without some of
// their folders.
func databaseWithout(t *testing.T, folders ...string) *vulndb.DB {
	t.Helper()
	return databaseOf(t, func(records string) error {
		for _, folder := range folders {
			if err := os.RemoveAll(filepath.Join(records, folder)); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestDatabaseWithoutATypeIsNotClean checks that an image is denied if the database has no
// advisories for one of its package types. An unknown distribution has the same effect.
func TestDatabaseWithoutATypeIsNotClean(t *testing.T) {
	h := newTester(t)
	spec := clean
	spec.NPM = []lab.NPM{{Name: "json-schema", Version: "0.3.0"}}
	spec.Files = []lab.File{{Path: "usr/lib/R/library/abc/DESCRIPTION", Content: "Package: abc\nVersion: 1.0\n"}}
	src := h.push("app:1", h.image(spec))

	unmatched := func(db *vulndb.DB, yaml string) (*Result, []evidence.Unmatched) {
		r := h.check(h.gate(yaml, func(o *Options) { o.Database = db }), src)
		var out []evidence.Unmatched
		for _, u := range r.Input.Platforms[0].Unmatched {
			if u.Reason == evidence.TypeNotInDatabase {
				out = append(out, u)
			}
		}
		return r, out
	}
	npm := evidence.Unmatched{Type: "npm", Packages: 1, Reason: evidence.TypeNotInDatabase, Detail: "json-schema"}
	r := evidence.Unmatched{Type: "R-package", Packages: 1, Reason: evidence.TypeNotInDatabase, Detail: "abc"}

	// R packages are covered, because matchers search for them by CPE, and the NVD records have
	// CPEs.
	if _, got := unmatched(database, blockCritical); len(got) > 0 {
		t.Errorf("with all records: %+v", got)
	}
	noLanguages := databaseWithout(t, "github")
	result, got := unmatched(noLanguages, blockCritical)
	if diff := cmp.Diff([]evidence.Unmatched{npm}, got); diff != "" {
		t.Error(diff)
	}
	if result.Decision.Passed || len(result.Input.Platforms[0].Findings) > 0 {
		t.Errorf("passed is %v with %d findings", result.Decision.Passed, len(result.Input.Platforms[0].Findings))
	}
	if _, got := unmatched(databaseWithout(t, "github", "nvd"), blockCritical); cmp.Diff([]evidence.Unmatched{r, npm}, got) != "" {
		t.Errorf("without NVD: %+v", got)
	}
	if _, got := unmatched(databaseWithout(t, "github/results/npm"), blockCritical); cmp.Diff([]evidence.Unmatched{npm}, got) != "" {
		t.Errorf("with a provider that has nothing about npm: %+v", got)
	}
	if result, _ := unmatched(noLanguages, blockCritical+"distribution: {notCovered: warn}\n"); !result.Decision.Passed || len(result.Decision.Warnings) != 1 {
		t.Errorf("passed is %v with %d warnings where the policy only warns", result.Decision.Passed, len(result.Decision.Warnings))
	}
}
