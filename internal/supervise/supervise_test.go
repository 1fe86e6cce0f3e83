//go:build !windows

package supervise

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary start itself as a child. For tests that kill the parent, it also
// starts itself as a parent.
func TestMain(m *testing.M) {
	if handles, ok := os.LookupEnv(Variable); ok {
		os.Unsetenv(Variable)
		runChild(handles, os.Args[1])
	}
	if len(os.Args) > 2 && os.Args[1] == "parent" {
		runParent(os.Args[2])
	}
	os.Exit(m.Run())
}

// runChild acts as a child. end selects how the process ends, such as with an exit code or a crash.
func runChild(handles, end string) {
	debug.SetMaxStack(16 << 20)
	c, err := Attach(handles)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	signal.Notify(make(chan os.Signal, 8), os.Interrupt) // ignores interrupts, as imagegate's child process does
	c.Phase("first")
	c.Phase("second")
	_ = c.State(map[string]string{"name": "first"})
	_ = c.State(map[string]string{"name": "last"})
	fmt.Fprintln(c.Err, "own words")
	ends := map[string]func(){
		"passed":              func() { c.Finish(0); os.Exit(0) },
		"denied":              func() { c.Finish(2); os.Exit(2) },
		"silent":              func() { os.Exit(2) },
		"silently passed":     func() { os.Exit(0) },
		"passed, then crash":  func() { c.Finish(0); go panic("late"); time.Sleep(time.Minute) },
		"denied, but exits 0": func() { c.Finish(2); os.Exit(0) },
		"panic":               func() { panic("main") },
		"goroutine":           func() { go panic("goroutine"); time.Sleep(time.Minute) },
		"stack":               func() { overflow(0) }, //nolint:staticcheck // SA4017: the crash is what it is for
		"throw":               throw,
		"nil":                 func() { _ = *(*int)(unsafeNil()) },
		"abort":               func() { _ = syscall.Kill(os.Getpid(), syscall.SIGABRT); time.Sleep(time.Minute) },
		"quit":                func() { _ = syscall.Kill(os.Getpid(), syscall.SIGQUIT); time.Sleep(time.Minute) },
		"kill":                func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); time.Sleep(time.Minute) },
		"noise":               func() { fmt.Fprintln(os.Stderr, "a library's words"); c.Finish(0); os.Exit(0) },
		"wait": func() {
			c.Watch(func() { c.Finish(130); os.Exit(130) }, func() { os.WriteFile(os.Getenv("ORPHAN"), nil, 0o600); os.Exit(1) })
			fmt.Println("waiting")
			time.Sleep(time.Minute)
		},
		"stubborn": func() { c.Watch(func() {}, func() {}); fmt.Println("waiting"); time.Sleep(time.Minute) },
	}
	ends[end]()
	os.Exit(98)
}

func overflow(n int) int { return overflow(n+1) + n } //nolint:staticcheck // SA5007: it must not end

func unsafeNil() *int { return nil }

// throw makes the runtime end the process with a fatal error, which recover cannot catch.
func throw() {
	m := map[int]int{}
	for range 8 {
		go func() {
			for i := 0; ; i++ {
				m[i%8]++
			}
		}()
	}
	time.Sleep(time.Minute)
}

// runParent acts as a parent: it runs a child and prints the error of Run.
func runParent(end string) {
	_, err := Run(command(end, os.Stdin, os.Stdout, os.Stderr, nil))
	fmt.Println(err)
	os.Exit(0)
}

func command(end string, in, out, errs *os.File, signals <-chan os.Signal) Command {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Command{Path: path, Args: []string{"test", end}, Env: os.Environ(), In: in, Out: out, Err: errs, Signals: signals, Noise: func(string) {}}
}

// ran is the Result of a child, together with the output that the child wrote.
type ran struct {
	Result
	stderr, noise string
}

func run(t *testing.T, end string, signals <-chan os.Signal, started func()) ran {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errFile, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer errFile.Close()
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 1)
		if n, _ := outR.Read(buf); n == 1 && started != nil {
			started()
		}
		_, _ = io.Copy(io.Discard, outR)
	})
	c := command(end, null, outW, errFile, signals)
	var noise strings.Builder
	c.Noise = func(line string) { noise.WriteString(line + "\n") }
	r, err := Run(c)
	outW.Close()
	reading.Wait()
	if err != nil {
		t.Fatalf("%s: %v", end, err)
	}
	stderr, err := os.ReadFile(errFile.Name())
	if err != nil {
		t.Fatal(err)
	}
	return ran{r, string(stderr), noise.String()}
}

