// Package observe shows what a run is doing: a bar on a terminal, lines in a log.
package observe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/report"
)

// Options select the display.
type Options struct {
	// Format is "text" or "json". "" means text.
	Format string
	// Quiet shows nothing.
	Quiet bool
	// Terminal is set if the writer is a terminal that can redraw a line.
	Terminal bool
	// Now returns the current time. Required.
	Now func() time.Time
	// Redact removes secrets from the text of an error. Required.
	Redact func(string) string
}

// New returns the display that writes to w: a bar on a terminal, plain lines elsewhere, JSON lines
// if the format is json. The caller must call stop once, at the end of the run.
func New(w io.Writer, o Options) (p gate.Progress, stop func(), err error) {
	format := o.Format
	switch {
	case format != "text" && format != "json" && format != "":
		return nil, nil, fmt.Errorf("invalid log format %q: the format must be text or json", format)
	case o.Quiet:
		return gate.NoProgress{}, func() {}, nil
	case format == "json":
		logger := slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: printable}))
		return &lines{log: logger.Info, now: o.Now, redact: o.Redact}, func() {}, nil
	case o.Terminal:
		b := newBar(w)
		return b, b.clear, nil
	}
	return &lines{log: func(msg string, args ...any) { fmt.Fprintln(w, plain(msg, args)) }, now: o.Now, redact: o.Redact}, func() {}, nil
}

// printable sanitizes the values of a log line, because the JSON encoder does not escape C1
// characters, bidirectional characters and CI command markers.
func printable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindString {
		a.Value = slog.StringValue(report.Sanitize(a.Value.String()))
	}
	return a
}

// plain renders a message as one line: "catalog linux/amd64: 1.2s".
func plain(msg string, args []any) string {
	out := msg
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "what":
			out += " " + report.Sanitize(fmt.Sprint(args[i+1]))
		case "seconds":
			out += fmt.Sprintf(": %.1fs", args[i+1])
		case "bytes":
			if n := args[i+1].(int64); n > 0 {
				out += ", " + Bytes(n)
			}
		case "error":
			out += ": " + report.Sanitize(fmt.Sprint(args[i+1]))
		}
	}
	return out
}

// Bytes renders a number of bytes with a decimal prefix: "1.2 MB".
func Bytes(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 4 {
		value, prefix = value/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[prefix])
}

// lines writes a line at the end of each step, with the number of bytes transferred in it.
type lines struct {
	log    func(msg string, args ...any)
	now    func() time.Time
	redact func(string) string
	mu     sync.Mutex
	moved  map[gate.Step]map[string]int64 // by blob
}

// key returns the part of a step that identifies it in calls of Bytes, which have no subject.
func key(s gate.Step) gate.Step { return gate.Step{Image: s.Image, Stage: s.Stage} }

// Start begins a step. The returned function ends the step and writes its line.
func (l *lines) Start(ctx context.Context, step gate.Step) (context.Context, func(error)) {
	began := l.now()
	l.mu.Lock()
	delete(l.moved, key(step))
	l.mu.Unlock()
	return ctx, func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		var bytes int64
		for _, n := range l.moved[key(step)] {
			bytes += n
		}
		if err != nil {
			l.log(string(step.Stage), "image", step.Image, "what", step.Subject, "error", l.redact(err.Error()))
			return
		}
		l.log(string(step.Stage), "image", step.Image, "what", step.Subject, "seconds", l.now().Sub(began).Seconds(), "bytes", bytes)
	}
}

// Bytes records the transferred bytes of a blob for the current step of the image and stage.
func (l *lines) Bytes(step gate.Step, blob string, done, _ int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.moved == nil {
		l.moved = map[gate.Step]map[string]int64{}
	}
	if l.moved[key(step)] == nil {
		l.moved[key(step)] = map[string]int64{}
	}
	l.moved[key(step)][blob] = done
}

// bar is a progress bar, one line on a terminal. It shows the stage and its subject. For pull and
// push, it shows the progress of all blobs together.
type bar struct {
	w             io.Writer
	mu            sync.Mutex
	current       *progressbar.ProgressBar
	stage         gate.Stage
	moved, totals map[string]int64
}

func newBar(w io.Writer) *bar {
	return &bar{w: w, moved: map[string]int64{}, totals: map[string]int64{}}
}

// redraw is the minimum time between two updates of a bar.
const redraw = 100 * time.Millisecond

// digests matches digests, which are shortened to leave space for the bar.
var digests = regexp.MustCompile(`(sha256:[0-9a-f]{12})[0-9a-f]{52}`)

func (b *bar) Start(ctx context.Context, step gate.Step) (context.Context, func(error)) {
	stage, what := step.Stage, step.Subject
	b.mu.Lock()
	defer b.mu.Unlock()
	most := int64(-1) // the total is unknown
	if stage == gate.Pull || stage == gate.Push {
		most = 1 // a placeholder until the first bytes arrive
		clear(b.moved)
		clear(b.totals)
	}
	what = digests.ReplaceAllString(report.Sanitize(what), "$1")
	b.show(stage, most, fmt.Sprintf("%-8s%s", stage, what))
	return ctx, func(error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.end()
	}
}

func (b *bar) Bytes(step gate.Step, blob string, done, total int64) {
	stage := step.Stage
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil || b.stage != stage { // bytes can arrive without a call of Start
		b.show(stage, total, fmt.Sprintf("%-8s", stage))
	}
	b.moved[blob], b.totals[blob] = done, total
	var moved, all int64
	for k := range b.moved {
		moved, all = moved+b.moved[k], all+b.totals[k]
	}
	// The maximum is one more than the known bytes, because a full bar cannot continue if another
	// blob follows.
	b.current.ChangeMax64(max(all, moved) + 1)
	_ = b.current.Set64(moved) // a display error must not stop the run
}

func (b *bar) show(stage gate.Stage, most int64, text string) {
	b.end()
	b.stage = stage
	b.current = progressbar.NewOptions64(most, progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(text),
		progressbar.OptionShowBytes(most >= 0), progressbar.OptionThrottle(redraw), progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30), progressbar.OptionSpinnerType(14),
		progressbar.OptionFullWidth(), progressbar.OptionSetPredictTime(most >= 0))
}

func (b *bar) end() {
	if b.current != nil {
		_ = b.current.Finish()
		_ = b.current.Clear()
		b.current = nil
	}
}

func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end()
}
