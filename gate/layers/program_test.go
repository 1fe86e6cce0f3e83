package layers

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// actAs runs one of the programs below in this process if the arguments select one, and returns
// otherwise. The selection is in the arguments, because programs run without environment variables.
func actAs(args []string) {
	if len(args) < 2 || args[1] != "gunzip" {
		return
	}
	code := 0
	if err := programs[args[2]](os.Stdin, os.Stdout); err != nil {
		code = 1
	}
	syscall.Exit(code) // os.Exit waits a second with the race detector
}

// programs has external decompressors, each with a different fault.
var programs = map[string]func(io.Reader, io.Writer) error{
	// The lenient program ignores data after the last member, as igzip and unpigz do.
	"lenient": func(r io.Reader, w io.Writer) error {
		in, err := io.ReadAll(r)
		for rest := bytes.NewReader(in); err == nil && rest.Len() > 0; {
			var z *gzip.Reader
			if z, err = gzip.NewReader(rest); err != nil {
				return nil
			}
			z.Multistream(false)
			_, err = io.Copy(w, z)
		}
		return err
	},
	"ignores broken ends": func(r io.Reader, w io.Writer) error {
		if z, err := gzip.NewReader(r); err == nil {
			_, _ = io.Copy(w, z)
		}
		return nil
	},
	"fails at once":    func(io.Reader, io.Writer) error { return errors.New("no") },
	"says nothing":     func(r io.Reader, _ io.Writer) error { _, err := io.Copy(io.Discard, r); return err },
	"does not read":    func(io.Reader, io.Writer) error { return nil },
	"copies":           func(r io.Reader, w io.Writer) error { _, err := io.Copy(w, r); return err },
	"first member":     func(r io.Reader, w io.Writer) error { return firstMember(r, w) },
	"fails at the end": func(r io.Reader, w io.Writer) error { _ = firstMember(r, w); return errors.New("no") },
	"is endless": func(_ io.Reader, w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, chunk)); err != nil {
				return err
			}
		}
	},
	"is stuck": func(io.Reader, io.Writer) error { time.Sleep(time.Hour); return nil },
}

func firstMember(r io.Reader, w io.Writer) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	z.Multistream(false)
	_, err = io.Copy(w, z)
	return err
}

func program(name string) []string { return []string{os.Args[0], "gunzip", name} }

// inflaters returns the commands of correct external decompressors: "lenient", and the real
// programs that are installed on this machine.
func inflaters() map[string][]string {
	all := map[string][]string{"lenient": program("lenient")}
	for _, argv := range [][]string{{"igzip", "-dc"}, {"unpigz", "-c"}, {"gzip", "-dc"}} {
		if path, err := exec.LookPath(argv[0]); err == nil {
			all[argv[0]] = append([]string{path}, argv[1:]...)
		}
	}
	return all
}

func using(argv []string) func(*Options) { return func(o *Options) { o.Gunzip = argv } }

// verdict classifies the result of a fetch in a few words, so that the results of two decompressors
// can be compared.
func verdict(err error) string {
	switch {
	case err == nil:
		return "fetched"
	case errors.Is(err, ErrTooLarge):
		return "too large"
	case isCorrupt(err):
		return "corrupt"
	}
	return err.Error()
}

