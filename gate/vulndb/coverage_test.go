package vulndb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/syft/syft/linux"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

func release(id, version, codename string, like ...string) *distro.Distro {
	return distro.FromRelease(&linux.Release{ID: id, VersionID: version, VersionCodename: codename, IDLike: like}, distro.DefaultFixChannels())
}

func TestCoversKnownReleases(t *testing.T) {
	db := openDB(t, install(t))
	for _, d := range []*distro.Distro{
		release("debian", "12", "bookworm"),
		release("debian", "12.5", "bookworm"),
		release("debian", "", "forky"), // Debian unstable names itself forky, without a version
		release("raspbian", "12", "bookworm"),
		release("alpine", "3.18.4", ""),
		release("alpine", "3.23.0_alpha20250612", ""), // the version of Alpine edge
		release("ubuntu", "22.04", "jammy"),
		release("rhel", "9.4", ""),
		release("almalinux", "9.4", ""),
		release("rocky", "9.5", ""),
		release("centos", "7", ""),
		release("wolfi", "20230201", ""),
		release("debian", "", ""),
		distro.New(distro.RedHat, "9.4+eus", ""),
	} {
		if ok, err := db.Covers(t.Context(), d); err != nil || !ok {
			t.Errorf("%s: covered is %v, error is %v", d, ok, err)
		}
	}
}

// TestMissingDistributionIsNotClean checks that distributions without advisories are not covered.
// For each of them, grype returns no error and finds nothing, or finds advisories for another
// release.
func TestMissingDistributionIsNotClean(t *testing.T) {
	db := openDB(t, install(t))
	for _, d := range []*distro.Distro{
		nil,
		release("debian", "99", ""),
		release("debian", "9", "stretch"),
		release("alpine", "99.1", ""),
		release("alpine", "3.99.0", ""), // grype would match 3.99.0 against 3.18 to 3.22.
		release("alpine", "3", ""),
		release("ubuntu", "22.10", "kinetic"), // grype would match 22.10 against 22.04.
		release("ubuntu", "24.04", "noble"),
		release("rhel", "8.4", ""),
		release("fedora", "41", ""),
		release("chainguard", "20230214", ""),
		release("arch", "", ""),
		release("acmeos", "1", ""),
	} {
		if ok, err := db.Covers(t.Context(), d); err != nil || ok {
			t.Errorf("%v: covered is %v, error is %v", d, ok, err)
		}
	}
	if err := db.Err(); err != nil {
		t.Error(err)
	}
}

func TestCoversFailsWithoutADatabase(t *testing.T) {
	db := openDB(t, install(t))
	if err := db.reader.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := db.Covers(t.Context(), release("debian", "12", "bookworm")); err == nil || ok {
		t.Errorf("covered is %v without an error", ok)
	}
	if _, err := db.EndOfLife(release("rhel", "9.4", "")); err == nil {
		t.Error("there is an end of life without an error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Covers(ctx, release("debian", "12", "")); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestEndOfLife(t *testing.T) {
	db := openDB(t, install(t))
	for _, tt := range []struct {
		d    *distro.Distro
		want string
	}{
		{release("debian", "8", "jessie"), "2018-06-17"},
		{release("debian", "8.11", "jessie"), "2018-06-17"},
		{release("rhel", "9", ""), "2032-05-31"},
		{release("rhel", "9.4", ""), "2032-05-31"},
		{release("almalinux", "9.4", ""), ""}, // The date of RHEL does not apply to AlmaLinux.
		{release("debian", "12", "bookworm"), ""},
		{release("alpine", "3.99", ""), ""},
		{release("acmeos", "1", ""), ""},
		{nil, ""},
	} {
		got, err := db.EndOfLife(tt.d)
		if err != nil {
			t.Errorf("%v: %v", tt.d, err)
		}
		text := ""
		if !got.IsZero() {
			text = got.Format(time.DateOnly)
		}
		if text != tt.want {
			t.Errorf("%v ends %q, not %q", tt.d, text, tt.want)
		}
	}
}

// without builds and installs a database from the example records, except the records in the given
// folders of providers.
func without(t *testing.T, folders ...string) *DB {
	t.Helper()
	from := filepath.Join(t.TempDir(), "records")
	if err := os.CopyFS(from, os.DirFS(records)); err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if err := os.RemoveAll(filepath.Join(from, folder)); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	importFile(t, dir, build(t, from, t.TempDir(), built).Archive)
	return openDB(t, dir)
}

// TestTypeWithoutAdvisoriesIsNotCovered checks that a type without advisories is not covered. The
// result depends on the content of the database, not on the names of its providers.
func TestTypeWithoutAdvisoriesIsNotCovered(t *testing.T) {
	for name, tt := range map[string]struct {
		db            *DB
		covered, none []syftpkg.Type
		cpes          bool
	}{
		"all records": {openDB(t, install(t)),
			[]syftpkg.Type{"npm", "python", "gem", "java-archive", "jenkins-plugin", "go-module"},
			[]syftpkg.Type{"rust-crate", "dotnet", "hex", "erlang-otp", "php-composer", "R-package", "lua-rocks", "binary", "deb", "x' OR 1=1 --", ""}, true},
		"the provider, and nothing about npm": {without(t, "github/results/npm"),
			[]syftpkg.Type{"python"}, []syftpkg.Type{"npm"}, true},
		"no provider of languages": {without(t, "github"),
			[]syftpkg.Type{"go-module"}, []syftpkg.Type{"npm", "python", "gem", "java-archive", "jenkins-plugin"}, true},
		"nothing by CPE": {without(t, "nvd"), []syftpkg.Type{"npm"}, []syftpkg.Type{"R-package"}, false},
	} {
		for range 2 { // The first result comes from the database, the second one from the cache.
			for _, covered := range []bool{true, false} {
				types := tt.covered
				if !covered {
					types = tt.none
				}
				for _, typ := range types {
					if ok, err := tt.db.CoversType(t.Context(), typ); err != nil || ok != covered {
						t.Errorf("%s, type %s: covered is %v, error is %v", name, typ, ok, err)
					}
				}
			}
			if ok, err := tt.db.CoversCPEs(t.Context()); err != nil || ok != tt.cpes {
				t.Errorf("%s: CPEs are covered: %v, error is %v", name, ok, err)
			}
		}
	}
}

func TestCoversTypeFailsWithoutADatabase(t *testing.T) {
	db := openDB(t, install(t))
	if err := db.reader.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := db.CoversType(t.Context(), "npm"); err == nil || ok {
		t.Errorf("covered is %v without an error", ok)
	}
	if ok, err := db.CoversCPEs(t.Context()); err == nil || ok {
		t.Errorf("CPEs are covered: %v without an error", ok)
	}
}
