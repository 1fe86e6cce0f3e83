package vulndb

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestUpdateKeepsTheArchive checks that Update downloads an archive once for several machines, and
// keeps only the latest archive.
func TestUpdateKeepsTheArchive(t *testing.T) {
	b := mirror(t, records, built)
	url, downloads := serve(t, root(b))
	kept := filepath.Join(t.TempDir(), "archives")
	update := func(url string) *Result {
		t.Helper()
		r, err := Update(t.Context(), UpdateOptions{Dir: t.TempDir(), URL: url, ArchiveDir: kept, Now: stopped(built)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for range 2 {
		if r := update(url); !r.Updated || r.Database.Digest != b.Database.Digest || downloads.Load() != 1 {
			t.Errorf("result is %+v after %d downloads", r, downloads.Load())
		}
	}
	write(t, filepath.Join(kept, "notes.archive"), nil) // a file of the user
	newer := mirror(t, records, built.Add(time.Hour))
	url, _ = serve(t, root(newer))
	update(url)
	entries, err := os.ReadDir(kept)
	if err != nil || len(entries) != 2 || entries[0].Name() != filepath.Base(keptArchive(kept, newer.Checksum)) {
		t.Errorf("kept %v, %v", entries, err)
	}
}

// TestUpdateDoesNotTrustTheKeptArchive plants another database under the name of the feed's archive. It
// is valid and newer, but the feed does not list its checksum.
func TestUpdateDoesNotTrustTheKeptArchive(t *testing.T) {
	b := mirror(t, records, built)
	planted, err := os.ReadFile(mirror(t, records, built.Add(time.Hour)).Archive)
	if err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(file string) error{
		"another database": func(file string) error { return os.WriteFile(file, planted, 0o600) },
		"a folder":         func(file string) error { return os.Mkdir(file, 0o700) },
		"a link":           func(file string) error { return os.Symlink("/dev/zero", file) },
	} {
		t.Run(name, func(t *testing.T) {
			url, downloads := serve(t, root(b))
			kept, dir := t.TempDir(), t.TempDir()
			if err := plant(keptArchive(kept, b.Checksum)); err != nil {
				t.Fatal(err)
			}
			opts := UpdateOptions{Dir: dir, URL: url, ArchiveDir: kept, Now: stopped(built)}
			r, err := Update(t.Context(), opts)
			if err != nil || r.Database.Digest != b.Database.Digest || downloads.Load() != 1 {
				t.Errorf("result is %+v after %d downloads: %v", r, downloads.Load(), err)
			}
			// The wrong archive is replaced.
			opts.Dir = t.TempDir()
			if _, err := Update(t.Context(), opts); err != nil || downloads.Load() != 1 {
				t.Errorf("%d downloads: %v", downloads.Load(), err)
			}
		})
	}
	t.Run("no feed", func(t *testing.T) {
		kept := t.TempDir()
		write(t, keptArchive(kept, b.Checksum), planted)
		if r, err := Update(t.Context(), UpdateOptions{Dir: t.TempDir(), URL: "http://127.0.0.1:1/", ArchiveDir: kept, Now: stopped(built)}); err == nil {
			t.Errorf("result is %+v", r)
		}
	})
}
