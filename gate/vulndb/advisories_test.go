package vulndb

import (
	"testing"

	"github.com/anchore/grype/grype/distro"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// TestNothingIsCountedTwice checks that each advisory is counted once, and that advisories for
// another release or type are not counted.
func TestNothingIsCountedTwice(t *testing.T) {
	db := openDB(t, install(t))
	for range 2 { // The first result comes from the database, the second one from the cache.
		for _, tt := range []struct {
			d    *distro.Distro
			want int
		}{
			{release("debian", "12", "bookworm"), 6},
			{release("debian", "12.5", "bookworm"), 6},
			{release("debian", "13", "trixie"), 1},
			{release("debian", "99", ""), 0},
			{release("alpine", "3.18.4", ""), 2},
			{release("alpine", "3.99.0", ""), 0},
			{release("almalinux", "9.4", ""), 2},
			{nil, 0},
		} {
			if got, err := db.CountRelease(t.Context(), tt.d); err != nil || got != (Advisories{Count: tt.want}) {
				t.Errorf("%s: %+v and %v, want %d", tt.d, got, err, tt.want)
			}
		}
		for typ, want := range map[syftpkg.Type]int{"npm": 7, "python": 1, "gem": 3, "rust-crate": 0, "deb": 0, "x' OR 1=1 --": 0, "": 0} {
			if got, err := db.CountType(t.Context(), typ); err != nil || got != (Advisories{Count: want}) {
				t.Errorf("%s: %+v and %v, want %d", typ, got, err, want)
			}
		}
		if got, err := db.CountCPEs(t.Context()); err != nil || got.Count == 0 || got.AtLeast {
			t.Errorf("by CPE: %+v and %v", got, err)
		}
	}
}

func TestCountFailsWithoutADatabase(t *testing.T) {
	db := openDB(t, install(t))
	if err := db.reader.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := db.CountRelease(t.Context(), release("debian", "12", "bookworm")); err == nil {
		t.Errorf("a release: %+v without an error", got)
	}
	if got, err := db.CountType(t.Context(), "npm"); err == nil {
		t.Errorf("a type: %+v without an error", got)
	}
	if got, err := db.CountCPEs(t.Context()); err == nil {
		t.Errorf("CPEs: %+v without an error", got)
	}
}

// TestCountingIsBounded checks that counting the rows of an endless query stops at the limit.
func TestCountingIsBounded(t *testing.T) {
	db := openDB(t, install(t))
	got, err := db.countRows(t.Context(), "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
	if want := (Advisories{Count: maxAdvisories, AtLeast: true}); err != nil || got != want {
		t.Errorf("%+v and %v, want %+v", got, err, want)
	}
}
