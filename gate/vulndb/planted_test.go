//go:build unix

package vulndb

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/imagegate/imagegate/internal/disk"
)

// installed returns the digest of the published database that the current database in dir was made
// from. It returns "" if the file was modified. It does not compare the checksum of the file,
// because two installations of one database differ: their indexes are added in random order.
func installed(t *testing.T, dir string) string {
	t.Helper()
	folder := currentFolder(t, dir)
	rec, err := readRecord(folder)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := fullHash(t.Context(), filepath.Join(folder, v6.VulnerabilityDBFileName))
	if err != nil {
		t.Fatal(err)
	}
	if sum.sha256 != rec.File.SHA256 {
		return ""
	}
	return rec.Digest
}

// plant creates database directories with an attacker's database. The record of each database
// claims that it came from the archive with this checksum.
func plant(t *testing.T, checksum string) map[string]string {
	t.Helper()
	// This database has the correct folder name and record, but other content.
	inPlace := install(t)
	tamper(t, inPlace, "DELETE FROM vulnerability_handles")
	// This is a complete, valid database, but not the one in the archive.
	other := t.TempDir()
	importFile(t, other, mirror(t, records, built.Add(-time.Hour)).Archive)
	rec, err := readRecord(currentFolder(t, other))
	if err != nil {
		t.Fatal(err)
	}
	rec.Archive = checksum
	if err := rec.write(currentFolder(t, other)); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"other content": inPlace, "other database": other}
}

func TestPlantedDatabaseDoesNotSurviveAPin(t *testing.T) {
	b := mirror(t, records, built)
	want := installed(t, install(t))
	url, downloads := serve(t, filepath.Dir(filepath.Dir(b.Latest)))
	for what, pinned := range map[string]func(dir string) error{
		"import": func(dir string) error {
			_, err := Import(t.Context(), ImportOptions{Dir: dir, File: b.Archive, Checksum: b.Checksum, Now: stopped(built)})
			return err
		},
		"update": func(dir string) error {
			before := downloads.Load()
			_, err := Update(t.Context(), UpdateOptions{Dir: dir, URL: url, Checksum: b.Checksum, Now: stopped(built)})
			if downloads.Load() == before {
				t.Error("nothing was downloaded")
			}
			return err
		},
	} {
		for name, dir := range plant(t, b.Checksum) {
			t.Run(what+", "+name, func(t *testing.T) {
				if installed(t, dir) == want {
					t.Fatal("nothing is planted")
				}
				if err := pinned(dir); err != nil {
					t.Fatal(err)
				}
				if got := installed(t, dir); got != want {
					t.Errorf("the database is %s, not %s", got, want)
				}
			})
		}
	}
}

func TestDatabaseThatOthersCanChangeIsNotOpened(t *testing.T) {
	for name, spoil := range map[string]func(dir, folder string) error{
		"the directory": func(dir, _ string) error { return os.Chmod(dir, 0o777) },
		"the folder":    func(_, folder string) error { return os.Chmod(folder, 0o777) },
		"the database": func(_, folder string) error {
			return os.Chmod(filepath.Join(folder, v6.VulnerabilityDBFileName), 0o666)
		},
		"the record": func(_, folder string) error { return os.Chmod(filepath.Join(folder, recordName), 0o666) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := install(t)
			if err := spoil(dir, currentFolder(t, dir)); err != nil {
				t.Fatal(err)
			}
			var untrusted *disk.UntrustedError
			if _, err := Open(t.Context(), dir); !errors.As(err, &untrusted) || untrusted.Problem != disk.WritableByOthers {
				t.Errorf("opened: %v", err)
			}
			if _, err := ReadStatus(t.Context(), dir); !errors.As(err, &untrusted) {
				t.Errorf("status: %v", err)
			}
			// Import creates a new folder for the database. So it replaces an untrusted folder in
			// the directory, but it refuses an untrusted directory.
			err := importPinned(t, dir)
			if name == "the directory" {
				if !errors.As(err, &untrusted) {
					t.Errorf("imported: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			openDB(t, dir)
		})
	}
}

func importPinned(t *testing.T, dir string) error {
	t.Helper()
	b := mirror(t, records, built)
	_, err := Import(t.Context(), ImportOptions{Dir: dir, File: b.Archive, Checksum: b.Checksum, Now: stopped(built)})
	return err
}

func TestDatabaseOfAnotherUserIsNotOpened(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a folder away needs root")
	}
	dir := install(t)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	var untrusted *disk.UntrustedError
	if _, err := Open(t.Context(), dir); !errors.As(err, &untrusted) || untrusted.Problem != disk.OwnedByOther {
		t.Errorf("opened: %v", err)
	}
}

// TestDatabaseWithAJournalIsNotOpened checks that Open refuses a database next to a journal file,
// because SQLite would apply the journal to the database. Open also refuses a link to a database.
func TestDatabaseWithAJournalIsNotOpened(t *testing.T) {
	for _, name := range []string{v6.VulnerabilityDBFileName + "-wal", v6.VulnerabilityDBFileName + "-journal"} {
		dir := install(t)
		write(t, filepath.Join(currentFolder(t, dir), name), []byte("planted"))
		_, err := Open(t.Context(), dir)
		wantProblem(t, err, Corrupt)
	}
	dir := install(t)
	file := filepath.Join(currentFolder(t, dir), v6.VulnerabilityDBFileName)
	if err := os.Rename(file, filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), file); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), dir)
	wantProblem(t, err, Corrupt)
}

// TestSharedDatabaseOfRootIsOpened checks that Open accepts a database that all users can read. An
// administrator maintains such a database for users who cannot write to it.
func TestSharedDatabaseOfRootIsOpened(t *testing.T) {
	dir := install(t)
	for _, path := range []string{dir, currentFolder(t, dir)} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	openDB(t, dir)
	for _, name := range []string{v6.VulnerabilityDBFileName, recordName, lockName} {
		info, err := os.Stat(filepath.Join(currentFolder(t, dir), name))
		if err != nil || info.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("others cannot read %s: %v, %v", name, info.Mode(), err)
		}
	}
}