// streams returns valid and invalid gzip streams whose content is plain, by a description of the
// stream.
func streams(t *testing.T, plain []byte) map[string][]byte {
	t.Helper()
	one, half := gz(t, plain), len(plain)/2
	with := func(what ...byte) []byte { return slices.Concat(one, what) }
	change := func(i int) []byte {
		b := bytes.Clone(one)
		b[(len(b)+i)%len(b)] ^= 0x10
		return b
	}
	all := map[string][]byte{
		"one member":              one,
		"two members":             append(gz(t, plain[:half]), gz(t, plain[half:])...),
		"an empty member more":    append(gz(t, plain), gz(t, nil)...),
		"a named member":          named(t, plain, "layer.tar"),
		"a name too long":         named(t, plain, string(bytes.Repeat([]byte("n"), 600))),
		"text behind":             with([]byte("more")...),
		"a zero behind":           with(0),
		"zeros behind":            with(make([]byte, 512)...),
		"a byte of a member":      with(0x1f),
		"two bytes of a member":   with(0x1f, 0x8b),
		"a member without a kind": with(0x1f, 0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"half a member":           with(gz(t, []byte("more"))[:15]...),
		"zstd behind":             with(zst(t, plain)...),
		// The header of the second gzip member is truncated. Bytes after the stream could complete
		// it.
		"name cut short":         with(0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0xff, 'n', 'a'),
		"comment cut short":      with(0x1f, 0x8b, 8, 16, 0, 0, 0, 0, 0, 0xff),
		"extra field cut short":  with(0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 10, 0),
		"extra and name cut off": with(0x1f, 0x8b, 8, 12, 0, 0, 0, 0, 0, 0xff, 12, 0),
		"block cut short":        with(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0, 10, 0, 0xf5, 0xff),
		"flipped":                change(len(one) / 2),
		"flipped sum":            change(-6),
		"flipped size":           change(-2),
		"flipped kind":           change(2),
		"nothing":                {},
		"no gzip":                plain,
		"zstd":                   zst(t, plain),
	}
	for _, n := range []int{1, 2, 5, 10, 11, len(one) / 2, len(one) - 9, len(one) - 8, len(one) - 1} {
		all[fmt.Sprintf("%d bytes", n)] = one[:n]
	}
	return all
}

func named(t *testing.T, plain []byte, name string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Name = name
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestProgramAgreesWithTheLibrary checks that every external decompressor accepts the same streams
// as package gzip.
func TestProgramAgreesWithTheLibrary(t *testing.T) {
	plain := content(t, 300_000) // larger than chunk, to pass it on in several pieces
	all, want := streams(t, plain), map[string]string{}
	for what, stored := range all {
		_, err := fetch(t, newStore(t), honest(stored, plain))
		want[what] = verdict(err)
	}
	for name, argv := range inflaters() {
		t.Run(name, func(t *testing.T) {
			for what, stored := range all {
				s := newStore(t, using(argv))
				l, err := fetch(t, s, honest(stored, plain))
				if got := verdict(err); got != want[what] {
					t.Errorf("%s: %s, and %s by the library: %v", what, got, want[what], err)
				}
				checkNoPartials(t, s)
				if err == nil {
					checkLayer(t, l, stored, plain)
				}
			}
		})
	}
}

// TestProgramThatIsBrokenDecidesNothing checks that a valid layer is accepted and an invalid one
// refused, even if the external decompressor is broken.
func TestProgramThatIsBrokenDecidesNothing(t *testing.T) {
	plain := content(t, 300_000)
	stored := gz(t, plain)
	argvs := map[string][]string{"is missing": {filepath.Join(t.TempDir(), "none")}, "is no program": {t.TempDir()}}
	for name := range programs {
		if name != "is stuck" && name != "is endless" {
			argvs[name] = program(name)
		}
	}
	for name, argv := range argvs {
		s := newStore(t, using(argv))
		l, err := fetch(t, s, honest(stored, plain))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkLayer(t, l, stored, plain)
		if used := s.used.Load(); used != int64(len(stored)+len(plain)) {
			t.Errorf("%s: %d bytes are counted, not %d", name, used, len(stored)+len(plain))
		}
		if _, err := fetch(t, newStore(t, using(argv)), honest(append(bytes.Clone(stored), "more"...), plain)); !isCorrupt(err) {
			t.Errorf("%s: with more behind it: %v", name, err)
		}
	}
}

func TestProgramDoesTheWork(t *testing.T) {
	plain := content(t, 300_000)
	for name, argv := range inflaters() {
		s := newStore(t, using(argv))
		r, w := io.Pipe()
		go func() {
			_, err := w.Write(gz(t, plain))
			w.CloseWithError(err)
		}()
		var got bytes.Buffer
		if err := s.gunzip(t.Context(), r, &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(got.Bytes(), plain) {
			t.Errorf("%s: gave %d bytes, not the %d", name, got.Len(), len(plain))
		}
	}
}

func TestProgramLimitsBombs(t *testing.T) {
	bomb := make([]byte, 4<<20)
	stored, plain := gz(t, bomb), content(t, 100_000)
	argvs := inflaters()
	argvs["is endless"] = program("is endless")
	for name, argv := range argvs {
		for limit, change := range map[string]func(*Options){
			"layer": func(o *Options) { o.MaxLayer = 1 << 20 },
			"total": func(o *Options) { o.MaxTotal = 1 << 20 },
		} {
			s := newStore(t, change, using(argv))
			if _, err := fetch(t, s, honest(stored, bomb)); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s, %s: %v", name, limit, err)
			}
			if used := s.used.Load(); used != 0 {
				t.Errorf("%s, %s: %d bytes are still counted", name, limit, used)
			}
			checkNoPartials(t, s)
		}
		// A layer of exactly the maximum size must be accepted.
		s := newStore(t, func(o *Options) { o.MaxLayer = int64(len(plain)) }, using(argv))
		if _, err := fetch(t, s, honest(gz(t, plain), plain)); err != nil && name != "is endless" {
			t.Errorf("%s: at the limit: %v", name, err)
		}
	}
}

func TestProgramEndsWithItsContext(t *testing.T) {
	plain := content(t, 3<<20) // more bytes than the buffer of the pipe to the program
	s := newStore(t, using(program("is stuck")))
	ctx, cancel := context.WithCancel(t.Context())
	src := honest(gz(t, plain), plain)
	src.openFunc = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(src.stored[:len(src.stored)/2]), readerFunc(func([]byte) (int, error) {
			cancel()
			return 0, ctx.Err()
		}))), nil
	}
	time.AfterFunc(time.Second, cancel) // The delayed cancel also works if a full pipe stops the reader earlier.
	l, err := s.layer(v1.Descriptor{MediaType: types.OCILayer, Digest: src.digest, Size: src.size}, src.diffID, src.open)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.fetch(ctx, l, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	checkNoPartials(t, s)
}

