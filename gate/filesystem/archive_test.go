package filesystem

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/anchore/stereoscope/pkg/file"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/imagegate/imagegate/gate/layers"
)

// TestTruncatedArchiveIsAnError checks that listing a truncated archive is an error. Skipping
// content must detect the truncation just as reading the content does.
func TestTruncatedArchiveIsAnError(t *testing.T) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, m := range []member{{name: "a", content: "1"}, {name: "b", content: string(make([]byte, 20_000))},
		{name: string(bytes.Repeat([]byte("long/"), 60)) + "c", content: "3"}, {name: "d"}} {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for cut := 0; cut <= buf.Len(); cut += 128 {
		archive := buf.Bytes()[:cut]
		want := 0
		var wantErr error
		for r := tar.NewReader(io.MultiReader(bytes.NewReader(archive))); ; want++ { // reads the whole archive, because this reader cannot seek
			if _, wantErr = r.Next(); wantErr != nil {
				break
			}
		}
		if errors.Is(wantErr, io.EOF) {
			wantErr = nil
		}
		got, err := New().read(bytes.NewReader(archive))
		if (err == nil) != (wantErr == nil) || err == nil && len(got.entries) != want {
			t.Errorf("%d bytes of %d: %d entries and %v, want %d and %v", cut, buf.Len(), len(got.entries), err, want, wantErr)
		}
		if err != nil {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("only %d truncated archives were refused, so the test proves nothing", refused)
	}
}

// sparse returns an archive with one file that omits a run of zeros, as GNU tar --sparse writes it.
func sparse(t *testing.T, name, content string, from, to, size int) []byte {
	t.Helper()
	packed := fmt.Sprintf("2\n0\n%d\n%d\n%d\n", from, to, len(content)-to)
	packed += strings.Repeat("\x00", block-len(packed)) + content[:from] + content[to:]
	records := ""
	for _, r := range []string{"major=1", "minor=0", "name=" + name, fmt.Sprint("realsize=", size)} {
		r = " GNU.sparse." + r + "\n"
		n := len(r) + 2 // A record begins with its own length, which has two digits here.
		records += fmt.Sprint(n) + r
	}
	var buf bytes.Buffer
	for _, m := range []struct {
		typ     byte
		content string
	}{{tar.TypeXHeader, records}, {tar.TypeReg, packed}} {
		w := tar.NewWriter(&buf)
		at := buf.Len()
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "GNUSparseFile.0/" + name, Mode: 0o755, Size: int64(len(m.content)), Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		retype(buf.Bytes()[at:at+block], m.typ)
	}
	return buf.Bytes()
}

// retype sets the type in a tar header to one that Go's tar package does not write, and updates the
// checksum of the header.
func retype(header []byte, typ byte) {
	header[156] = typ
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// TestSparseFileIsReadAsItIsUnpacked checks that a sparse file has the zeros that its archive
// omits, and that the entry after the file is found.
func TestSparseFileIsReadAsItIsUnpacked(t *testing.T) {
	program := "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00\x3e\x00" + strings.Repeat("\x00", 9000) + "the end of it"
	raw := slices.Concat(sparse(t, "app", program, 512, 8704, len(program)), archiveOf(t, 0, []member{{name: "b", content: "behind"}}))
	r := tar.NewReader(bytes.NewReader(raw))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if unpacked, err := io.ReadAll(r); string(unpacked) != program || err != nil {
		t.Fatalf("the archive does not have the expected content: %d bytes, %v", len(unpacked), err)
	}
	for _, early := range []bool{true, false} {
		fs, err := filesystemOf(t, layered(t, empty.Image, raw), early)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{"/app": program, "/b": "behind"} {
			if got, err := contentAt(t, fs, path); got != want || err != nil {
				t.Errorf("listed early %v, %s: %d bytes, %v, want %d", early, path, len(got), err, len(want))
			}
		}
		found, err := fs.SquashedSearchContext.SearchByMIMEType("application/x-executable")
		if err != nil || len(found) != 1 {
			t.Errorf("programs: %v, %v", found, err)
		}
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNamesAreLimited checks that a memory limit applies to the names in the layers of an image.
// Names are listed in memory, but take little space in a compressed archive.
func TestNamesAreLimited(t *testing.T) {
	raw := archiveOf(t, 0, []member{{name: "a"}, {name: "b/c/d"}, {name: "e"}})
	a := New()
	l, err := a.read(bytes.NewReader(raw))
	if err != nil || l.weight == 0 || a.weight != l.weight {
		t.Fatalf("weight %d of %d, %v", l.weight, a.weight, err)
	}
	full := int64(maxWeight) - l.weight + 1
	a.weight = full
	if _, err := a.read(bytes.NewReader(raw)); !errors.Is(err, layers.ErrTooLarge) {
		t.Errorf("too many names: %v", err)
	}
	if a.weight != full {
		t.Errorf("%d bytes of a refused listing still count", a.weight-full)
	}
	a.weight = 0
	id := v1.Hash{Algorithm: "sha256", Hex: "1"}
	for range 3 {
		a.List(id, bytes.NewReader(raw))
		if a.weight != l.weight || len(a.listed) != 1 {
			t.Errorf("weight %d, %d layers", a.weight, len(a.listed))
		}
	}
	a.List(id, bytes.NewReader(raw[:700]))
	if a.weight != 0 || len(a.listed) != 0 {
		t.Errorf("weight %d, %d layers of an archive that was cut", a.weight, len(a.listed))
	}
	// An image may contain a layer several times, although the layer is listed only once. The limit
	// counts it each time.
	b, img, digest := fetched(t, layered(t, empty.Image, raw, raw, raw), true)
	for id, l := range b.listed {
		l.weight = maxWeight / 3
		b.listed[id] = l
	}
	if fs, err := b.Stack(t.Context(), img, digest); err != nil {
		t.Errorf("at the limit: %v", err)
	} else if err := fs.Close(); err != nil {
		t.Error(err)
	}
	for id, l := range b.listed {
		l.weight++
		b.listed[id] = l
	}
	if _, err := b.Stack(t.Context(), img, digest); !errors.Is(err, layers.ErrTooLarge) {
		t.Errorf("the same layer three times: %v", err)
	}
}

// TestOldSparseFileIsAFile checks that an entry in the old GNU sparse format is listed as a file,
// because some runtimes unpack these entries as files.
func TestOldSparseFileIsAFile(t *testing.T) {
	if m := metadataOf(&tar.Header{Name: "a", Typeflag: tar.TypeGNUSparse}, nil); m.Type != file.TypeRegular {
		t.Errorf("an old sparse file is a %s", m.Type)
	}
}
