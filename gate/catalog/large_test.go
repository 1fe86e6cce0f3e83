package catalog

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/anchore/syft/syft/file"
)

// TestArchivesAndExecutablesMayBeLarge checks that archives, package databases and executables may
// exceed the limit for parsed files. An executable that is named like a text file may not, because
// catalogers choose the parser by name.
func TestArchivesAndExecutablesMayBeLarge(t *testing.T) {
	for path, c := range map[string]struct {
		mimeType string
		read     bool
	}{
		"/srv/app.jar":                    {"application/zip", true},
		"/var/lib/rpm/Packages":           {"application/octet-stream", true},
		"/var/lib/rpm/rpmdb.sqlite":       {"application/vnd.sqlite3", true},
		"/usr/bin/node":                   {"application/x-executable", true},
		"/usr/lib/libpython3.so.1":        {"application/x-sharedlib", true},
		"/lib/modules/6.1/kernel/x.ko.xz": {"application/x-xz", true},
		"/srv/a.rockspec":                 {"application/x-executable", false},
		"/srv/package-lock.json":          {"application/zip", false},
		"/srv/package.json":               {"application/json", false},
		"/usr/bin/node.txt":               {"text/plain", false},
		"/var/lib/dpkg/status":            {"application/x-executable", false},
		"/srv/unknown":                    {"application/octet-stream", false},
	} {
		l := &largeFiles{}
		at := file.NewLocation(path)
		content := section{io.NewSectionReader(zeroes{}, 0, maxParsed+10)}
		n, err := io.Copy(io.Discard, l.bound(at, content, func() string { return c.mimeType }))
		if read := err == nil && n == maxParsed+10; read != c.read || !read && !errors.Is(err, errParsed) {
			t.Errorf("%s: %d bytes, %v", path, n, err)
		}
		if unknown := len(l.unknowns(nil)) == 1; unknown == c.read {
			t.Errorf("%s: unknown is %v", path, unknown)
		}
	}
}

// TestBoundedFileIsReadAsBefore checks that a file within the limit for parsed files can be read in
// pieces, read again, and read to the end.
func TestBoundedFileIsReadAsBefore(t *testing.T) {
	l := &largeFiles{}
	content := strings.Repeat("0123456789", maxParsed/10)
	content += strings.Repeat("x", maxParsed-len(content))
	open := func() io.ReadCloser {
		s := section{io.NewSectionReader(strings.NewReader(content), 0, int64(len(content)))}
		return l.bound(file.NewLocation("/srv/a.json"), s, func() string { return "" })
	}
	got, err := io.ReadAll(open())
	if err != nil || string(got) != content {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	r, ok := open().(program)
	if !ok {
		t.Fatal("programs would be read whole")
	}
	for range 3 {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); err != nil || n != maxParsed {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	piece := make([]byte, 10)
	if _, err := r.ReadAt(piece, 20); err != nil || !bytes.Equal(piece, []byte("0123456789")) {
		t.Errorf("%q, %v", piece, err)
	}
	if len(l.unknowns(nil)) != 0 {
		t.Error("the file is unknown")
	}
}

// zeroes is an endless file of zeros.
type zeroes struct{}

func (zeroes) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// section is a file with random access, like the files of layers.
type section struct{ *io.SectionReader }

func (section) Close() error { return nil }
