// Package integration runs the whole binary against real registries, real databases and real
// clients. It has no code to import.
package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imagegate/imagegate/internal/cli"
	"github.com/imagegate/imagegate/internal/lab"
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run builds imagegate as a user does, and adds it to the PATH of every test. It builds without the
// race detector, which would slow down each of the many starts to seconds. The tests of the
// packages use the race detector.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "imagegate-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shared = dir
	bin := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(bin, "imagegate"), ".") // the same command as in "make build"
	build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building imagegate: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// world is the environment of one script: a staging and an approved registry that no other script
// uses. A third registry, $LOCKED, accepts only the user "robot" with the password "right".
type world struct {
	registries map[string]*lab.Registry
}

// TestScripts runs the scripts in testdata/script. A script may use these commands, in addition to
// testscript's own commands:
//
//	status CODE COMMAND...   the command exits with exactly this code
//	push KIND REF            push an image of the map images
//	writes SIDE N            a registry has received N write requests
//	lastwrite SIDE METHOD P  its last write request was for a path ending in P
//	reset SIDE               clear the recorded requests
//	tags SIDE REPO TAG...    a repository has exactly these tags
//	empty DIR                a folder is empty or does not exist
//	noblobs SIDE             no blob was read from a registry
//	samedigest REF REF       two references have the same digest
//	complete REF             an image or index can be pulled completely
//	mirror TAG TAG           copy an image with its signatures and statements
//	corruptdb DIR            copy the database with one bit flipped
//	screen CODE COMMAND...   run a command on a terminal of 80x24, and write its last screen to the file
//	                         "screen"; on Linux only
func TestScripts(t *testing.T) {
	cache := database(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			w := &world{registries: map[string]*lab.Registry{}}
			for _, side := range []string{"staging", "approved", "other"} {
				r, err := lab.StartRegistry(lab.Options{})
				if err != nil {
					return err
				}
				env.Defer(func() { r.Close() })
				w.registries[side] = r
				env.Setenv(strings.ToUpper(side), r.Host())
			}
			locked, err := lab.StartRegistry(lab.Options{User: "robot", Password: "right"})
			if err != nil {
				return err
			}
			env.Defer(func() { locked.Close() })
			env.Setenv("LOCKED", locked.Host())
			env.Values["world"] = w
			temp := filepath.Join(env.WorkDir, "temp")
			if err := os.Mkdir(temp, 0o700); err != nil {
				return err
			}
			home := filepath.Join(env.WorkDir, "home")
			if err := os.Mkdir(home, 0o700); err != nil {
				return err
			}
			env.Setenv("HOME", home)
			env.Setenv("IMAGEGATE_TEMP_DIR", temp)
			env.Setenv("TMPDIR", temp)
			env.Setenv("IMAGEGATE_CACHE_DIR", cache)
			env.Setenv("IMAGEGATE_CACHE_MAX", "0") // scripts must not share cached SBOMs
			env.Setenv("COSIGN_PASSWORD", "correct horse")
			examples, err := filepath.Abs("../examples")
			if err != nil {
				return err
			}
			env.Setenv("EXAMPLES", examples)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "push": push, "writes": writes, "lastwrite": lastWrite, "reset": reset, "tags": tags, "empty": empty,
			"noblobs": noBlobs, "samedigest": sameDigest, "complete": complete, "mirror": mirror, "corruptdb": corruptDB,
			"sign": sign, "attest": attest, "embedkey": embedKey, "screen": screenCommand,
		},
	})
}

// screenCommand implements the script command screen, on Linux only.
var screenCommand func(*testscript.TestScript, bool, []string)

// shared is a folder for files that all tests use.
var shared string

var imported struct {
	once sync.Once
	err  error
}

// database builds and imports the database of examples/records once, and returns the cache folder
// that contains it.
func database(t *testing.T) string {
	t.Helper()
	imported.once.Do(func() {
		run := func(args ...string) {
			if imported.err != nil {
				return
			}
			var out, stderr strings.Builder
			streams := cli.Streams{In: strings.NewReader(""), Out: &out, Err: &stderr}
			if code := cli.Run(context.Background(), append([]string{"imagegate"}, args...), streams); code != 0 {
				imported.err = fmt.Errorf("imagegate %s: exit code %d\n%s", strings.Join(args, " "), code, stderr.String())
			}
		}
		archive := filepath.Join(shared, "database.tar.gz")
		run("db", "build", "../examples/records", "--to", archive)
		run("db", "import", archive, "--cache-dir", filepath.Join(shared, "cache"))
	})
	if imported.err != nil {
		t.Fatal(imported.err)
	}
	return filepath.Join(shared, "cache")
}

