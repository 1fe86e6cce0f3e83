package vulndb

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// TestFailingDatabaseIsNotClean checks that Err reports a failing database. grype's language
// matchers return no matches and no error for such a database.
func TestFailingDatabaseIsNotClean(t *testing.T) {
	db := openDB(t, install(t))
	if err := db.reader.Close(); err != nil {
		t.Fatal(err)
	}
	if found := matches(t, db, packageOf(syftpkg.NpmPkg, "json-schema", "0.3.0", "")); len(found) != 0 {
		t.Fatalf("a closed database has found %v", ids(found))
	}
	wantError(t, db.Err(), "searching for vulnerabilities")
}

// TestUnreadableDetailsAreNotAbsentDetails checks that Err reports unreadable KEV, EPSS or CWE
// data. grype replaces such data with an empty list.
func TestUnreadableDetailsAreNotAbsentDetails(t *testing.T) {
	for table, want := range map[string]string{
		"known_exploited_vulnerability_handles": "known exploits of CVE-2021-3918",
		"cwe_handles":                           "weaknesses of CVE-2021-3918",
	} {
		t.Run(table, func(t *testing.T) {
			dir := install(t)
			tamper(t, dir, "DROP TABLE "+table)
			db := openDB(t, dir)
			if found := matches(t, db, packageOf(syftpkg.NpmPkg, "json-schema", "0.3.0", "")); len(found) != 1 {
				t.Errorf("found %v", ids(found))
			}
			wantError(t, db.Err(), want)
		})
	}
}

// TestRowWithoutContentIsNotSkipped checks that Err reports rows without content. grype skips these
// rows.
func TestRowWithoutContentIsNotSkipped(t *testing.T) {
	dir := install(t)
	tamper(t, dir, "DELETE FROM blobs WHERE id IN (SELECT blob_id FROM affected_package_handles)")
	db := openDB(t, dir)
	matches(t, db, packageOf(syftpkg.NpmPkg, "json-schema", "0.3.0", ""))
	wantError(t, db.Err(), "a database row has no content")
}

func TestUnreadableEPSSIsAnError(t *testing.T) {
	dir := install(t)
	db := openDB(t, dir)
	if err := db.reader.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.reader.GetEpss("CVE-2021-3918"); err == nil {
		t.Error("a search in a closed database succeeded")
	}
	wantError(t, db.Err(), "EPSS score of CVE-2021-3918")

	tamper(t, dir, "DROP TABLE epss_handles")
	_, err := Open(t.Context(), dir)
	wantProblem(t, err, Corrupt)
}

func TestMissingEPSSDateIsNotAMissingFeed(t *testing.T) {
	dir := install(t)
	tamper(t, dir, "DELETE FROM epss_metadata")
	_, err := Open(t.Context(), dir)
	wantProblem(t, err, Corrupt)

	// A database without EPSS data has no date of the scores. This is not an error.
	from := t.TempDir()
	copyTree(t, filepath.Join(records, "github"), filepath.Join(from, "github"))
	dir = t.TempDir()
	importFile(t, dir, mirror(t, from, built).Archive)
	db := openDB(t, dir)
	if found := matches(t, db, packageOf(syftpkg.NpmPkg, "json-schema", "0.3.0", "")); len(found) != 1 {
		t.Errorf("found %v", ids(found))
	}
	if err := db.Err(); err != nil {
		t.Error(err)
	}
}

// TestProviderKeepsItsOtherInterfaces checks that Provider still implements the interfaces that
// grype finds by type assertion.
func TestProviderKeepsItsOtherInterfaces(t *testing.T) {
	db := openDB(t, install(t))
	eol, ok := db.Provider().(vulnerability.EOLChecker)
	if !ok {
		t.Fatal("the provider does not implement EOLChecker")
	}
	if day, _, err := eol.GetOperatingSystemEOL(release("debian", "8", "jessie")); err != nil || day == nil {
		t.Errorf("end of life is %v, %v", day, err)
	}
	origin, ok := db.Provider().(vulnerability.StoreMetadataProvider)
	if !ok {
		t.Fatal("the provider does not implement StoreMetadataProvider")
	}
	if p, err := origin.DataProvenance(); err != nil || len(p) != 11 || p["debian"].InputDigest == "" {
		t.Errorf("providers are %v, %v", p, err)
	}
}

func TestClosingTheProviderKeepsTheDatabaseOpen(t *testing.T) {
	db := openDB(t, install(t))
	if err := db.Provider().Close(); err != nil {
		t.Fatal(err)
	}
	if got := ids(matches(t, db, packageOf(syftpkg.NpmPkg, "ip", "1.0.0", ""))); !slices.Equal(got, []string{"GHSA-2p57-rm9w-gvfp"}) {
		t.Errorf("found %v", got)
	}
}

func TestOneDatabaseServesManyGoroutines(t *testing.T) {
	db := openDB(t, install(t))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := ids(matches(t, db, packageOf(syftpkg.DebPkg, "bind9", "1:9.18.1-1", "debian 12"))); !slices.Equal(got, []string{"CVE-2022-38178"}) {
				t.Errorf("found %v", got)
			}
		})
	}
	wg.Wait()
	if err := db.Err(); err != nil {
		t.Error(err)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	f := &failures{}
	f.add("doing nothing", nil)
	if f.err() != nil {
		t.Error("failures reports an error that was not added")
	}
	boom := errors.New("boom")
	for range maxFailures + 5 {
		f.add("reading", boom)
	}
	if err := f.err(); !errors.Is(err, boom) || len(f.first) != maxFailures {
		t.Errorf("kept %d: %v", len(f.first), err)
	}
	wantError(t, f.err(), "and 5 more errors")
}
