package integration

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

// TestInterruptedRunLeavesNothing interrupts a run in each phase. The exit code must be 130, and no
// temporary file and no tag may remain. Another run must complete the promotion.
func TestInterruptedRunLeavesNothing(t *testing.T) {
	for name, at := range map[string]struct {
		side string
		when func(*http.Request) bool
		line string // a progress line that marks the phase, for a phase without a request
	}{
		"resolving":   {side: "staging", when: lab.IsManifest},
		"pulling":     {side: "staging", when: lab.IsBlob},
		"cataloging":  {line: "pull "},
		"copying":     {side: "approved", when: lab.IsWrite},
		"attesting":   {side: "approved", when: func(r *http.Request) bool { return lab.IsWrite(r) && strings.HasSuffix(r.URL.Path, ".att") }},
		"reading":     {side: "approved", when: func(r *http.Request) bool { return !lab.IsWrite(r) && strings.HasSuffix(r.URL.Path, ".att") }},
		"tag's write": {side: "approved", when: func(r *http.Request) bool { return lab.IsWrite(r) && strings.HasSuffix(r.URL.Path, "/manifests/1") }},
	} {
		t.Run(name, func(t *testing.T) { testInterrupt(t, at.side, at.when, at.line, name == "tag's write") })
	}
}

func testInterrupt(t *testing.T, side string, when func(*http.Request) bool, line string, maybeTagged bool) {
	w := newWork(t, "fixed")
	cmd := w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key)
	var stderr safeBuffer
	cmd.Stderr = &stderr

	var reached <-chan struct{}
	if side != "" {
		reached = w.hold(side, when)
	} else {
		seen := make(chan struct{})
		var once sync.Once
		stderr.watch(line, func() { once.Do(func() { close(seen) }) })
		reached = seen
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, cmd, reached)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	want := "imagegate: interrupted; nothing was promoted; run it again\n"
	if maybeTagged {
		want = "imagegate: interrupted; tags may have been written, each on a complete, verified image; run it again\n"
	}
	if !strings.Contains(stderr.String(), want) {
		t.Errorf("it says %q, not %q", stderr.String(), want)
	}
	w.nothingLeft(t)
	for _, r := range w.registries {
		r.SetHook(nil)
	}
	tag, err := name.NewTag(w.target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(tag); !isStatus(err, http.StatusNotFound) {
		t.Errorf("the tag is there, or cannot be told: %v", err)
	}
	again := w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key)
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("again: %v\n%s", err, out)
	}
	if out, err := w.command(t, "verify", w.target, "--key", w.public).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// hold makes a registry hold the requests that match when until the client gives up, so that a signal
// arrives while the request is in progress. reached is closed when the first of them arrives.
func (w *work) hold(side string, when func(*http.Request) bool) (reached <-chan struct{}) {
	first := make(chan struct{})
	var once sync.Once
	w.registries[side].SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if !when(r) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body) // a server detects a closed connection only after it has read the request
		once.Do(func() { close(first) })
		<-r.Context().Done()
		return true
	})
	return first
}

// await waits until a started command has reached a phase. After a minute, it kills the command and
// fails the test.
func await(t *testing.T, cmd *exec.Cmd, reached <-chan struct{}) {
	t.Helper()
	select {
	case <-reached:
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Fatalf("the command did not reach the phase:\n%s", cmd.Stderr)
	}
}

// held starts a command and waits until the command requests a blob. The registry never responds to
// this request.
func (w *work) held(t *testing.T, args ...string) (*exec.Cmd, *safeBuffer) {
	t.Helper()
	reached := w.hold("staging", lab.IsBlob)
	cmd, stderr := w.command(t, args...), &safeBuffer{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, cmd, reached)
	return cmd, stderr
}

// TestFullDiskIsNotTheRegistrysFault checks that a full disk is not reported as a registry error.
// The test limits the size of files, which has the same effect as a full disk.
func TestFullDiskIsNotTheRegistrysFault(t *testing.T) {
	w := newWork(t, "large")
	limited := exec.Command("bash", append([]string{"-c", `ulimit -f 8192; trap '' XFSZ; exec "$@"`, "bash"},
		w.args("promote", w.source, w.target, "--policy", w.policy, "--key", w.key)...)...)
	limited.Env = w.env
	out, err := limited.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "file too large") || !strings.Contains(string(out), "hint: ") {
		t.Errorf("it says %s", out)
	}
	w.nothingLeft(t)
	if got := w.registries["approved"].Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
}

// work is the environment of a promotion: an image in the staging registry, and everything needed
// to promote it.
type work struct {
	registries             map[string]*lab.Registry
	dir, temp              string
	source, target, policy string
	key, public            string
	env                    []string
}

func newWork(t *testing.T, kind string) *work {
	t.Helper()
	cache := database(t)
	w := &work{registries: map[string]*lab.Registry{}, dir: t.TempDir()}
	for _, side := range []string{"staging", "approved"} {
		r, err := lab.StartRegistry(lab.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		w.registries[side] = r
	}
	img, err := images[kind]()
	if err != nil {
		t.Fatal(err)
	}
	w.source, w.target = w.registries["staging"].Ref("team/app:1"), w.registries["approved"].Ref("team/app:1")
	if _, err := lab.Push(t.Context(), w.source, img); err != nil {
		t.Fatal(err)
	}
	w.temp = filepath.Join(w.dir, "temp")
	if err := os.Mkdir(w.temp, 0o700); err != nil {
		t.Fatal(err)
	}
	w.policy = filepath.Join(w.dir, "policy.yaml")
	write(t, w.policy, []byte("version: 1\nrules:\n  - name: no critical\n    severity: critical\n"))
	w.key, w.public = filepath.Join(w.dir, "cosign.key"), filepath.Join(w.dir, "cosign.pub")
	w.env = append(os.Environ(), "COSIGN_PASSWORD=correct horse", "IMAGEGATE_CACHE_DIR="+cache, "IMAGEGATE_CACHE_MAX=0", "IMAGEGATE_TEMP_DIR="+w.temp, "TMPDIR="+w.temp)
	if out, err := w.command(t, "key", "generate", filepath.Join(w.dir, "cosign")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return w
}

// args returns a complete imagegate command line that includes these arguments.
func (w *work) args(args ...string) []string {
	path, err := exec.LookPath("imagegate")
	if err != nil {
		path = "imagegate"
	}
	return append([]string{path}, args...)
}

func (w *work) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	line := w.args(args...)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), line[0], line[1:]...)
	cmd.Env = w.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal to the test's process group must not reach the command
	return cmd
}

func (w *work) nothingLeft(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(w.temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
}

// safeBuffer is a buffer that can be read while a process writes to it.
type safeBuffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	line string
	do   func()
}

// watch calls do as soon as the buffer contains the text.
func (b *safeBuffer) watch(text string, do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.line, b.do = text, do
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.buf.Write(p)
	if b.do != nil && strings.Contains(b.buf.String(), b.line) {
		b.do()
		b.do = nil
	}
	return n, err
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
