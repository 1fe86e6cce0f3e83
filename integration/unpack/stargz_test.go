package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	digest "github.com/opencontainers/go-digest"

	"github.com/imagegate/imagegate/gate/layers"
)

// listing returns a description of an archive for the message of a failing test.
func listing(t *testing.T, raw []byte) string {
	t.Helper()
	var out strings.Builder
	for tr := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "  %c %s -> %q %d bytes\n", h.Typeflag, h.Name, h.Linkname, h.Size)
	}
}

// lazy is a layer with a table of contents for lazy pulling.
type lazy struct {
	blob        []byte
	annotations map[string]string
	mediaType   types.MediaType
}

func stargz(t *testing.T, archive []byte, opts ...estargz.Option) lazy {
	t.Helper()
	built, err := estargz.Build(io.NewSectionReader(bytes.NewReader(archive), 0, int64(len(archive))), opts...)
	if err != nil {
		return lazy{} // return an empty layer, because the archive cannot be converted to eStargz
	}
	blob, err := io.ReadAll(built)
	if err := errors.Join(err, built.Close()); err != nil { // Close removes the temporary files of the conversion
		t.Fatal(err)
	}
	return lazy{blob, map[string]string{estargz.TOCJSONDigestAnnotation: built.TOCDigest().String()}, types.OCILayer}
}

func chunked(t *testing.T, archive []byte) lazy {
	t.Helper()
	metadata := map[string]string{}
	l := stargz(t, archive, estargz.WithCompression(&zstdCompression{
		Compressor: &zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault, Metadata: metadata}, Decompressor: &zstdchunked.Decompressor{}}))
	if l.blob == nil {
		return l
	}
	for key, value := range metadata {
		l.annotations[key] = value
	}
	l.mediaType = types.OCILayerZStd
	return l
}

type zstdCompression struct {
	*zstdchunked.Compressor
	*zstdchunked.Decompressor
}

// tocOf returns the table of contents of an eStargz layer, and its offset in the blob.
func tocOf(t *testing.T, blob []byte) (doc map[string]any, offset int64) {
	t.Helper()
	offset, _, err := estargz.OpenFooter(io.NewSectionReader(bytes.NewReader(blob), 0, int64(len(blob))))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(blob[offset:]))
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	tr := tar.NewReader(z)
	if _, err := tr.Next(); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(tr).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc, offset
}

// retabled returns the layer with doc as its table of contents.
func retabled(t *testing.T, blob []byte, doc map[string]any, offset int64) lazy {
	t.Helper()
	toc, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.NewBuffer(append([]byte{}, blob[:offset]...))
	z := gzip.NewWriter(out)
	w := tar.NewWriter(z)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: estargz.TOCTarName, Size: int64(len(toc)), Mode: 0o444})
	if err == nil {
		_, err = w.Write(toc)
	}
	if err = errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	extra := fmt.Sprintf("%016xSTARGZ", offset)
	header := binary.LittleEndian.AppendUint16([]byte("SG"), uint16(len(extra)))
	out.Write(estargz.CreateGzipFooter(append(header, extra...)))
	return lazy{out.Bytes(), map[string]string{estargz.TOCJSONDigestAnnotation: digest.FromBytes(toc).String()}, types.OCILayer}
}

func (l lazy) seen(t *testing.T) (gateView, error) {
	t.Helper()
	return seen(t, mutate.MediaType(appended(t, mutate.Addendum{Layer: layerOf(t, l.blob), Annotations: l.annotations, MediaType: l.mediaType}), types.OCIManifestSchema1))
}

// TestLazyPullHidesNothing checks that the gate sees every file that the stargz snapshotter shows.
// It also checks that the gate refuses a layer whose table of contents has one false property, with
// and without the annotation for the table of contents.
func TestLazyPullHidesNothing(t *testing.T) {
	stacks := number(t, "UNPACK_STACKS", 60)
	compared, forged := 0, 0
	for seed := range stacks {
		// Each stack has a subtest, so that its files are closed when the subtest ends.
		t.Run(fmt.Sprint("stack ", seed), func(t *testing.T) {
			archive := newStack(t, seed).layers[0]
			// The gate refuses some archives because of their content. Skip these.
			if _, err := seen(t, imageOf(t, [][]byte{archive})); err != nil {
				return
			}
			compared += compareTables(t, archive)
			forged += refuseForged(t, archive, seed)
		})
	}
	fmt.Printf("tables of contents: %d compared, %d forged and refused\n", compared, forged)
	if compared == 0 || forged == 0 {
		t.Error("nothing was compared")
	}
}

// compareTables checks that the gate does not refuse an archive because of a correct table of
// contents, in the formats eStargz and zstd:chunked. For eStargz, it also checks that the gate sees
// every file. It returns the number of formats that the gate accepted.
func compareTables(t *testing.T, archive []byte) (compared int) {
	t.Helper()
	for name, l := range map[string]lazy{"eStargz": stargz(t, archive), "zstd:chunked": chunked(t, archive)} {
		if l.blob == nil {
			continue
		}
		gate, err := l.seen(t)
		if err != nil {
			// The conversion to eStargz sorts the files, so the converted archive differs from the
			// original and may be refused.
			known := strings.Contains(err.Error(), "more than once") || strings.Contains(err.Error(), "is not an earlier file")
			if strings.Contains(err.Error(), "table of contents") && !known {
				t.Errorf("%s: %v\n%s", name, err, listing(t, archive))
			}
			continue
		}
		compared++
		if name == "eStargz" {
			for _, what := range gate.lacksOf(t, l) {
				t.Errorf("%s\n%s", what, listing(t, archive))
			}
		}
	}
	return compared
}

