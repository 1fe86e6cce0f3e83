package layers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestWhatFollowsTheArchiveIsNotAccepted(t *testing.T) {
	plain := content(t, 10_000)
	// The header of this gzip member is truncated inside its file name. Package gzip treats such a
	// member as the end of the stream.
	cutHeader := []byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0xff, 'n', 'a'}
	for what, stored := range map[string][]byte{
		"gzip, text":                     append(gz(t, plain), "more"...),
		"gzip, one zero":                 append(gz(t, plain), 0),
		"gzip, a block of zeros":         append(gz(t, plain), make([]byte, 512)...),
		"gzip, half a member":            append(gz(t, plain), gz(t, []byte("more"))[:15]...),
		"gzip, header cut short":         append(gz(t, plain), cutHeader...),
		"gzip, zstd":                     append(gz(t, plain), zst(t, plain)...),
		"zstd, text":                     append(zst(t, plain), "more"...),
		"zstd, one zero":                 append(zst(t, plain), 0),
		"zstd, three bytes":              append(zst(t, plain), 0x28, 0xb5, 0x2f),
		"zstd, four bytes":               append(zst(t, plain), 0x28, 0xb5, 0x2f, 0xfd),
		"zstd, skippable frame cut off":  append(zst(t, plain), 0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1),
		"zstd, skippable header cut off": append(zst(t, plain), 0x50, 0x2a, 0x4d, 0x18, 9),
	} {
		s := newStore(t)
		if _, err := fetch(t, s, honest(stored, plain)); !isCorrupt(err) {
			t.Errorf("%s: got %v", what, err)
		}
		checkNoPartials(t, s)
	}
}

func TestStreamCutShortIsNotAccepted(t *testing.T) {
	plain := content(t, 2_000)
	for format, stored := range map[string][]byte{"gzip": gz(t, plain), "zstd": zst(t, plain)} {
		for _, n := range []int{1, 2, 3, 4, 5, 9, 10, 11, len(stored) / 2, len(stored) - 8, len(stored) - 4, len(stored) - 1} {
			// The digest matches the truncated blob, so only the decompressor can detect the
			// truncation. The diffID is the one of the complete content.
			if _, err := fetch(t, newStore(t), honest(stored[:n], plain)); !isCorrupt(err) {
				t.Errorf("%s, %d of %d bytes: got %v", format, n, len(stored), err)
			}
		}
	}
}

func TestZstdFramesThatAreSkippedAreRead(t *testing.T) {
	plain := content(t, 10_000)
	skip := []byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}
	stored := append(append(bytes.Clone(skip), zst(t, plain)...), skip...)
	if _, err := fetch(t, newStore(t), honest(stored, plain)); err != nil {
		t.Error(err)
	}
}

func TestZstdWindowDoesNotExhaustMemory(t *testing.T) {
	plain := make([]byte, 1024)
	// block is the only block of a zstd frame, with raw content: RFC 8878, 3.1.1.2.
	block := append(binary.LittleEndian.AppendUint32(nil, uint32(len(plain))<<3|1)[:3], plain...)
	window := func(log byte) []byte { // a window of 2^log bytes: RFC 8878, 3.1.1.1.2
		return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3}, block...)
	}
	if _, err := fetch(t, newStore(t), honest(window(27), plain)); err != nil {
		t.Errorf("the largest window: %v", err)
	}
	if _, err := fetch(t, newStore(t), honest(window(28), plain)); !isCorrupt(err) {
		t.Errorf("a larger window: got %v", err)
	}
	// The window of a single-segment frame is as large as the content of the frame.
	segment := append(binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, maxWindow+1), block...)
	if _, err := fetch(t, newStore(t), honest(segment, plain)); !isCorrupt(err) || !strings.Contains(err.Error(), "size") {
		t.Errorf("a single segment: got %v", err)
	}
}

func TestBrokenTransferIsNotCorruption(t *testing.T) {
	plain := content(t, 10_000)
	s := newStore(t)
	broken := fmt.Errorf("reading from the registry: %w", io.EOF)
	for format, stored := range map[string][]byte{"gzip": gz(t, plain), "zstd": zst(t, plain), "plain": plain} {
		for _, n := range []int{0, 2, 5, len(stored) / 2, len(stored)} {
			r := io.MultiReader(bytes.NewReader(stored[:n]), readerFunc(func([]byte) (int, error) { return 0, broken }))
			if err := s.decompress(sum(stored), r, io.Discard); !errors.Is(err, broken) || isCorrupt(err) {
				t.Errorf("%s, after %d bytes: got %v", format, n, err)
			}
		}
	}
}

