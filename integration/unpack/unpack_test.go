package unpack

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/filetree/filenode"
	containerd "github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/log"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/gate/layers"
	moby "github.com/moby/go-archive"
	"golang.org/x/sys/unix"
)

// unpacker unpacks the layers of an image, in order, below the folder dir. It returns the root
// folder of the unpacked files.
type unpacker func(t *testing.T, dir string, layers [][]byte) (string, error)

var unpackers = map[string]unpacker{
	"containerd in place": func(t *testing.T, dir string, layers [][]byte) (string, error) {
		for _, l := range layers {
			if _, err := containerd.Apply(t.Context(), dir, bytes.NewReader(l)); err != nil {
				return "", err
			}
		}
		return dir, nil
	},
	"containerd overlay": overlaid(func(ctx context.Context, to string, below []string, layer io.Reader) error {
		opts := []containerd.ApplyOpt{containerd.WithConvertWhiteout(containerd.OverlayConvertWhiteout)}
		if len(below) > 0 {
			opts = append(opts, containerd.WithParents(below))
		}
		_, err := containerd.Apply(ctx, to, layer, opts...)
		return err
	}),
	"moby in place": func(_ *testing.T, dir string, layers [][]byte) (string, error) {
		for _, l := range layers {
			if _, err := moby.UnpackLayer(dir, bytes.NewReader(l), nil); err != nil {
				return "", err
			}
		}
		return dir, nil
	},
	"moby overlay": overlaid(func(_ context.Context, to string, _ []string, layer io.Reader) error {
		return moby.UntarUncompressed(layer, to, &moby.TarOptions{WhiteoutFormat: moby.OverlayWhiteoutFormat})
	}),
}

