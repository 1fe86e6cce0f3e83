package gate

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/internal/registry"
)

// bzipped is the text "an archive", compressed with bzip2 and encoded in base64. It is a constant
// because Go has no bzip2 compressor.
const bzipped = "QlpoOTFBWSZTWfMBIf8AAACRgEAAKmERACAAIgDaQgyYhbY0EPxdyRThQkPMBIf8"

// compressors has a function that creates a compressor for each format that docker load, podman and
// skopeo accept, except bzip2.
var compressors = map[string]func(io.Writer) (io.WriteCloser, error){
	"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
}

// compress compresses data with the given compressor, writes the result to a file and returns the
// path of the file.
func compress(t *testing.T, file string, data []byte, with func(io.Writer) (io.WriteCloser, error)) string {
	t.Helper()
	var out bytes.Buffer
	w, err := with(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// archives returns the same image, which has two findings, as an OCI archive and as a "docker save"
// archive. The keys are the transports.
func archives(t *testing.T, h *tester) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	img := h.image(dirty)
	path, err := layout.Write(filepath.Join(dir, "layout"), h.index())
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	tarOf(t, filepath.Join(dir, "layout"), filepath.Join(dir, "layout.tar"))
	if err := tarball.WriteToFile(filepath.Join(dir, "saved.tar"), h.source("app:1").Ref, img); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for transport, file := range map[string]string{"oci-archive": "layout.tar", "docker-archive": "saved.tar"} {
		if out[transport], err = os.ReadFile(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestCompressedArchiveIsNotAnotherImage(t *testing.T) {
	h := newTester(t)
	dir := t.TempDir()
	for transport, plain := range archives(t, h) {
		bare := filepath.Join(dir, transport+".tar")
		if err := os.WriteFile(bare, plain, 0o600); err != nil {
			t.Fatal(err)
		}
		want := h.check(h.gate(blockCritical), h.source(transport+":"+bare))
		for name, with := range compressors {
			// The name of the file does not state the compression, so the gate must detect it from
			// the content.
			file := compress(t, filepath.Join(dir, transport+"-"+name), plain, with)
			got := h.check(h.gate(blockCritical), h.source(transport+":"+file))
			if got.Image.Digest != want.Image.Digest || got.Decision.Passed || !slices.Equal(findingIDs(got.Input.Platforms[0]), findingIDs(want.Input.Platforms[0])) {
				t.Errorf("%s with %s: %s, not %s", transport, name, got.Image.Digest, want.Image.Digest)
			}
		}
	}
}

func TestArchiveWithBzip2(t *testing.T) {
	data, err := base64.StdEncoding.DecodeString(bzipped)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := openArchive(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if got, err := io.ReadAll(in); string(got) != "an archive" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestDecompressedArchiveDoesNotFillTheDisk checks that decompressing an image archive stops at the
// disk limit. A small file may decompress to any size.
func TestDecompressedArchiveDoesNotFillTheDisk(t *testing.T) {
	const most = 1 << 20
	zeros := make([]byte, 4*most)
	var member bytes.Buffer
	w := tar.NewWriter(&member)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "blobs/sha256/" + strings.Repeat("a", 64), Size: int64(len(zeros)), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(zeros); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, with := range compressors {
		file := compress(t, filepath.Join(t.TempDir(), "bomb"), member.Bytes(), with)
		store, err := layers.New(layers.Options{Dir: t.TempDir(), MaxTotal: most})
		if err != nil {
			t.Fatal(err)
		}
		for transport := range map[Transport]bool{OCIArchive: true, DockerArchive: true} {
			if _, err := (&Gate{}).open(t.Context(), store, Source{Transport: transport, Path: file}); !errors.Is(err, layers.ErrTooLarge) {
				t.Errorf("%s with %s: %v", transport, name, err)
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestArchiveDoesNotFillTheMemory checks that checkSaved refuses archives with a large list of
// images, with a large config, or with links in place of these files. go-containerregistry reads
// the list and the configs into memory.
func TestArchiveDoesNotFillTheMemory(t *testing.T) {
	list := `[{"Config":"c.json","Layers":[]}]`
	for name, members := range map[string][]tar.Header{
		"a large list":          {{Name: "manifest.json", Typeflag: tar.TypeReg, Size: registry.MaxManifest + 1}},
		"a large list, spelled": {{Name: "./x/../manifest.json", Typeflag: tar.TypeReg, Size: registry.MaxManifest + 1}},
		"a link for a list":     {{Name: "manifest.json", Typeflag: tar.TypeSymlink, Linkname: "manifest.json"}},
		"a large config": {{Name: "manifest.json", Typeflag: tar.TypeReg, Size: int64(len(list))},
			{Name: "c.json", Typeflag: tar.TypeReg, Size: layers.MaxConfig + 1}},
		"a link for a config": {{Name: "manifest.json", Typeflag: tar.TypeReg, Size: int64(len(list))},
			{Name: "c.json", Typeflag: tar.TypeLink, Linkname: "large"}},
	} {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, h := range members {
			h.Mode = 0o600
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			content := make([]byte, h.Size)
			copy(content, list)
			if h.Typeflag == tar.TypeReg {
				if _, err := w.Write(content); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "saved.tar")
		if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		var refused *layers.RefusedError
		if err := checkSaved(file); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
