// Package observe shows the progress of a run: a line for each running step on a terminal, and
// plain or JSON lines in a log.
//
// [New] returns the display; a gate and a promoter report their progress to it. [UseColor] decides
// whether output has colors.
package observe

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/imagegate/imagegate/gate"
)

// Mode selects the display.
type Mode string

// These are the display modes. The zero Mode acts as Auto.
const (
	Auto  Mode = "auto"  // TTY if the output is a terminal, otherwise Plain
	Plain Mode = "plain" // a line when a step ends, and one every ten seconds while the step runs
	TTY   Mode = "tty"   // for each running step, a line that is redrawn
	Quiet Mode = "quiet" // no output
)

// Modes are the values of the flag --progress.
var Modes = []string{string(Auto), string(Plain), string(TTY), string(Quiet)}

// Options configure the display. Now and Redact are required.
type Options struct {
	// Mode selects the display. "" means Auto. JSON lines require Plain.
	Mode Mode
	// Format is the format of lines: "text" or "json". "" means text.
	Format string
	// Terminal is true if the writer is a terminal that can redraw a line.
	Terminal bool
	// Width returns the width of the terminal in columns. Nil and 0 mean 80.
	Width func() int
	// Color shows the result of a step in color on a terminal.
	Color bool
	// Now returns the current time. Required.
	Now func() time.Time
	// Redact removes secrets from the text of an error. Required.
	Redact func(string) string
}

const (
	redraw = 100 * time.Millisecond // the time between two updates of a terminal
	remind = 10 * time.Second       // the time between two lines about a running step in a log
)

// New returns a display that writes to w. The caller must call stop once to end the display.
func New(w io.Writer, o Options) (p gate.Progress, stop func(), err error) {
	mode := cmp.Or(o.Mode, Auto)
	switch {
	case !slices.Contains(Modes, string(mode)):
		return nil, nil, fmt.Errorf("progress %q: must be auto, plain, tty or quiet", mode)
	case o.Format != "text" && o.Format != "json" && o.Format != "":
		return nil, nil, fmt.Errorf("log format %q: must be text or json", o.Format)
	case o.Format == "json" && mode == TTY:
		return nil, nil, fmt.Errorf("log format json: the progress cannot be tty")
	case mode == Quiet:
		return gate.NoProgress{}, func() {}, nil
	}
	var to display = &lines{log: func(msg string, args ...any) { fmt.Fprintln(w, plain(msg, args)) }, redact: o.Redact}
	every := remind
	switch {
	case o.Format == "json":
		to = &lines{log: jsonLogger(w).Info, redact: o.Redact}
	case mode == TTY || mode == Auto && o.Terminal:
		to, every = &board{w: w, width: o.Width, color: o.Color}, redraw
	}
	t := &tracker{to: to, now: o.Now}
	return t, t.run(every), nil
}

// display shows the progress of steps. Its methods are not called concurrently.
type display interface {
	// ended shows that a step ended, with an error or nil. others are the steps that still run.
	ended(s *running, took time.Duration, err error, others []*running, now time.Time)
	// tick updates the running steps.
	tick(steps []*running, now time.Time)
	// close removes the lines of running steps from the terminal.
	close()
}

// running is a step that has not ended.
type running struct {
	gate.Step
	began time.Time
	blobs map[string]transfer
	shown time.Time // the time of the last log line about this step
}

type transfer struct{ done, total int64 }

// bytes returns how many bytes of the step's blobs were transferred, and the total size of the
// blobs whose transfer has begun.
func (s *running) bytes() (done, total int64) {
	for _, b := range s.blobs {
		done, total = done+b.done, total+max(b.total, b.done)
	}
	return done, total
}

// speed is the progress of a transfer: bytes, rate and remaining time.
type speed struct {
	done, total int64
	perSecond   int64         // 0 means unknown
	left        time.Duration // 0 means unknown
}

// leastTime is the minimum duration of a step before its transfer rate is calculated.
const leastTime = 500 * time.Millisecond

// speed returns the average transfer rate since the step began. The estimated remaining time is too
// low at first, because the total size grows with each blob whose transfer begins.
func (s *running) speed(now time.Time) speed {
	out := speed{}
	out.done, out.total = s.bytes()
	took := now.Sub(s.began)
	if out.done > 0 && took >= leastTime {
		out.perSecond = int64(float64(out.done) / took.Seconds())
	}
	if out.perSecond > 0 && out.total > out.done {
		out.left = time.Duration(float64(out.total-out.done) / float64(out.perSecond) * float64(time.Second))
	}
	return out
}

// tracker keeps the running steps and passes events to a display.
type tracker struct {
	to  display
	now func() time.Time

	mu      sync.Mutex
	steps   []*running
	stopped bool
	paused  int
	held    []func() // what the display missed while it was paused
}

type contextKey struct{}

// WithDisplay returns a context with a display that [New] returned. [Pause] pauses it.
func WithDisplay(ctx context.Context, p gate.Progress) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// Pause removes the display of ctx from the terminal until resume is called, so that a prompt or a
// URL on the terminal stays readable. The caller must call resume, which shows the display below
// that text. Steps that ended in the meantime are shown then. If ctx has no display, Pause does
// nothing.
func Pause(ctx context.Context) (resume func()) {
	t, ok := ctx.Value(contextKey{}).(*tracker)
	if !ok {
		return func() {}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused++; t.paused == 1 && !t.stopped {
		t.to.close()
	}
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.paused--; t.paused == 0 {
			t.release()
		}
	})
}

// release shows the events that the display missed while it was paused.
func (t *tracker) release() {
	for _, show := range t.held {
		show()
	}
	t.held = nil
}

// run updates the display at this interval until stop is called.
func (t *tracker) run(every time.Duration) (stop func()) {
	ticker, quit := time.NewTicker(every), make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				t.tick()
			}
		}
	})
	return sync.OnceFunc(func() {
		ticker.Stop()
		close(quit)
		ended.Wait()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.release()
		t.stopped = true
		t.to.close()
	})
}

func (t *tracker) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused == 0 {
		t.to.tick(t.steps, t.now())
	}
}

// Start adds a step to the running steps. The caller must call done with the result of the step,
// which ends it.
func (t *tracker) Start(ctx context.Context, step gate.Step) (context.Context, func(error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.add(step)
	return ctx, func(err error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.steps = slices.DeleteFunc(t.steps, func(o *running) bool { return o == s })
		if t.stopped {
			return
		}
		took := t.now().Sub(s.began)
		show := func() { t.to.ended(s, took, err, t.steps, t.now()) }
		if t.paused > 0 {
			t.held = append(t.held, show)
			return
		}
		show()
	}
}

func (t *tracker) add(step gate.Step) *running {
	now := t.now()
	s := &running{Step: step, began: now, shown: now, blobs: map[string]transfer{}}
	t.steps = append(t.steps, s)
	return s
}

// Bytes records the transferred bytes of a blob for the running step, or for another step of the
// same image and stage. If there is none, as for the download of a database, Bytes adds a step that
// never ends.
func (t *tracker) Bytes(step gate.Step, blob string, done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.steps, func(s *running) bool { return s.Step == step })
	if i < 0 {
		i = slices.IndexFunc(t.steps, func(s *running) bool { return s.Image == step.Image && s.Stage == step.Stage })
	}
	if i < 0 {
		if step.Subject == "" {
			step.Subject = blob
		}
		t.add(step)
		i = len(t.steps) - 1
	}
	t.steps[i].blobs[blob] = transfer{done, total}
}