// TestBrokenTransferIsNotCorruptionByAProgram checks that a broken transfer is reported as a
// transfer error. The layer is not reported as corrupt, and the external decompressor is not
// blamed.
func TestBrokenTransferIsNotCorruptionByAProgram(t *testing.T) {
	plain := content(t, 300_000)
	stored := gz(t, plain)
	broken := fmt.Errorf("reading from the registry: %w", io.EOF)
	for name, argv := range inflaters() {
		for _, n := range []int{0, 2, 5, 20_000, len(stored) - 1} {
			src := honest(stored, plain)
			src.openFunc = func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(src.stored[:n]), readerFunc(func([]byte) (int, error) { return 0, broken }))), nil
			}
			if _, err := fetch(t, newStore(t, using(argv)), src); !errors.Is(err, broken) || isCorrupt(err) {
				t.Errorf("%s, after %d bytes: %v", name, n, err)
			}
		}
	}
}

func TestProgramIsNotLookedUp(t *testing.T) {
	for _, argv := range [][]string{{"igzip"}, {"./igzip", "-dc"}, {""}} {
		if s, err := New(Options{Dir: t.TempDir(), Gunzip: argv}); err == nil {
			s.Close()
			t.Errorf("%q was accepted", argv)
		}
	}
}

// TestChecksumsDiffer checks that sentinels differ in their content and in the length of their
// headers.
func TestChecksumsDiffer(t *testing.T) {
	contents, lengths := map[string]bool{}, map[int]bool{}
	for range 20 {
		s := newChecksum()
		z, err := gzip.NewReader(bytes.NewReader(s.member))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(got, s.content) || crc32.ChecksumIEEE(got) == 0 {
			t.Fatalf("it holds %x, not %x: %v", got, s.content, err)
		}
		contents[string(got)], lengths[len(s.member)] = true, true
	}
	if len(contents) != 20 || len(lengths) < 10 {
		t.Errorf("of 20 there are %d contents and %d lengths", len(contents), len(lengths))
	}
}

// TestChecksumWriterPassesOtherContent checks that checksumWriter passes all content except the
// sentinel, for writes of every size.
func TestChecksumWriterPassesOtherContent(t *testing.T) {
	plain := content(t, 2000)
	s := newChecksum()
	for _, size := range []int{1, 3, checksumSize - 1, checksumSize, checksumSize + 1, 100, 5000} {
		var got bytes.Buffer
		w := &checksumWriter{w: &got, checksum: s.content}
		for b := range slices.Chunk(slices.Concat(plain, s.content), size) {
			if n, err := w.Write(b); n != len(b) || err != nil {
				t.Fatal(n, err)
			}
		}
		if !w.intact() || !bytes.Equal(got.Bytes(), plain) {
			t.Errorf("in pieces of %d: %d bytes, intact is %v", size, got.Len(), w.intact())
		}
	}
}
