package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/redact"
)

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

var (
	pull  = gate.Step{Image: "registry.example/app:1", Stage: gate.Pull, Subject: "sha256:" + strings.Repeat("0123456789abcdef", 4)}
	amd64 = gate.Step{Image: "registry.example/app:1", Stage: gate.Catalog, Subject: "linux/amd64"}
	arm64 = gate.Step{Image: "registry.example/app:1", Stage: gate.Catalog, Subject: "linux/arm64"}
)

// screen returns the lines that a terminal would show after this output.
func screen(t *testing.T, out string) string {
	t.Helper()
	var rows []string
	for _, part := range regexp.MustCompile("\x1b\\[[0-9]*[A-Za-z]|\r|[^\n]*?\n").FindAllString(regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(out, ""), -1) {
		switch {
		case strings.HasSuffix(part, "A"):
			n := int(part[2] - '0')
			rows = rows[:len(rows)-n] // the escape sequence that follows clears these lines
		case strings.HasPrefix(part, "\x1b"), part == "\r":
		default:
			rows = append(rows, strings.TrimSuffix(part, "\n"))
		}
	}
	return strings.Join(rows, "\n")
}

// TestTerminalShowsEachRunningStep checks the lines on a terminal while two steps run at the same
// time, and after each of them ends.
func TestTerminalShowsEachRunningStep(t *testing.T) {
	c := &clock{t: time.Unix(1e9, 0)}
	var out bytes.Buffer
	b := &board{w: &out, width: func() int { return 80 }, color: true}
	p := &tracker{to: b, now: c.now}
	_, pulled := p.Start(t.Context(), pull)
	p.Bytes(gate.Step{Image: pull.Image, Stage: gate.Pull}, "config", 500, 500)
	p.Bytes(gate.Step{Image: pull.Image, Stage: gate.Pull}, "layer", 1_000_000, 4_000_000)
	c.pass(time.Second)
	b.tick(p.steps, c.now())
	if got, want := screen(t, out.String()), "  pull    sha256:0123456789ab  1.0 MB of 4.0 MB, 25%, 1.0 MB/s, 3s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	_, one := p.Start(t.Context(), amd64)
	_, two := p.Start(t.Context(), arm64)
	p.Bytes(gate.Step{Image: pull.Image, Stage: gate.Pull}, "layer", 4_000_000, 4_000_000)
	pulled(nil)
	c.pass(2 * time.Second)
	two(errors.New("broken"))
	want := "✓ pull    sha256:0123456789ab  4.0 MB  1.0s\n✗ catalog linux/arm64\n  catalog linux/amd64  2s"
	if got := screen(t, out.String()); got != want {
		t.Error(cmp.Diff(want, got))
	}
	if !strings.Contains(out.String(), green+"✓") || !strings.Contains(out.String(), red+"✗") {
		t.Errorf("no colors in %q", out.String())
	}
	b.close()
	if got := screen(t, out.String()); strings.Contains(got, "amd64") {
		t.Errorf("%q stays on the terminal", got)
	}
	one(nil)
}

// TestPausedDisplayErasesNothing checks that the URL and the prompt of a login stay on the terminal
// while steps run and end. After the pause, the display continues below them.
func TestPausedDisplayErasesNothing(t *testing.T) {
	c := &clock{t: time.Unix(1e9, 0)}
	var out bytes.Buffer
	p := &tracker{to: &board{w: &out}, now: c.now}
	ctx := WithDisplay(t.Context(), p)
	_, one := p.Start(ctx, amd64)
	_, two := p.Start(ctx, arm64)
	p.tick()
	resume := Pause(ctx)
	again := Pause(ctx)
	before := out.Len()
	out.WriteString("log in at https://login.example/device\n")
	c.pass(time.Second)
	p.tick()
	one(nil)
	again()
	p.tick()
	if got := out.String()[before:]; got != "log in at https://login.example/device\n" {
		t.Errorf("the paused display writes %q", got)
	}
	if got := screen(t, out.String()); got != "log in at https://login.example/device" {
		t.Errorf("during the pause the terminal shows %q", got)
	}
	c.pass(time.Second)
	resume()
	resume()
	p.tick()
	want := "log in at https://login.example/device\n✓ catalog linux/amd64  1.0s\n  catalog linux/arm64  2s"
	if got := screen(t, out.String()); got != want {
		t.Error(cmp.Diff(want, got))
	}
	two(nil)
	Pause(t.Context())() // without a display
}

