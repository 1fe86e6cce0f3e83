package vulndb

import (
	"strings"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
)

// TestPreloadedNamesGiveTheSameAnswers checks that searches for preloaded names give the same
// results as other searches, in every letter case, even if only one of the two database tables has
// rows about a name.
func TestPreloadedNamesGiveTheSameAnswers(t *testing.T) {
	dir := install(t)
	tamper(t, dir,
		"INSERT INTO unaffected_package_handles (vulnerability_id, operating_system_id, package_id, blob_id) SELECT vulnerability_id, operating_system_id, package_id, blob_id FROM affected_package_handles WHERE id % 2 = 0",
		"DELETE FROM affected_package_handles WHERE id % 4 = 0",
		"INSERT INTO packages (ecosystem, name) VALUES ('npm', 'Über-Straße'), ('deb', 'nothing-about-it')",
		"UPDATE packages SET name = CAST(x'62726F6B656EFF' AS TEXT) WHERE id = (SELECT package_id FROM affected_package_handles LIMIT 1)")
	plain, expecting := openDB(t, dir), openDB(t, dir)

	var names []string
	if err := plain.reader.GetDB().Raw("SELECT DISTINCT name FROM packages").Scan(&names).Error; err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		names = append(names, strings.ToUpper(name))
	}
	names = append(names, "no-such-package", "json-schema' OR '1'='1", "üBER-STRASSE", "json-\u017fchema", "broken\xff", "broken\ufffd")
	if err := expecting.Preload(t.Context(), append([]string{""}, names...)); err != nil {
		t.Fatal(err)
	}

	var found, absent, only int
	for _, name := range names {
		for _, ecosystem := range []string{"", "npm", "deb"} {
			spec := func() *v6.PackageSpecifier { return &v6.PackageSpecifier{Name: name, Ecosystem: ecosystem} }
			wantA, errA := plain.reader.GetAffectedPackages(spec(), nil)
			gotA, gotErrA := expecting.reader.GetAffectedPackages(spec(), nil)
			wantU, errU := plain.reader.GetUnaffectedPackages(spec(), nil)
			gotU, gotErrU := expecting.reader.GetUnaffectedPackages(spec(), nil)
			if errA != nil || errU != nil || gotErrA != nil || gotErrU != nil {
				t.Fatal(errA, errU, gotErrA, gotErrU)
			}
			if len(gotA) != len(wantA) || len(gotU) != len(wantU) {
				t.Errorf("%q in %q: %d affected and %d unaffected, want %d and %d", name, ecosystem, len(gotA), len(gotU), len(wantA), len(wantU))
			}
			found, only = found+len(gotA), only+len(gotU)
		}
		if there, known := expecting.reader.present.of(name); !known {
			t.Errorf("%q is not known", name)
		} else if !there.affected && !there.unaffected {
			absent++
		}
	}
	if there, _ := expecting.reader.present.of("Broken\xff"); !there.affected && !there.unaffected {
		t.Error("a name that is not UTF-8 is treated as another name")
	}
	if found == 0 || only == 0 || absent < 4 {
		t.Errorf("%d rows, %d of the other kind, %d names without any: the test proves nothing", found, only, absent)
	}
}

// TestPreloadFromAFailingDatabase checks that an unreadable database does not look like an empty
// one.
func TestPreloadFromAFailingDatabase(t *testing.T) {
	db := openDB(t, install(t))
	if err := db.Preload(t.Context(), []string{"no-such-package"}); err != nil {
		t.Fatal(err)
	}
	if err := db.reader.Close(); err != nil {
		t.Fatal(err)
	}
	if found, err := db.reader.GetAffectedPackages(&v6.PackageSpecifier{Name: "No-Such-Package"}, nil); err != nil || len(found) != 0 {
		t.Errorf("a preloaded name is not answered from memory: %d, %v", len(found), err)
	}
	if _, err := db.reader.GetAffectedPackages(&v6.PackageSpecifier{Name: "json-schema"}, nil); err == nil {
		t.Error("a search in a closed database succeeded")
	}
	wantError(t, db.Preload(t.Context(), []string{"json-schema"}), "looking up 1 package names")
	if _, known := db.reader.present.of("json-schema"); known {
		t.Error("names of a failed Preload are known")
	}
}