func TestZstdOfSeveralBlocksIsRead(t *testing.T) {
	plain := content(t, 600_000)
	var stored bytes.Buffer
	w, err := zstd.NewWriter(&stored, zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(t, newStore(t), honest(stored.Bytes(), plain)); err != nil {
		t.Error(err)
	}
}

// tarNamed returns a tar archive with one file of the given name.
func tarNamed(t *testing.T, name string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestWhatIsNoArchiveIsNotALayer(t *testing.T) {
	plain := content(t, 1000)
	xz := append([]byte("\xfd7zXZ\x00\x00\x04"), make([]byte, 600)...)
	for what, b := range map[string][]byte{
		"text":                         bytes.Repeat([]byte("text\n"), 500),
		"xz":                           xz,
		"bzip2":                        append([]byte("BZh91AY&SY"), make([]byte, 600)...),
		"less than a block":            plain[:511],
		"a wrong checksum":             append([]byte("F"), plain[1:]...),
		"gzip that claims to be plain": gz(t, plain),
		"zstd that claims to be plain": zst(t, plain),
		// These are valid tar archives, but a runtime that detects compression would decompress
		// them.
		"name like gzip": tarNamed(t, "\x1f\x8b\x08"),
		"name like zstd": tarNamed(t, "\x28\xb5\x2f\xfd"),
	} {
		for _, src := range []*upstream{honest(b, b), honest(gz(t, b), b)} {
			s := newStore(t)
			if _, err := fetch(t, s, src); !isCorrupt(err) {
				t.Errorf("%s: got %v", what, err)
			}
			checkNoPartials(t, s)
		}
	}
}

func TestEmptyArchiveIsALayer(t *testing.T) {
	for what, b := range map[string][]byte{"zeros": make([]byte, 1024), "nothing": nil} {
		for _, src := range []*upstream{honest(b, b), honest(gz(t, b), b), honest(zst(t, b), b)} {
			if src.size == 0 && what != "nothing" {
				continue
			}
			if _, err := fetch(t, newStore(t), src); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

func TestOldChecksumsAreAccepted(t *testing.T) {
	// If the name has bytes above 127, the sum of signed bytes differs from the sum of unsigned
	// bytes.
	block := tarNamed(t, "caf\xe9")[:tarBlock]
	signed := bytes.Clone(block)
	copy(signed[148:156], "        ")
	var sum int64
	for _, b := range signed {
		sum += int64(int8(b))
	}
	copy(signed[148:], []byte{'0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	if bytes.Equal(signed, block) {
		t.Fatal("the two checksums are the same")
	}
	for what, b := range map[string][]byte{"unsigned": block, "signed": signed} {
		if !isHeader(b) {
			t.Errorf("%s: refused", what)
		}
	}
}

// FuzzDecompress checks that no input causes a panic or output beyond the limit. If gzip input is
// accepted, its content must equal the output of the standard library.
func FuzzDecompress(f *testing.F) {
	plain := content(f, 100)
	for _, b := range [][]byte{plain, gz(f, plain), zst(f, plain), append(gz(f, plain), gz(f, plain)...)} {
		f.Add(b)
	}
	s := &Store{opts: Options{MaxLayer: 64 << 10}}
	f.Fuzz(func(t *testing.T, stored []byte) {
		var got bytes.Buffer
		err := s.decompress(sum(stored), bytes.NewReader(stored), &got)
		if int64(got.Len()) > s.opts.MaxLayer {
			t.Fatalf("%d bytes", got.Len())
		}
		switch {
		case isCorrupt(err), errors.Is(err, ErrTooLarge):
		case err != nil:
			t.Fatalf("neither corrupt nor too large: %v", err)
		case isGzip(stored):
			z, err := gzip.NewReader(bytes.NewReader(stored))
			if err != nil {
				t.Fatal(err)
			}
			if want, err := io.ReadAll(z); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Fatalf("%d bytes, and %d by the standard library: %v", got.Len(), len(want), err)
			}
		case !isZstd(stored) && !bytes.Equal(got.Bytes(), stored):
			t.Fatal("uncompressed bytes were changed")
		}
	})
}
