package vulndb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// plainDatabase returns the path of the database file of the example records.
func plainDatabase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := extract(t.Context(), mirror(t, records, built).Archive, dir, Limits{}.withDefaults()); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, v6.VulnerabilityDBFileName)
}

type member struct {
	header tar.Header
	data   []byte
}

func tarOf(t *testing.T, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		m.header.Mode = 0o644
		if m.header.Typeflag == 0 {
			m.header.Typeflag = tar.TypeReg
		}
		if m.header.Typeflag == tar.TypeReg {
			m.header.Size = int64(len(m.data))
		}
		if err := w.WriteHeader(&m.header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func compress(t *testing.T, format string, data []byte) []byte {
	t.Helper()
	var (
		out bytes.Buffer
		w   io.WriteCloser
		err error
	)
	switch format {
	case "gz":
		w = gzip.NewWriter(&out)
	case "zst":
		w, err = zstd.NewWriter(&out)
	case "xz":
		w, err = xz.NewWriter(&out)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestImportReadsEveryFormat(t *testing.T) {
	plain := plainDatabase(t)
	db, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	packed := tarOf(t,
		member{tar.Header{Name: "./" + v6.VulnerabilityDBFileName}, db},
		member{tar.Header{Name: v6.ImportMetadataFileName}, []byte("{}")})
	for _, format := range []string{"gz", "zst", "xz", "db"} {
		t.Run(format, func(t *testing.T) {
			// Import detects the format from the content, not from the file name.
			file := filepath.Join(t.TempDir(), "database")
			data := db
			if format != "db" {
				data = compress(t, format, packed)
			}
			write(t, file, data)
			dir := t.TempDir()
			info := importFile(t, dir, file)
			if info.Source != "database" || openInfo(t, dir).Digest != info.Digest {
				t.Errorf("info is %+v", info)
			}

			if format == "db" {
				return
			}
			for _, short := range []int{1, 12, len(data) / 2, len(data) - 20} {
				write(t, file, data[:len(data)-short])
				dir := t.TempDir()
				if _, err := Import(t.Context(), ImportOptions{Dir: dir, File: file, Now: stopped(built)}); err == nil {
					t.Errorf("an archive without its last %d bytes was accepted", short)
				}
				if left := folders(t, dir); len(left) != 0 {
					t.Errorf("%q is left", left)
				}
			}
		})
	}
}

func TestImportRefusesOtherFiles(t *testing.T) {
	plain := plainDatabase(t)
	db, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	good := member{tar.Header{Name: v6.VulnerabilityDBFileName}, db}
	changed := func(statements ...string) []byte {
		file := filepath.Join(t.TempDir(), "changed.db")
		write(t, file, db)
		change(t, file, statements...)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, tt := range map[string]struct {
		data   []byte
		limits Limits
		want   string
	}{
		"empty":            {want: "neither"},
		"text":             {data: []byte("hello, world, this is no database"), want: "neither"},
		"name above":       {data: compress(t, "gz", tarOf(t, member{tar.Header{Name: "../" + v6.VulnerabilityDBFileName}, db})), want: "only vulnerability.db"},
		"absolute name":    {data: compress(t, "gz", tarOf(t, member{tar.Header{Name: "/tmp/vulnerability.db"}, db})), want: "only vulnerability.db"},
		"name below":       {data: compress(t, "gz", tarOf(t, member{tar.Header{Name: "6/vulnerability.db"}, db})), want: "only vulnerability.db"},
		"further file":     {data: compress(t, "gz", tarOf(t, good, member{tar.Header{Name: recordName}, []byte("{}")})), want: "only vulnerability.db"},
		"twice":            {data: compress(t, "gz", tarOf(t, good, good)), want: "twice"},
		"no database":      {data: compress(t, "gz", tarOf(t, member{tar.Header{Name: v6.ImportMetadataFileName}, []byte("{}")})), want: "not contain vulnerability.db"},
		"symbolic link":    {data: compress(t, "gz", tarOf(t, member{tar.Header{Name: v6.VulnerabilityDBFileName, Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, nil})), want: "not a regular file"},
		"folder":           {data: compress(t, "gz", tarOf(t, member{tar.Header{Name: "./", Typeflag: tar.TypeDir}, nil})), want: "not a regular file"},
		"no tar":           {data: compress(t, "gz", []byte(strings.Repeat("x", 2000))), want: "reading the archive"},
		"no sqlite inside": {data: compress(t, "gz", tarOf(t, member{tar.Header{Name: v6.VulnerabilityDBFileName}, []byte("hello")})), want: "checking the database"},
		"too large":        {data: compress(t, "gz", tarOf(t, good)), limits: Limits{Database: 4096}, want: "larger than 4096"},
		"bomb": {data: compress(t, "gz", tarOf(t, member{tar.Header{Name: v6.ImportMetadataFileName}, make([]byte, 4<<20)}, good)),
			limits: Limits{Database: 4096}, want: "larger than allowed"},
		"bare, too large": {data: db, limits: Limits{Database: 4096, Archive: 4096}, want: "is too large"},
		"truncated":       {data: db[:len(db)/2], want: "checking the database"},
		"other schema":    {data: changed("UPDATE db_metadata SET model = 5"), want: "not a v6 database"},
		"no metadata":     {data: changed("DELETE FROM db_metadata"), want: "database"},
		"no providers":    {data: changed("PRAGMA foreign_keys = OFF", "DELETE FROM providers"), want: "no providers"},
		"other database":  {data: changed("DROP TABLE db_metadata"), want: "database"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := install(t)
			info, before := openInfo(t, dir), folders(t, dir)
			file := filepath.Join(t.TempDir(), "file")
			write(t, file, tt.data)
			got, err := Import(t.Context(), ImportOptions{Dir: dir, File: file, Limits: tt.limits, Now: stopped(built)})
			wantError(t, err, tt.want, file)
			if got.Digest != "" {
				t.Errorf("there is a database together with the error: %+v", got)
			}
			unchanged(t, dir, before, info)
		})
	}
}

func TestDamagedPagesAreNotImported(t *testing.T) {
	plain := plainDatabase(t)
	data, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[len(data)/2:], bytes.Repeat([]byte{0xff}, 4096))
	write(t, plain, data)
	_, err = Import(t.Context(), ImportOptions{Dir: t.TempDir(), File: plain, Now: stopped(built)})
	wantError(t, err, "checking the database")
}

func TestImportWithChecksumTakesNoOtherFile(t *testing.T) {
	b := mirror(t, records, built)
	opts := ImportOptions{Dir: t.TempDir(), File: b.Archive, Checksum: b.Checksum, Now: stopped(built)}
	if _, err := Import(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	opts.Checksum = "sha256:" + strings.Repeat("0", 64)
	_, err := Import(t.Context(), opts)
	wantError(t, err, b.Checksum)
	opts.Checksum = "SHA256:" + strings.Repeat("0", 64)
	_, err = Import(t.Context(), opts)
	wantError(t, err, "expected sha256:")
}

// TestImportTakesTheNewestArchiveOfAMirror checks that Import accepts the folder that Build wrote,
// and refuses one whose archive differs from its latest.json.
func TestImportTakesTheNewestArchiveOfAMirror(t *testing.T) {
	m := mirror(t, records, built)
	folder := t.TempDir() // Copy the mirror, because other tests share it.
	if err := os.CopyFS(folder, os.DirFS(filepath.Dir(filepath.Dir(m.Latest)))); err != nil {
		t.Fatal(err)
	}
	latestFile := filepath.Join(folder, filepath.Base(filepath.Dir(m.Latest)), filepath.Base(m.Latest))
	opts := ImportOptions{Dir: t.TempDir(), File: folder, Now: time.Now}
	info, err := Import(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if info.Source != filepath.Base(m.Archive) {
		t.Errorf("source %q", info.Source)
	}
	latest, err := os.ReadFile(latestFile)
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"":  "does not contain v6/latest.json",
		"{": "reading latest.json",
		strings.Replace(string(latest), filepath.Base(m.Archive), "../"+filepath.Base(m.Archive), 1): "not a file in the mirror",
		strings.Replace(string(latest), m.Checksum, "sha256:"+strings.Repeat("0", 64), 1):            "but latest.json of the mirror lists",
		strings.Replace(string(latest), filepath.Base(m.Archive), "none.tar.zst", 1):                 "no such file",
	} {
		if err := os.Remove(latestFile); err != nil {
			t.Fatal(err)
		}
		if content != "" {
			if err := os.WriteFile(latestFile, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Import(t.Context(), opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if content == "" {
			if err := os.WriteFile(latestFile, latest, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestImportMayGoBack checks that Import accepts a database older than the current one, because
// importing is an explicit choice.
func TestImportMayGoBack(t *testing.T) {
	dir := install(t)
	older := mirror(t, records, built.Add(-time.Hour))
	importFile(t, dir, older.Archive)
	if got := openInfo(t, dir); got.Digest != older.Database.Digest {
		t.Errorf("current is %+v", got)
	}
}

func TestImportingAgainChangesNothing(t *testing.T) {
	b := mirror(t, records, built)
	dir := t.TempDir()
	importFile(t, dir, b.Archive)
	reader := openDB(t, dir)
	before := folders(t, dir)
	info := importFile(t, dir, b.Archive)
	unchanged(t, dir, before, info)
	if found := matches(t, reader, packageOf("npm", "ip", "1.0.0", "")); len(found) != 1 || reader.Err() != nil {
		t.Errorf("the reader has found %v, %v", ids(found), reader.Err())
	}
}

func TestNextWriterClearsFilesOfAKilledWriter(t *testing.T) {
	dir := install(t)
	for _, name := range []string{tempPrefix + "123/archive", tempPrefix + "file-1", tempPrefix + "9/old/vulnerability.db"} {
		write(t, filepath.Join(dir, name), []byte("half"))
	}
	openDB(t, dir)
	importFile(t, dir, mirror(t, records, built).Archive)
	for _, name := range folders(t, dir) {
		if strings.HasPrefix(name, tempPrefix) {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestCancelledImportLeavesNothingBehind(t *testing.T) {
	b := mirror(t, records, built)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	_, err := Import(ctx, ImportOptions{Dir: dir, File: b.Archive, Now: stopped(built)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if left := folders(t, dir); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
}