// TestCrashIsNotAVerdict checks that a child counts as crashed if it sent no code, or exited with
// another code than it sent.
func TestCrashIsNotAVerdict(t *testing.T) {
	for end, trace := range map[string]string{
		"silent": "", "silently passed": "", "denied, but exits 0": "", "kill": "",
		"passed, then crash": "panic: late", "panic": "panic: main", "goroutine": "panic: goroutine",
		"stack": "fatal error: stack overflow", "throw": "fatal error: concurrent map", "nil": "panic: runtime error",
		"abort": "SIGABRT", "quit": "SIGQUIT",
	} {
		r := run(t, end, nil, nil)
		if r.Completed {
			t.Errorf("%s: completed with %d", end, r.Code)
		}
		if !strings.Contains(r.Trace, trace) || trace == "" && r.Trace != "" {
			t.Errorf("%s: trace %q, want %q", end, r.Trace, trace)
		}
		if len(r.Trace) > maxTrace+4096 {
			t.Errorf("%s: a trace of %d bytes", end, len(r.Trace))
		}
		if r.Phase != "second" || string(r.State) != `{"name":"last"}` || r.Ended == "" {
			t.Errorf("%s: %+v", end, r.Result)
		}
		if r.stderr != "own words\n" {
			t.Errorf("%s: standard error is %q", end, r.stderr)
		}
	}
}

// TestParentReturnsExitCodeOfChild checks that the parent returns the exit code of the child if it
// equals the code that the child sent.
func TestParentReturnsExitCodeOfChild(t *testing.T) {
	for end, code := range map[string]int{"passed": 0, "denied": 2, "noise": 0} {
		r := run(t, end, nil, nil)
		if !r.Completed || r.Code != code || r.Trace != "" {
			t.Errorf("%s: %+v", end, r.Result)
		}
		if (r.noise == "a library's words\n") != (end == "noise") {
			t.Errorf("%s: noise %q", end, r.noise)
		}
	}
}

// TestInterruptReachesChildOnce checks that the first signal asks the child to stop, and the second
// signal kills the child.
func TestInterruptReachesChildOnce(t *testing.T) {
	signals := make(chan os.Signal, 8)
	r := run(t, "wait", signals, func() { signals <- os.Interrupt })
	if !r.Completed || r.Code != 130 || !r.Interrupted {
		t.Errorf("one: %+v", r.Result)
	}
	r = run(t, "stubborn", signals, func() { signals <- os.Interrupt; signals <- os.Interrupt })
	if r.Completed || !r.Interrupted {
		t.Errorf("two: %+v", r.Result)
	}
}

// TestChildDoesNotOutliveParent checks that the child ends if the parent is killed.
func TestChildDoesNotOutliveParent(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "orphan")
	parent := exec.CommandContext(t.Context(), path, "parent", "wait")
	parent.Env = append(os.Environ(), "ORPHAN="+mark)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("waiting"))); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	for range 500 {
		if _, err := os.Stat(mark); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the child did not notice")
}

// TestVariableWithoutPipesIsAnError checks that Attach fails without the pipes of a parent, because
// the environment variable alone does not make a process a child.
func TestVariableWithoutPipesIsAnError(t *testing.T) {
	for _, handles := range []string{"", "3", "3,4,5,6", "0,1,2", "a,b,c"} {
		if c, err := Attach(handles); err == nil {
			t.Errorf("%q: %v", handles, c)
		}
	}
	var none *Child
	none.Phase("x")
	none.Finish(0)
	none.Watch(nil, nil)
	if err := none.State(1); err != nil {
		t.Error(err)
	}
}

// TestTraceIsBounded checks that hear limits the size of the crash report, even if one line is very
// long.
func TestTraceIsBounded(t *testing.T) {
	long := "before\nfatal error: x\n" + strings.Repeat("y", 10<<20)
	var noise []string
	trace := hear(bytes.NewReader([]byte(long)), func(l string) { noise = append(noise, l) })
	if len(trace) > maxTrace+8192 || !strings.HasPrefix(trace, "fatal error: x\n") || len(noise) != 1 {
		t.Errorf("%d bytes, noise %d", len(trace), len(noise))
	}
}
