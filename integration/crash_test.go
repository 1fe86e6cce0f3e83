//go:build linux

package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/report"
)

// nested returns a text with n nesting levels that are never closed: before, then level n times.
func nested(before, level string, n int) string { return before + strings.Repeat(level, n) }

// levels is a nesting depth that overflows the stack of any recursive parser.
const levels = 6_000_000

// bombs are files that crash the process that parses them. Without IMAGEGATE_TEST_CRASH, the tests
// use only the files that crash quickly.
var bombs = map[string]struct {
	file  lab.File
	quick bool
}{
	"Lua":             {lab.File{Path: "srv/a-1-1.rockspec", Content: nested("", "a={", levels)}, true},
	"Erlang":          {lab.File{Path: "srv/rebar.lock", Content: nested("", "{", levels)}, false},
	"Elixir":          {lab.File{Path: "srv/mix.lock", Content: nested("%", "{", levels)}, false},
	"OTP":             {lab.File{Path: "srv/x.app", Content: nested("", "[", levels)}, true},
	"PHP, serialized": {lab.File{Path: "usr/share/php/.registry/x.reg", Content: nested("", "a:1:{i:0;", 3_000_000)}, true},
	"HCL":             {lab.File{Path: "srv/.terraform.lock.hcl", Content: nested("a = ", "[", levels)}, false},
	"JSON":            {lab.File{Path: "srv/package-lock.json", Content: nested("", `{"a":`, levels)}, false},
	"JSON, lists":     {lab.File{Path: "srv/composer.lock", Content: nested("", "[", levels)}, false},
	"JSON, comments":  {lab.File{Path: "srv/bun.lock", Content: nested("", "[", levels)}, false},
	"JSON, deps":      {lab.File{Path: "srv/x.deps.json", Content: nested("", `{"a":`, levels)}, true},
	"JSON, npm":       {lab.File{Path: "usr/lib/node_modules/x/package.json", Content: nested("", `{"a":`, levels)}, true},
	"JSON, Python":    {lab.File{Path: "srv/Pipfile.lock", Content: nested("", `{"a":`, levels)}, false},
	"JSON, Swift":     {lab.File{Path: "srv/Package.resolved", Content: nested("", `{"a":`, levels)}, false},
	"JSON, Conan":     {lab.File{Path: "srv/conan.lock", Content: nested("", `{"a":`, levels)}, false},
	"JSON, SBOM":      {lab.File{Path: "srv/x.cdx.json", Content: nested(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[`, `{"type":"library","name":"a","components":[`, 500_000)}, false},
	"XML":             {lab.File{Path: "srv/pom.xml", Content: nested("", "<a>", levels)}, false},
	"YAML":            {lab.File{Path: "srv/pnpm-lock.yaml", Content: nested("a: ", "[", levels)}, false},
	"YAML, blocks":    {lab.File{Path: "srv/pubspec.lock", Content: nested("", "- ", levels)}, false},
	"YAML, aliases":   {lab.File{Path: "srv/stack.yaml", Content: aliases(30)}, false},
	"YAML, pods":      {lab.File{Path: "srv/Podfile.lock", Content: nested("", "{a: ", levels)}, false},
	"TOML":            {lab.File{Path: "srv/Cargo.lock", Content: nested("a = ", "[", levels)}, false},
	"TOML, Poetry":    {lab.File{Path: "srv/poetry.lock", Content: nested("a = ", "[", levels)}, false},
	"TOML, uv":        {lab.File{Path: "srv/uv.lock", Content: nested("a = ", "{a=", levels)}, false},
	"gemspec":         {lab.File{Path: "srv/specifications/x.gemspec", Content: nested("Gem::Specification.new do |s|\n", "s.name = [", levels)}, false},
	"opam":            {lab.File{Path: "srv/x.opam", Content: nested("depends: ", "[", levels)}, false},
	"Prolog":          {lab.File{Path: "srv/pack.pl", Content: nested("", "a(", levels)}, false},
	"requirements":    {lab.File{Path: "srv/requirements.txt", Content: nested("a", "[a", levels)}, false},
	"setup.py":        {lab.File{Path: "srv/setup.py", Content: nested("install_requires=", "[", levels)}, false},
	"go.mod":          {lab.File{Path: "srv/go.mod", Content: nested("", "(", levels)}, false},
	"yarn":            {lab.File{Path: "srv/yarn.lock", Content: nested("", "a:\n  ", levels)}, false},
	"dpkg":            {lab.File{Path: "var/lib/dpkg/status", Content: nested("Package: x\n", " a\n", 100_000)}, false},
	"apk":             {lab.File{Path: "lib/apk/db/installed", Content: nested("P:x\n", "F:a\n", 100_000)}, false},
	"licence":         {lab.File{Path: "usr/lib/node_modules/x/package.json", Content: `{"name":"x","version":"1","license":"` + nested("", "(MIT OR ", 1_000_000) + `"}`}, true},
	"plist":           {lab.File{Path: "srv/x.app/Contents/Info.plist", Content: nested("<plist>", "<array>", 500_000)}, false},
	"huge rockspec":   {lab.File{Path: "srv/b-1-1.rockspec", Zeros: 2 << 30}, true},
	"huge package":    {lab.File{Path: "usr/lib/node_modules/x/package.json", Zeros: 2 << 30}, false},
	"huge dpkg":       {lab.File{Path: "var/lib/dpkg/status", Zeros: 2 << 30}, false},
	"huge apk":        {lab.File{Path: "lib/apk/db/installed", Zeros: 2 << 30}, false},
	"huge pom":        {lab.File{Path: "srv/pom.xml", Zeros: 2 << 30}, false},
	"huge release":    {lab.File{Path: "etc/os-release", Zeros: 1 << 30}, false},
	"huge jar":        {lab.File{Path: "srv/x.jar", Zeros: 1 << 30}, false},
	"huge Go program": {lab.File{Path: "srv/x", Content: "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 64<<20)}, false},
}

// aliases returns a YAML document whose aliases expand exponentially.
func aliases(n int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < n; i++ {
		before := "*a" + strconv.Itoa(i-1)
		b.WriteString("a" + strconv.Itoa(i) + ": &a" + strconv.Itoa(i) + " [" + strings.Repeat(before+",", 8) + before + "]\n")
	}
	return b.String()
}

// TestOnlyADenialExits2 checks that imagegate does not exit with 2, the code of a denial, if a file
// in the image crashes its parser. It tests this with unlimited and with little memory.
// IMAGEGATE_TEST_CRASH=1 tests all bombs.
func TestOnlyADenialExits2(t *testing.T) {
	all := os.Getenv("IMAGEGATE_TEST_CRASH") != ""
	w := newWork(t, "fixed")
	for name, bomb := range bombs {
		if !all && (!bomb.quick || testing.Short()) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			spec := fixedSpec
			spec.Layers = [][]lab.File{{bomb.file}}
			img, err := lab.Image(spec)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := lab.Push(t.Context(), w.source, img); err != nil {
				t.Fatal(err)
			}
			if name == "Lua" {
				w.endsByReport(t, "", "promote", w.source, w.target, "--policy", w.policy, "--key", w.key)
			}
			limits := []string{""}
			if all || name == "huge rockspec" {
				limits = append(limits, "ulimit -v 4194304", "export GOMEMLIMIT=512MiB")
			}
			for _, limit := range limits {
				w.endsByReport(t, limit, "check", w.source, "--policy", w.policy)
			}
		})
	}
}

// TestLittleMemoryIsNoDenial checks that an image that passes is not denied if imagegate runs out
// of memory.
func TestLittleMemoryIsNoDenial(t *testing.T) {
	w := newWork(t, "fixed")
	limits := []string{"2000000", "1000000"}
	if os.Getenv("IMAGEGATE_TEST_CRASH") != "" {
		limits = []string{"3000000", "2500000", "2000000", "1800000", "1600000", "1500000", "1400000", "1300000", "1200000", "1000000", "800000"}
	}
	for _, limit := range limits {
		w.endsByReport(t, "ulimit -v "+limit, "check", w.source, "--policy", w.policy)
	}
}

// endsByReport runs a command under a limit, which a shell command such as ulimit sets. The exit
// code must agree with the report, and a crash must not leave temporary files.
func (w *work) endsByReport(t *testing.T, limit string, args ...string) {
	t.Helper()
	file := filepath.Join(w.dir, "report.json")
	_ = os.Remove(file)
	line := w.args(append(args, "-o", "json="+file)...)
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", limit + "\n" + `exec "$@"`, "bash"}, line...)...)
	cmd.Env = w.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	code := exitCode(t, cmd.Run())
	w.agrees(t, limit, code, file, stderr.String())
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	return 0
}

// neverStarted reports whether the Go runtime ran out of memory before main, in the parent or in
// the child. If that happens in the child, the exit code is 1, and the report is missing because
// the child has not yet sent the file name. If it happens in the parent, the runtime exits with 2,
// which no program can change; docs/limits.md describes how this differs from a denial.
func neverStarted(code int, stderr string) bool {
	fatal := strings.Contains(stderr, "fatal error: out of memory") || strings.Contains(stderr, "fatal error: runtime: cannot allocate memory")
	return fatal && (code == 1 || code == 2) && !strings.Contains(stderr, "main.main")
}

// agrees fails the test unless the exit code and the report state the same result.
func (w *work) agrees(t *testing.T, limit string, code int, file, stderr string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil && neverStarted(code, stderr) {
		t.Logf("%s: exit code %d: not enough memory to start the program", limit, code)
		return
	}
	if err != nil {
		t.Errorf("%s: exit code %d, and no report: %v\n%s", limit, code, err, stderr)
		return
	}
	defer f.Close()
	r, err := report.ReadJSON(f)
	if err != nil {
		t.Errorf("%s: %v", limit, err)
		return
	}
	t.Logf("%s: exit code %d, %v: %.200s", limit, code, r.Outcome(), stderr)
	want := map[report.Outcome]int{report.Passed: 0, report.PassedEarlier: 0, report.Denied: 2}
	if expected, decided := want[r.Outcome()]; decided && code != expected || !decided && (code == 0 || code == 2 || r.Error == nil) {
		t.Errorf("%s: exit code %d, and the report says %v, %+v\n%s", limit, code, r.Outcome(), r.Error, stderr)
	}
	if code != 0 && code != 2 && !strings.Contains(stderr, "\nretryable: ") {
		t.Errorf("%s: the last line does not say whether to try again: %s", limit, stderr)
	}
	if len(stderr) > 32<<10 {
		t.Errorf("%s: %d bytes on standard error", limit, len(stderr))
	}
	if r.Outcome() != report.Passed {
		if got := w.registries["approved"].Writes(); len(got) != 0 {
			t.Errorf("%s: writes: %v", limit, got)
		}
	}
	w.nothingLeft(t)
}

// TestCrashOfChildIsNoDenial kills the child process with the signals that the kernel and the Go
// runtime use, and checks that the exit code does not mean a denial. On SIGQUIT, the Go runtime
// writes a trace and exits with 2, as on a fatal error.
func TestCrashOfChildIsNoDenial(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"fatal": syscall.SIGQUIT, "abort": syscall.SIGABRT,
		"segmentation fault": syscall.SIGSEGV, "out of memory": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			w := newWork(t, "fixed")
			file := filepath.Join(w.dir, "report.json")
			cmd, stderr := w.held(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "-o", "json="+file)
			if err := syscall.Kill(childOf(t, cmd.Process.Pid), signal); err != nil {
				t.Fatal(err)
			}
			code := exitCode(t, cmd.Wait())
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			w.agrees(t, name, code, file, stderr.String())
			if !strings.Contains(stderr.String(), "imagegate: internal error in imagegate: ") {
				t.Errorf("it says %s", stderr)
			}
		})
	}
}

// TestCrashAsFirstProcessIsNoDenial checks that imagegate as PID 1 of a container does not exit
// with 2, the code of a denial, after a crash. For PID 1, the kernel drops the signal that the Go
// runtime uses to end a crashed process, and the runtime then exits with 2.
func TestCrashAsFirstProcessIsNoDenial(t *testing.T) {
	unshare := []string{"unshare", "--pid", "--fork", "--mount-proc", "--kill-child"}
	if err := exec.CommandContext(t.Context(), unshare[0], append(unshare[1:], "true")...).Run(); err != nil {
		t.Skipf("no process can be the first one here: %v", err)
	}
	for name, tt := range map[string]struct {
		signal syscall.Signal
		child  bool
		want   int
	}{
		"abort of the child": {syscall.SIGABRT, true, 1}, "fatal error of the child": {syscall.SIGQUIT, true, 1},
		"quit": {syscall.SIGQUIT, false, 130},
	} {
		t.Run(name, func(t *testing.T) {
			pipe := filepath.Join(t.TempDir(), "policy.yaml")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			w := &work{}
			cmd := exec.CommandContext(t.Context(), unshare[0], append(unshare[1:], w.args("policy", "lint", pipe)...)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // OpenFile blocks until a reader opens the pipe
			if err != nil {
				t.Fatal(err)
			}
			first := childOf(t, cmd.Process.Pid)
			at := first
			if tt.child {
				at = childOf(t, first)
			}
			if err := syscall.Kill(at, tt.signal); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
			writer.Close()
			if code := exitCode(t, cmd.Wait()); code != tt.want || !strings.Contains(stderr.String(), "\nretryable: ") {
				t.Errorf("exit code %d: %s", code, stderr.String())
			}
		})
	}
}

// TestReaderThatStopsIsNoFault checks that a pipe closed early, as by "imagegate check | head", is
// not an internal error. A denial still exits with 2.
func TestReaderThatStopsIsNoFault(t *testing.T) {
	for kind, want := range map[string]struct {
		code int
		says string
	}{"fixed": {1, "passed, but not everything was written: "}, "vulnerable": {2, "writing the report: "}} {
		t.Run(kind, func(t *testing.T) {
			w := newWork(t, kind)
			cmd := w.command(t, "check", w.source, "--policy", w.policy, "-o", "json")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			r, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			cmd.Stdout = out
			r.Close()
			if code := exitCode(t, cmd.Run()); code != want.code || !strings.Contains(stderr.String(), want.says) ||
				!strings.Contains(stderr.String(), "broken pipe") || strings.Contains(stderr.String(), "internal error in imagegate") {
				t.Errorf("exit code %d: %s", code, stderr.String())
			}
		})
	}
}

// TestChildEndsWithItsParent checks that the child of a killed imagegate process removes its
// temporary files, exits, and writes nothing to the approved registry.
func TestChildEndsWithItsParent(t *testing.T) {
	w := newWork(t, "fixed")
	cmd, _ := w.held(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key)
	child := childOf(t, cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for range 200 {
		if errors.Is(syscall.Kill(child, 0), syscall.ESRCH) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := syscall.Kill(child, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the child is there: %v", err)
	}
	w.nothingLeft(t)
	if got := w.registries["approved"].Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
}

// TestSecondInterruptEndsAtOnce checks that imagegate exits at the second interrupt, even if its
// child process does not react to the first interrupt.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	w := newWork(t, "fixed")
	cmd, stderr := w.held(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key)
	child := childOf(t, cmd.Process.Pid)
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if code := exitCode(t, cmd.Wait()); code != 130 || !strings.Contains(stderr.String(), "imagegate: interrupted; run it again\n") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// childOf returns the child of a process.
func childOf(t *testing.T, parent int) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // the process has already ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			return pid
		}
	}
	t.Fatal("there is no child")
	return 0
}