// refuseForged checks that the gate refuses an eStargz layer if one property in its table of
// contents is false, with and without the annotation for the table of contents. It returns the
// number of layers that it checked: 0 or 1.
func refuseForged(t *testing.T, archive []byte, seed uint64) int {
	t.Helper()
	l := stargz(t, archive)
	if l.blob == nil {
		return 0
	}
	doc, offset := tocOf(t, l.blob)
	what := forge(rand.New(rand.NewPCG(seed, 1)), doc)
	if what == "" {
		return 0
	}
	other := retabled(t, l.blob, doc, offset)
	var refused *layers.RefusedError
	if _, err := other.seen(t); !errors.As(err, &refused) {
		t.Errorf("a table with another %s is not refused: %v\n%s", what, err, listing(t, archive))
	}
	other.annotations = nil
	if _, err := other.seen(t); !errors.As(err, &refused) {
		t.Errorf("without the annotation a table with another %s is not refused: %v\n%s", what, err, listing(t, archive))
	}
	return 1
}

// forge changes one random property in a table of contents, and returns the name of the property.
func forge(r *rand.Rand, doc map[string]any) string {
	entries := doc["entries"].([]any)
	if len(entries) == 0 {
		return ""
	}
	i := r.IntN(len(entries))
	e := entries[i].(map[string]any)
	switch what := []string{"name", "type", "linkName", "mode", "uid", "digest", "chunkDigest", "size", "xattrs", "missing", "added", "chunk"}[r.IntN(12)]; what {
	case "name":
		e["name"] = "other"
		return what
	case "type":
		e["type"] = map[any]string{"reg": "fifo"}[e["type"]]
		if e["type"] == "" {
			e["type"] = "reg"
		}
		return what
	case "linkName":
		if e["type"] != "symlink" && e["type"] != "hardlink" {
			return ""
		}
		e["linkName"] = "elsewhere"
		return what
	case "digest", "chunkDigest":
		if e["type"] != "reg" || e["digest"] == nil || e["size"] == nil {
			return ""
		}
		e[what] = "sha256:" + strings.Repeat("0", 64)
		return what
	case "size":
		if e["type"] != "reg" {
			return ""
		}
		e["size"] = 12345
		return what
	case "mode", "uid":
		was, _ := e[what].(float64)
		e[what] = int(was) ^ 1
		return what
	case "xattrs":
		e["xattrs"] = map[string]any{"trusted.overlay.redirect": "L2E="}
		return what
	case "missing":
		doc["entries"] = append(entries[:i:i], entries[i+1:]...)
		return what
	case "added":
		doc["entries"] = append(entries[:i:i], append([]any{map[string]any{"name": "new", "type": "symlink", "linkName": "a"}}, entries[i:]...)...)
		return what
	default:
		doc["entries"] = append(entries[:i+1:i+1], append([]any{map[string]any{"name": "new", "type": "chunk", "chunkOffset": 1}}, entries[i+1:]...)...)
		return what
	}
}

// lacksOf is like lacks, for a layer that the stargz snapshotter mounts lazily.
func (g gateView) lacksOf(t *testing.T, l lazy) (out []string) {
	t.Helper()
	r, err := estargz.Open(io.NewSectionReader(bytes.NewReader(l.blob), 0, int64(len(l.blob))))
	if err != nil {
		return nil // without a valid table of contents, a node unpacks the archive itself
	}
	if _, err := r.VerifyTOC(digest.Digest(l.annotations[estargz.TOCJSONDigestAnnotation])); err != nil {
		return nil
	}
	root, ok := r.Lookup("")
	if !ok {
		return nil
	}
	var walk func(dir string, e *estargz.TOCEntry)
	walk = func(dir string, e *estargz.TOCEntry) {
		if strings.Count(dir, "/") > 20 {
			t.Fatalf("%s has no end", dir)
		}
		e.ForeachChild(func(base string, child *estargz.TOCEntry) bool {
			at := path.Join(dir, base)
			if strings.HasPrefix(base, ".wh.") || base == ".no.prefetch.landmark" || base == ".prefetch.landmark" {
				return true
			}
			switch child.Type {
			case "dir":
				walk(at, child)
			case "symlink":
				if got, ok := g.link(at); !ok || got != child.LinkName {
					out = append(out, fmt.Sprintf("link %q to %q; the gate sees %q", at, child.LinkName, got))
				}
			case "reg":
				f, err := r.OpenFile(at[1:])
				if err != nil {
					t.Fatal(err)
				}
				want, err := io.ReadAll(f)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := g.content(at); err != nil || !bytes.Equal(got, want) {
					out = append(out, fmt.Sprintf("file %q has %q; the gate sees %q, %v", at, short(want), short(got), err))
				}
			}
			return true
		})
	}
	walk("/", root)
	return out
}