// overlaid returns an unpacker that unpacks each layer into a separate folder, and merges the
// folders with the kernel's overlay file system.
func overlaid(apply func(ctx context.Context, to string, below []string, layer io.Reader) error) unpacker {
	return func(t *testing.T, dir string, layers [][]byte) (string, error) {
		var lower []string // the folders of the lower layers, the top layer first
		for i, l := range layers {
			to := filepath.Join(dir, strconv.Itoa(i))
			if err := os.Mkdir(to, 0o755); err != nil {
				return "", err
			}
			if err := apply(t.Context(), to, lower, bytes.NewReader(l)); err != nil {
				return "", err
			}
			lower = append([]string{to}, lower...)
		}
		if len(lower) == 1 {
			return lower[0], nil
		}
		merged := filepath.Join(dir, "merged")
		if err := os.Mkdir(merged, 0o755); err != nil {
			return "", err
		}
		if err := unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+strings.Join(lower, ":")); err != nil {
			return "", err
		}
		t.Cleanup(func() {
			if err := unix.Unmount(merged, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return merged, nil
	}
}

// TestNothingIsHiddenFromTheGate checks, for random stacks of layers, that the gate either sees
// every file that a runtime unpacks or refuses the image. UNPACK_STACKS is the number of stacks to
// test, and UNPACK_SEED the first seed.
func TestNothingIsHiddenFromTheGate(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting an overlay file system needs root")
	}
	// The mounts are visible only to this thread. The thread stays locked, so that the Go runtime
	// ends the thread, and with it the mounts, after the test.
	runtime.LockOSThread()
	if err := cmp.Or(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		t.Skip("no mounts of its own: ", err)
	}
	if err := log.SetLevel("error"); err != nil {
		t.Fatal(err)
	}
	var counts tally
	first, stacks := number(t, "UNPACK_SEED", 0), number(t, "UNPACK_STACKS", 60)
	for seed := first; seed < first+stacks; seed++ {
		t.Run(fmt.Sprint("stack ", seed), func(t *testing.T) {
			runtime.LockOSThread()
			if err := cmp.Or(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
				t.Fatal(err)
			}
			compare(t, newStack(t, seed), &counts)
		})
	}
	counts.report()
	if counts.compared["containerd overlay"] == 0 || counts.compared["containerd in place"] == 0 {
		t.Error("nothing was compared")
	}
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// tally counts the results of all tested stacks.
type tally struct {
	stacks, hidden int
	refused        map[string]int // number of refused stacks, by reason
	compared       map[string]int // number of compared stacks, by runtime
	failed         map[string]int // number of failures, by the error of a runtime
}

func (c *tally) add(to *map[string]int, key string) {
	if *to == nil {
		*to = map[string]int{}
	}
	(*to)[key]++
}

var quoted = regexp.MustCompile(`"([^"\\]|\\.)*"|sha256:[0-9a-f]+|\d+`)

// report prints the counts, whether or not the test fails.
func (c *tally) report() {
	refusals := 0
	for _, reason := range slices.Sorted(maps.Keys(c.refused)) {
		refusals += c.refused[reason]
		fmt.Printf("refused %4d: %s\n", c.refused[reason], reason)
	}
	for _, cause := range slices.Sorted(maps.Keys(c.failed)) {
		fmt.Printf("not unpacked by %s: %d\n", cause, c.failed[cause])
	}
	for _, runtime := range slices.Sorted(maps.Keys(c.compared)) {
		fmt.Printf("compared with %s: %d\n", runtime, c.compared[runtime])
	}
	fmt.Printf("%d stacks, %d refused, %d with hidden files\n", c.stacks, refusals, c.hidden)
}

// compare unpacks a stack with every unpacker, and compares the unpacked files with the files that
// the gate sees.
func compare(t *testing.T, s *stack, counts *tally) {
	counts.stacks++
	gate, err := seen(t, imageOf(t, s.layers))
	var refused *layers.RefusedError
	if errors.As(err, &refused) {
		counts.add(&counts.refused, quoted.ReplaceAllString(refused.Reason, "_"))
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	hidden := false
	for _, runtime := range slices.Sorted(maps.Keys(unpackers)) {
		root, err := unpackers[runtime](t, t.TempDir(), s.layers)
		if err != nil {
			for cause := errors.Unwrap(err); cause != nil; cause = errors.Unwrap(err) {
				err = cause
			}
			counts.add(&counts.failed, runtime+": "+quoted.ReplaceAllString(err.Error(), "_"))
			continue
		}
		counts.add(&counts.compared, runtime)
		for _, what := range gate.lacks(t, root) {
			hidden = true
			t.Errorf("%s: %s", runtime, what)
		}
	}
	if hidden {
		counts.hidden++
		for i, l := range s.layers {
			t.Logf("layer %d:\n%s", i, listing(t, l))
		}
	}
}

// imageOf returns an image with the layers.
func imageOf(t *testing.T, archives [][]byte) v1.Image {
	t.Helper()
	var add []mutate.Addendum
	for _, raw := range archives {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		add = append(add, mutate.Addendum{Layer: layerOf(t, packed.Bytes())})
	}
	return appended(t, add...)
}

func layerOf(t *testing.T, blob []byte) v1.Layer {
	t.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func appended(t *testing.T, add ...mutate.Addendum) v1.Image {
	t.Helper()
	img, err := mutate.Append(empty.Image, add...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// gateView is the file tree of an image as the gate sees it.
type gateView struct{ *filesystem.Filesystem }

// seen returns the file tree of an image as the gate sees it, or the error if the gate refuses it.
func seen(t *testing.T, src v1.Image) (gateView, error) {
	t.Helper()
	lists := filesystem.New()
	store, err := layers.New(layers.Options{Dir: t.TempDir(), Index: lists.List})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	lists.Use(store)
	d, err := partial.Descriptor(src)
	if err != nil {
		t.Fatal(err)
	}
	img, err := store.Image(t.Context(), *d, src)
	if err != nil {
		return gateView{}, err
	}
	if err := store.Fetch(t.Context(), img); err != nil {
		return gateView{}, err
	}
	out, err := lists.Stack(t.Context(), img, d.Digest)
	if err != nil {
		return gateView{}, err
	}
	t.Cleanup(func() {
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	})
	return gateView{out}, nil
}

// lacks lists everything that a runtime has unpacked and the gate does not see at the same path. It
// compares files with their content, the entries of folders, and links with their destination. The
// entries of folders matter, because catalogers search them for path patterns.
func (g gateView) lacks(t *testing.T, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		at := strings.TrimPrefix(p, root)
		switch {
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			if got, ok := g.link(at); !ok || got != to {
				out = append(out, fmt.Sprintf("link %q to %q; the gate sees %q", at, to, got))
			}
		case d.Type().IsRegular():
			want, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			for dir := filepath.Dir(at); dir != "/"; dir = filepath.Dir(dir) {
				if ok, found, err := g.SquashedTree().File(file.Path(dir)); err != nil || !ok || !found.HasReference() {
					out = append(out, fmt.Sprintf("folder %q of %q has no entry", dir, at))
				}
			}
			if got, err := g.content(at); err != nil || !bytes.Equal(got, want) {
				out = append(out, fmt.Sprintf("file %q has %q; the gate sees %q, %v", at, short(want), short(got), err))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func short(b []byte) string { return string(b[:min(len(b), 40)]) }

// link returns the target of the link at a path.
func (g gateView) link(at string) (string, bool) {
	ok, found, err := g.SquashedTree().File(file.Path(at))
	if err != nil || !ok || !found.HasReference() {
		return "", false
	}
	n, ok := g.SquashedTree().TreeReader().Node(filenode.IDByPath(found.RealPath)).(*filenode.FileNode)
	if !ok || n.FileType != file.TypeSymLink {
		return "", false
	}
	return string(n.LinkPath), true
}

var errNoFile = errors.New("there is no file")

// content returns the content of the file at a path.
func (g gateView) content(at string) ([]byte, error) {
	ok, found, err := g.SquashedTree().File(file.Path(at))
	if err != nil {
		return nil, err
	}
	if !ok || !found.HasReference() {
		return nil, errNoFile
	}
	if m, err := g.FileCatalog.Get(*found.Reference); err != nil || m.Type != file.TypeRegular {
		return nil, fmt.Errorf("%w: it is of type %s, %v", errNoFile, m.Type, err)
	}
	rc, err := g.OpenReference(*found.Reference)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}
