package gate

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"testing"
)

// TestCutArchiveIsNoShortArchive: what is missing must never look like the end, and
// skipping content must find out as reading it does.
func TestCutArchiveIsNoShortArchive(t *testing.T) {
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
		for r := tar.NewReader(io.MultiReader(bytes.NewReader(archive))); ; want++ { // which cannot skip
			if _, wantErr = r.Next(); wantErr != nil {
				break
			}
		}
		if errors.Is(wantErr, io.EOF) {
			wantErr = nil
		}
		got, err := listArchive(bytes.NewReader(archive))
		if (err == nil) != (wantErr == nil) || err == nil && len(got) != want {
			t.Errorf("%d bytes of %d: %d entries and %v, want %d and %v", cut, buf.Len(), len(got), err, want, wantErr)
		}
		if err != nil {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("%d cut archives were refused: that tells nothing", refused)
	}
}