// status implements the script command status: it runs a command and checks its exit code.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("running %s: %v", args[1], err)
	}
	if code != want {
		ts.Fatalf("exit code %d, not %d", code, want)
	}
}

func (w *world) registry(ts *testscript.TestScript, side string) *lab.Registry {
	r, ok := w.registries[side]
	if !ok {
		ts.Fatalf("no registry %q", side)
	}
	return r
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value("world").(*world) }

func push(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: push KIND REF")
	}
	build, ok := images[args[0]]
	if !ok {
		ts.Fatalf("no image %q", args[0])
	}
	img, err := build()
	ts.Check(err)
	_, err = lab.Push(context.Background(), args[1], img)
	ts.Check(err)
}

func writes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: writes SIDE N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	got := worldOf(ts).registry(ts, args[0]).Writes()
	if len(got) != want {
		ts.Fatalf("%s has seen %d write requests, not %d: %v", args[0], len(got), want, got)
	}
}

func lastWrite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: lastwrite SIDE METHOD PATH")
	}
	got := worldOf(ts).registry(ts, args[0]).Writes()
	if len(got) == 0 {
		ts.Fatalf("%s has seen no write request", args[0])
	}
	last := got[len(got)-1]
	if last.Method != args[1] || !strings.HasSuffix(last.Path, args[2]) {
		ts.Fatalf("the last write request was %s %s", last.Method, last.Path)
	}
}

func reset(ts *testscript.TestScript, neg bool, args []string) {
	for _, side := range args {
		worldOf(ts).registry(ts, side).ResetRequests()
	}
}

func tags(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tags SIDE REPO TAG...")
	}
	repo, err := name.NewRepository(worldOf(ts).registry(ts, args[0]).Host() + "/" + args[1])
	ts.Check(err)
	got, err := remote.List(repo)
	if isStatus(err, http.StatusNotFound) {
		got, err = nil, nil
	}
	ts.Check(err)
	// Ignore the tags that store signatures and statements.
	got = slices.DeleteFunc(got, func(t string) bool { return strings.HasPrefix(t, "sha256-") })
	want := slices.Clone(args[2:])
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		ts.Fatalf("%s has the tags %v, not %v", repo, got, want)
	}
}

func empty(ts *testscript.TestScript, neg bool, args []string) {
	for _, dir := range args {
		entries, err := os.ReadDir(ts.MkAbs(dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			ts.Fatalf("%v", err)
		}
		if (len(entries) == 0) == neg {
			ts.Fatalf("%s holds %v", dir, entries)
		}
	}
}

func noBlobs(ts *testscript.TestScript, neg bool, args []string) {
	if reads := worldOf(ts).registry(ts, args[0]).BlobReads(); len(reads) != 0 {
		ts.Fatalf("blobs were read: %v", reads)
	}
}

func describe(ts *testscript.TestScript, ref string) *remote.Descriptor {
	parsed, err := name.ParseReference(ref)
	ts.Check(err)
	d, err := remote.Get(parsed)
	ts.Check(err)
	return d
}

func sameDigest(ts *testscript.TestScript, neg bool, args []string) {
	a, b := describe(ts, args[0]).Digest, describe(ts, args[1]).Digest
	if (a == b) == neg {
		ts.Fatalf("%s is %s, %s is %s", args[0], a, args[1], b)
	}
}

func complete(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(completeImage(describe(ts, args[0])))
}

// mirror implements the script command mirror: it copies a tag to another repository, with all its
// signatures and statements.
func mirror(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mirror TAG TAG")
	}
	from, err := name.NewTag(args[0])
	ts.Check(err)
	to, err := name.NewTag(args[1])
	ts.Check(err)
	all, err := remote.List(from.Context())
	ts.Check(err)
	for _, tag := range all {
		target := to.Context().Tag(tag)
		if tag == from.TagStr() {
			target = to
		} else if !strings.HasPrefix(tag, "sha256-") {
			continue
		}
		d := describe(ts, from.Context().Tag(tag).String())
		var what remote.Taggable
		if d.MediaType.IsIndex() {
			what, err = d.ImageIndex()
		} else {
			what, err = d.Image()
		}
		ts.Check(err)
		_, err = lab.Push(context.Background(), target.String(), what)
		ts.Check(err)
	}
}

func corruptDB(ts *testscript.TestScript, neg bool, args []string) {
	cache := ts.MkAbs(args[0])
	ts.Check(os.CopyFS(cache, os.DirFS(ts.Getenv("IMAGEGATE_CACHE_DIR"))))
	files, err := filepath.Glob(filepath.Join(cache, "db", "sha256-*", "vulnerability.db"))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("databases: %v", files)
	}
	data, err := os.ReadFile(files[0])
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.Chmod(files[0], 0o600))
	ts.Check(os.WriteFile(files[0], data, 0o600))
}
