package layers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func TestOptionsThatBoundNothingAreRefused(t *testing.T) {
	dir := t.TempDir()
	for what, opts := range map[string]Options{
		"no folder":      {},
		"layer":          {Dir: dir, MaxLayer: -1},
		"total":          {Dir: dir, MaxTotal: -1},
		"parallel":       {Dir: dir, Parallel: -1},
		"missing folder": {Dir: filepath.Join(dir, "missing")},
	} {
		if s, err := New(opts); err == nil {
			t.Errorf("%s: no error", what)
			_ = s.Close()
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestFolderIsForThisUserAlone(t *testing.T) {
	s := newStore(t)
	info, err := os.Stat(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 || !strings.HasPrefix(info.Name(), dirPrefix) {
		t.Errorf("%s has mode %v", info.Name(), info.Mode())
	}
}

func TestClosedStoreHasNothing(t *testing.T) {
	plain := content(t, 10_000)
	s := newStore(t)
	l, err := fetch(t, s, honest(gz(t, plain), plain))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.TempDir("catalog"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
	if _, err := l.Compressed(); err == nil {
		t.Error("a layer of a closed store can be read")
	}
	if _, err := fetch(t, s, honest(zst(t, plain), plain)); err == nil {
		t.Error("a closed store fetches")
	}
}

// TestMain runs the tests. In a child process of a test, it acts as a run that holds its lock until
// it is killed.
func TestMain(m *testing.M) {
	actAs(os.Args)
	if dir := os.Getenv("LAYERS_TEST_HOLD"); dir != "" {
		s, err := New(Options{Dir: dir})
		if err != nil {
			panic(err)
		}
		if _, err := s.TempDir("catalog"); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("held\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // blocks until the parent closes the pipe
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestFolderOfLiveProcessIsNotSwept(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LAYERS_TEST_HOLD="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("held\n"))); err != nil {
		t.Fatal(err)
	}
	held := runDirs(t, dir)
	if len(held) != 1 {
		t.Fatalf("the other process has %v", held)
	}
	sweep(dir)
	if got := runDirs(t, dir); len(got) != 1 {
		t.Errorf("while it lives: %v", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // Wait returns an error because the process was killed.
	sweep(dir)
	if got := runDirs(t, dir); len(got) != 0 {
		t.Errorf("after it was killed: %v", got)
	}
}

func runDirs(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, dirPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFoldersOfOthersAreNotSwept(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	for _, sub := range []string{"imagegate-config", "imagegate-1a", "imagegate-", "other-1", "imagegate-2"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		if sub == "imagegate-2" { // This folder has no lock file: another run is just creating it, or it belongs to another program.
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, sub, lockName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(elsewhere, lockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "imagegate-3")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "imagegate-4"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(elsewhere, "made"), filepath.Join(dir, "imagegate-4", lockName)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sweep(dir)
	after, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) {
		t.Errorf("before %v, after %v", before, after)
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) != 1 {
		t.Errorf("elsewhere holds %v, %v", entries, err)
	}
}

func TestImagesThatDisagreeOnALayerAreRefused(t *testing.T) {
	plain := content(t, 1000)
	stored := gz(t, plain)
	for what, change := range map[string]func(*upstream){
		"diffID": func(u *upstream) { u.diffID = sum([]byte("something else")) },
		"size":   func(u *upstream) { u.size++ },
	} {
		s := newStore(t)
		if _, err := fetch(t, s, honest(stored, plain)); err != nil {
			t.Fatal(err)
		}
		liar := honest(stored, plain)
		change(liar)
		if _, err := fetch(t, s, liar); !isCorrupt(err) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestTwoCompressionsShareTheDecompressedLayer(t *testing.T) {
	plain := content(t, 50_000)
	s := newStore(t)
	g, z := honest(gz(t, plain), plain), honest(zst(t, plain), plain)
	for _, src := range []*upstream{g, z} {
		if _, err := fetch(t, s, src); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := s.used.Load(), g.size+z.size+int64(len(plain)); got != want {
		t.Errorf("%d bytes are counted, not %d", got, want)
	}
}

func TestPlainLayerIsBoundedToo(t *testing.T) {
	plain := content(t, 2<<20)
	s := newStore(t, func(o *Options) { o.MaxLayer = 1 << 20 })
	src := honest(plain, plain)
	if _, err := fetch(t, s, src); !errors.Is(err, ErrTooLarge) || src.opened.Load() != 0 {
		t.Errorf("got %v, opened %d times", err, src.opened.Load())
	}
}

func TestBlobIsVerified(t *testing.T) {
	b := []byte(`{"a":"statement"}`)
	good := v1.Descriptor{MediaType: "application/vnd.in-toto+json", Digest: sum(b), Size: int64(len(b))}
	opened := 0
	open := func(b []byte) Open {
		return func(context.Context) (io.ReadCloser, error) {
			opened++
			return io.NopCloser(bytes.NewReader(b)), nil
		}
	}
	s := newStore(t)
	for what, c := range map[string]struct {
		d  v1.Descriptor
		b  []byte
		is func(error) bool
	}{
		"other bytes":     {good, []byte(`{"a":"STATEMENT"}`), isCorrupt},
		"fewer":           {good, b[1:], isCorrupt},
		"more":            {good, append(bytes.Clone(b), ' '), isCorrupt},
		"too many":        {v1.Descriptor{Digest: good.Digest, Size: MaxBlob + 1}, b, isRefused},
		"fewer than none": {v1.Descriptor{Digest: good.Digest, Size: -1}, b, isRefused},
		"algorithm":       {v1.Descriptor{Digest: v1.Hash{Algorithm: "md5", Hex: "00"}, Size: 1}, b, isRefused},
	} {
		if _, err := s.Blob(t.Context(), c.d, open(c.b)); !c.is(err) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	checkNoPartials(t, s)
	opened = 0
	for range 2 {
		blob, err := s.Blob(t.Context(), good, open(b))
		if err != nil {
			t.Fatal(err)
		}
		rc, err := blob.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		if err := errors.Join(err, rc.Close()); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%q, %v", got, err)
		}
	}
	if opened != 1 {
		t.Errorf("opened %d times", opened)
	}
	wrong := good
	wrong.Size++
	if _, err := s.Blob(t.Context(), wrong, open(b)); !isCorrupt(err) {
		t.Errorf("another size for what is there: %v", err)
	}
}

func TestDecompressedLayersAreTheFetchedOnes(t *testing.T) {
	plain := content(t, 10_000)
	s := newStore(t)
	if _, err := s.Decompressed(sum(plain)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a layer that is not there: %v", err)
	}
	if _, err := fetch(t, s, honest(gz(t, plain), plain)); err != nil {
		t.Fatal(err)
	}
	in, err := s.Decompressed(sum(plain))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(plain)+1)
	if n, err := in.ReadAt(got, 0); !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], plain) {
		t.Errorf("the layer has %d bytes: %v", n, err)
	}
}

func TestKeptFilesCannotBeWritten(t *testing.T) {
	plain := content(t, 1000)
	s := newStore(t)
	src := honest(gz(t, plain), plain)
	if _, err := fetch(t, s, src); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.blobPath(src.digest), s.layerPath(src.diffID)} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o400 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

func TestWriteFileStaysInTheFolder(t *testing.T) {
	s := newStore(t, func(o *Options) { o.MaxTotal = 1000 })
	dir, err := s.TempDir("archive")
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "index.json")
	if err := s.WriteFile(inside, strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(inside); err != nil || string(got) != "{}" {
		t.Errorf("%q, %v", got, err)
	}
	if err := s.WriteFile(inside, strings.NewReader("[]")); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	outside := filepath.Join(dir, "..", "..", "outside")
	if err := s.WriteFile(outside, strings.NewReader("{}")); err == nil {
		t.Error("outside: no error")
	}
	if _, err := os.Stat(outside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("outside: %v", err)
	}
	large := filepath.Join(dir, "large")
	if err := s.WriteFile(large, strings.NewReader(strings.Repeat("x", 2000))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if used := s.used.Load(); used != 2 {
		t.Errorf("%d bytes are counted, not 2", used)
	}
}

func TestFirstErrorEndsTheOthers(t *testing.T) {
	s := newStore(t, func(o *Options) { o.Parallel = 2 })
	broken := errors.New("connection reset")
	// The largest layers are started first, so stuck is read before the smaller layers.
	stuck := honest(gz(t, content(t, 9000)), content(t, 9000))
	waits := make(chan struct{})
	stuck.openFunc = func(context.Context) (io.ReadCloser, error) {
		r, _ := io.Pipe() // a reader that never returns a byte
		close(waits)
		return r, nil
	}
	failing := honest(gz(t, content(t, 6000)), content(t, 6000))
	failing.openFunc = func(context.Context) (io.ReadCloser, error) {
		<-waits
		return nil, broken
	}
	never := honest(gz(t, content(t, 3000)), content(t, 3000))
	img := &image{}
	for _, u := range []*upstream{stuck, failing, never} {
		l, err := s.layer(v1.Descriptor{MediaType: types.OCILayer, Digest: u.digest, Size: u.size}, u.diffID, u.open)
		if err != nil {
			t.Fatal(err)
		}
		img.layers = append(img.layers, l)
	}
	if err := s.Fetch(t.Context(), img); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if n := never.opened.Load(); n != 0 {
		t.Errorf("a layer was opened after another had failed")
	}
	checkNoPartials(t, s)
}

func TestRunsThatStartTogetherDoNotSweepEachOther(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 25 {
				s, err := New(Options{Dir: dir})
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					sweep(dir)
				}
				if _, err := os.Lstat(filepath.Join(s.dir, lockName)); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if left := runDirs(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestReleasedStoreStillHasWhatIsPushed checks that a released store still has the compressed
// layers for pushing, and can fetch new layers.
func TestReleasedStoreStillHasWhatIsPushed(t *testing.T) {
	plain, later := content(t, 50_000), content(t, 60_000)
	s := newStore(t)
	l, err := fetch(t, s, honest(gz(t, plain), plain))
	if err != nil {
		t.Fatal(err)
	}
	uncompressed, err := fetch(t, s, honest(later, later))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	for want, l := range map[string]*Layer{string(gz(t, plain)): l, string(later): uncompressed} {
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		if err := errors.Join(err, rc.Close()); err != nil || string(got) != want {
			t.Errorf("%d bytes, not %d: %v", len(got), len(want), err)
		}
		if rc, err := l.Uncompressed(); err == nil {
			rc.Close()
			t.Error("the decompressed layer is there")
		}
		if _, err := s.Decompressed(l.diffID); err == nil {
			t.Error("the decompressed layer could be opened")
		}
	}
	if l, err = fetch(t, s, honest(zst(t, later), later)); err != nil {
		t.Fatal(err)
	}
	checkLayer(t, l, zst(t, later), later)
}