// TestLineNeverWraps checks that no line of the display is wider than the terminal.
func TestLineNeverWraps(t *testing.T) {
	for _, width := range []int{0, 20, 40} {
		b := &board{width: func() int { return width }}
		got := b.fit(strings.Repeat("ä", 200), 0)
		if want := map[int]int{0: 79, 20: 19, 40: 39}[width]; len([]rune(got)) != want {
			t.Errorf("%d: %d columns", width, len([]rune(got)))
		}
	}
	if got := (&board{}).fit("short", 2); got != "short" {
		t.Errorf("%q", got)
	}
}

// TestLogHasALineForLongSteps checks the log lines if the output is not a terminal: one when a step
// ends, and one every ten seconds while the step runs.
func TestLogHasALineForLongSteps(t *testing.T) {
	c := &clock{t: time.Unix(1e9, 0)}
	var out bytes.Buffer
	l := &lines{log: func(msg string, args ...any) { out.WriteString(plain(msg, args) + "\n") }, redact: redact.URLs}
	p := &tracker{to: l, now: c.now}
	_, done := p.Start(t.Context(), pull)
	l.tick(p.steps, c.now()) // the step has just begun, so it gets no line
	p.Bytes(pull, "layer", 20_000_000, 50_000_000)
	c.pass(10 * time.Second)
	l.tick(p.steps, c.now())
	l.tick(p.steps, c.now())
	p.Bytes(pull, "layer", 50_000_000, 50_000_000)
	c.pass(5 * time.Second)
	done(nil)
	_, failed := p.Start(t.Context(), amd64)
	c.pass(10 * time.Second)
	l.tick(p.steps, c.now())
	failed(errors.New("broken"))
	p.Bytes(gate.Step{Stage: gate.Pull}, "vulnerability database", 1_000, 2_000)
	c.pass(10 * time.Second)
	l.tick(p.steps, c.now())
	want := "pull " + pull.Subject + ": running for 10s, 20.0 MB of 50.0 MB, 2.0 MB/s, 15s left\n" +
		"pull " + pull.Subject + ": 15.0s, 50.0 MB\n" +
		"catalog linux/amd64: running for 10s\ncatalog linux/amd64: broken\n" +
		"pull vulnerability database: running for 10s, 1.0 kB of 2.0 kB, 100 B/s, 10s left\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// TestModeSelectsTheDisplay checks which display each mode selects, with and without a terminal.
func TestModeSelectsTheDisplay(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		want    string // the expected text in the output
		err     string
	}{
		"log":             {Options{}, "catalog linux/amd64: 0.0s\n", ""},
		"terminal":        {Options{Terminal: true}, "✓ catalog linux/amd64", ""},
		"auto":            {Options{Mode: Auto, Terminal: true}, "✓ catalog", ""},
		"plain":           {Options{Mode: Plain, Terminal: true}, "catalog linux/amd64: 0.0s\n", ""},
		"tty":             {Options{Mode: TTY}, "✓ catalog", ""},
		"quiet":           {Options{Mode: Quiet, Terminal: true}, "", ""},
		"json":            {Options{Format: "json", Terminal: true}, `"msg":"catalog"`, ""},
		"json for a tty":  {Options{Format: "json", Mode: TTY}, "", "cannot be tty"},
		"unknown mode":    {Options{Mode: "fancy"}, "", "must be auto, plain, tty or quiet"},
		"unknown format":  {Options{Format: "xml"}, "", "must be text or json"},
		"json and silent": {Options{Format: "json", Mode: Quiet}, "", ""},
	} {
		var out bytes.Buffer
		c.options.Now, c.options.Redact = time.Now, redact.URLs
		p, stop, err := New(&out, c.options)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, done := p.Start(t.Context(), amd64)
		done(nil)
		stop()
		stop() // stop may be called more than once
		_, late := p.Start(t.Context(), amd64)
		before := out.Len()
		late(nil)
		if !strings.Contains(out.String(), c.want) || c.want == "" && out.Len() > 0 || out.Len() != before {
			t.Errorf("%s: %q", name, out.String())
		}
	}
}

