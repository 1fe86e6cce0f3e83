package vulndb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

func TestOpenReadsWhatWasImported(t *testing.T) {
	b := mirror(t, records, built)
	dir := filepath.Join(t.TempDir(), "made", "on demand")
	imported := importFile(t, dir, b.Archive)
	db := openDB(t, dir)
	info := db.Info()
	if info.Digest != imported.Digest || info.Digest != b.Database.Digest || !info.Built.Equal(built) {
		t.Errorf("info is %+v; built was %+v", info, b.Database)
	}
	if info.Schema != Schema() || info.Source != filepath.Base(b.Archive) || len(info.Providers) != 11 {
		t.Errorf("info is %+v", info)
	}
	for _, p := range info.Providers {
		if !p.Captured.Equal(built) {
			t.Errorf("provider %s was captured %s", p.Name, p.Captured)
		}
	}
	found := matches(t, db, packageOf(syftpkg.NpmPkg, "json-schema", "0.3.0", ""))
	if len(found) != 1 || Published(found[0].Vulnerability).IsZero() {
		t.Errorf("found %v, published %v", ids(found), found)
	}
	if err := db.Err(); err != nil {
		t.Error(err)
	}
}

func TestMissingDatabaseIsNotAnEmptyOne(t *testing.T) {
	for name, dir := range map[string]string{
		"no directory":    filepath.Join(t.TempDir(), "none"),
		"empty directory": t.TempDir(),
	} {
		_, err := Open(t.Context(), dir)
		u := wantProblem(t, err, Missing)
		if u.Dir != dir {
			t.Errorf("%s: the error is about %s", name, u.Dir)
		}
		s, err := ReadStatus(t.Context(), dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantProblem(t, s.Err, Missing)
	}
}

func TestDamagedDatabaseIsNotOpened(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"one bit": func(t *testing.T, dir string) {
			corrupt(t, filepath.Join(currentFolder(t, dir), v6.VulnerabilityDBFileName))
		},
		"truncated": func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(currentFolder(t, dir), v6.VulnerabilityDBFileName), 8192); err != nil {
				t.Fatal(err)
			}
		},
		"longer": func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(currentFolder(t, dir), v6.VulnerabilityDBFileName), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteString("x"); err != nil {
				t.Fatal(err)
			}
		},
		"file gone": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(currentFolder(t, dir), v6.VulnerabilityDBFileName)); err != nil {
				t.Fatal(err)
			}
		},
		"folder gone": func(t *testing.T, dir string) {
			if err := os.RemoveAll(currentFolder(t, dir)); err != nil {
				t.Fatal(err)
			}
		},
		"record gone": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(currentFolder(t, dir), recordName)); err != nil {
				t.Fatal(err)
			}
		},
		"record with unknown field": func(t *testing.T, dir string) {
			file := filepath.Join(currentFolder(t, dir), recordName)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, file, []byte(strings.Replace(string(data), "{", `{"extra":1,`, 1)))
		},
		"pointer to elsewhere": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, pointerName), []byte("../elsewhere\n"))
		},
		"empty pointer": func(t *testing.T, dir string) { write(t, filepath.Join(dir, pointerName), nil) },
		"folder of another database": func(t *testing.T, dir string) {
			other := folderPrefix + strings.Repeat("0", 64)
			if err := os.Rename(currentFolder(t, dir), filepath.Join(dir, other)); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, pointerName), []byte(other))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := install(t)
			damage(t, dir)
			_, err := Open(t.Context(), dir)
			wantProblem(t, err, Corrupt)
			s, err := ReadStatus(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			wantProblem(t, s.Err, Corrupt)

			// Importing again replaces the damaged database.
			importFile(t, dir, mirror(t, records, built).Archive)
			openDB(t, dir)
		})
	}
}

func TestDatabasePreparedForAnotherSchemaIsNotOpened(t *testing.T) {
	dir := install(t)
	folder := currentFolder(t, dir)
	rec, err := readRecord(folder)
	if err != nil {
		t.Fatal(err)
	}
	rec.Client = "6.1.0"
	if err := rec.write(folder); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), dir)
	wantProblem(t, err, Missing)
	wantError(t, err, `"6.1.0"`)
}

func TestOpenStopsWhenCancelled(t *testing.T) {
	dir := install(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	var u *UnusableError
	if _, err := Open(ctx, dir); errors.As(err, &u) {
		t.Errorf("being interrupted is taken for a problem of the database: %v", err)
	}
}

func TestDirectoryThatSqliteWouldMisreadIsRefused(t *testing.T) {
	for _, dir := range []string{"", "a?mode=rwc", "a%41", "a#b"} {
		if _, err := Open(t.Context(), dir); err == nil {
			t.Errorf("%q was accepted", dir)
		}
		if _, err := Import(t.Context(), ImportOptions{Dir: dir, File: "x", Now: stopped(built)}); err == nil {
			t.Errorf("%q was accepted", dir)
		}
	}
}

func TestReadersDoNotWrite(t *testing.T) {
	dir := install(t)
	list := func() (out []string) {
		err := filepath.WalkDir(dir, func(file string, e os.DirEntry, err error) error {
			out = append(out, file)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	before := list()
	db := openDB(t, dir)
	matches(t, db, packageOf(syftpkg.DebPkg, "openssl", "3.0.1-1", "debian 12"))
	if during := list(); !slices.Equal(before, during) {
		t.Errorf("while it is read there is %q; before there was %q", during, before)
	}
}

func TestStatusDescribesAVerifiedDatabase(t *testing.T) {
	b := mirror(t, records, built)
	dir := t.TempDir()
	info := importFile(t, dir, b.Archive)
	s, err := ReadStatus(t.Context(), dir)
	if err != nil || s.Err != nil {
		t.Fatal(err, s.Err)
	}
	if s.Folder != currentFolder(t, dir) || s.Database.Digest != info.Digest || s.Archive != b.Checksum ||
		s.Size == 0 || !s.Installed.Equal(built) || len(s.Database.Providers) != 11 {
		t.Errorf("status is %+v", s)
	}
}