// TestEventsOfManyImagesMayMix checks that several goroutines can report progress concurrently.
func TestEventsOfManyImagesMayMix(t *testing.T) {
	var out bytes.Buffer
	p, stop, err := New(&out, Options{Mode: TTY, Now: time.Now, Redact: redact.URLs})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				_, done := p.Start(context.WithoutCancel(t.Context()), pull)
				p.Bytes(pull, "layer", 1, 2)
				done(nil)
			}
		})
	}
	all.Wait()
	stop()
	if n := strings.Count(out.String(), "✓"); n != 160 {
		t.Errorf("%d steps ended", n)
	}
}

// hostile contains sequences that terminals and CI systems interpret as commands.
const hostile = "\x1b[31mA\n::error::B\r##vso[task.setvariable variable=C]D\u202e\u009b ##[add-mask]E\u2066\u0085::set-output"

// TestNoLogLineIsACommand checks that no display writes text that a terminal or a CI system would
// interpret as a command.
func TestNoLogLineIsACommand(t *testing.T) {
	bad := regexp.MustCompile("\x1b\\[31|[\u0080-\u009f\u202a-\u202e\u2066-\u2069]|(?m)^\\s*::|##")
	for name, o := range map[string]Options{"json": {Format: "json"}, "text": {}, "tty": {Mode: TTY}} {
		var out bytes.Buffer
		o.Now, o.Redact = time.Now, redact.URLs
		progress, stop, err := New(&out, o)
		if err != nil {
			t.Fatal(err)
		}
		_, done := progress.Start(t.Context(), gate.Step{Image: hostile, Stage: gate.Scan, Subject: hostile})
		done(nil)
		_, done = progress.Start(t.Context(), gate.Step{Stage: gate.Scan, Subject: "x"})
		done(errors.New(hostile))
		stop()
		if found := bad.FindString(out.String()); found != "" {
			t.Errorf("%s: %q in %q", name, found, out.String())
		}
		for line := range strings.Lines(out.String()) {
			if name == "json" && !json.Valid([]byte(line)) {
				t.Errorf("%q", line)
			}
		}
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%s: %d lines", name, n)
		}
	}
	if a := printable(nil, slog.Int("n", 1)); a.Value.Int64() != 1 {
		t.Error("numbers change")
	}
}

// TestUseColor checks how --color and the environment variables select colors.
func TestUseColor(t *testing.T) {
	for name, c := range map[string]struct {
		choice   string
		env      map[string]string
		terminal bool
		want     bool
	}{
		"terminal":       {"", nil, true, true},
		"pipe":           {"auto", nil, false, false},
		"always":         {"always", map[string]string{"NO_COLOR": "1"}, false, true},
		"never":          {"never", map[string]string{"FORCE_COLOR": "1"}, true, false},
		"NO_COLOR":       {"auto", map[string]string{"NO_COLOR": "1", "FORCE_COLOR": "1"}, true, false},
		"FORCE_COLOR":    {"auto", map[string]string{"FORCE_COLOR": "1", "TERM": "dumb"}, false, true},
		"FORCE_COLOR 0":  {"auto", map[string]string{"FORCE_COLOR": "0"}, false, false},
		"CLICOLOR_FORCE": {"auto", map[string]string{"CLICOLOR_FORCE": "1"}, false, true},
		"dumb":           {"auto", map[string]string{"TERM": "dumb"}, true, false},
	} {
		if got, err := UseColor(c.choice, func(n string) string { return c.env[n] }, c.terminal); got != c.want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := UseColor("blue", func(string) string { return "" }, true); err == nil {
		t.Error("blue is accepted")
	}
}

// TestFileIsNoTerminal checks that IsTerminal is false for a file and for a buffer.
func TestFileIsNoTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, w := range []io.Writer{f, io.Discard} {
		if IsTerminal(w, os.Getenv) || Width(w) != 0 {
			t.Errorf("%T is a terminal", w)
		}
	}
}
