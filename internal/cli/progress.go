package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/report"
)

// newProgress chooses the display: a bar on a terminal, plain lines elsewhere, JSON lines if format
// is json, nothing if quiet. The caller must call stop once to end it.
func newProgress(w io.Writer, format string, quiet bool) (p gate.Progress, stop func(), err error) {
	switch {
	case format != "text" && format != "json" && format != "":
		return nil, nil, usagef("--log-format %q: the format must be text or json", format)
	case quiet:
		return &lines{log: func(string, ...any) {}}, func() {}, nil
	case format == "json":
		logger := slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: printable}))
		return &lines{log: logger.Info}, func() {}, nil
	case isTerminal(w):
		b := newBar(w)
		return b, b.clear, nil
	}
	return &lines{log: func(msg string, args ...any) { fmt.Fprintln(w, plain(msg, args)) }}, func() {}, nil
}

// printable sanitizes the values of a log line. The JSON encoder does not escape C1 characters,
// bidirectional characters and CI command markers.
func printable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindString {
		a.Value = slog.StringValue(report.Sanitize(a.Value.String()))
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
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
				out += ", " + bytesOf(n)
			}
		case "error":
			out += ": " + report.Sanitize(fmt.Sprint(args[i+1]))
		}
	}
	return out
}

func bytesOf(n int64) string {
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

// lines writes a line at the end of each step, with the number of bytes transferred.
type lines struct {
	log   func(msg string, args ...any)
	mu    sync.Mutex
	moved map[string]int64
}

func (l *lines) Start(stage gate.Stage, what string) func(error) {
	began := time.Now()
	l.mu.Lock()
	l.moved = map[string]int64{}
	l.mu.Unlock()
	return func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		var bytes int64
		for _, n := range l.moved {
			bytes += n
		}
		if err != nil {
			l.log(string(stage), "what", what, "error", redact(err.Error()))
			return
		}
		l.log(string(stage), "what", what, "seconds", time.Since(began).Seconds(), "bytes", bytes)
	}
}

func (l *lines) Bytes(_ gate.Stage, what string, done, _ int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.moved == nil {
		l.moved = map[string]int64{}
	}
	l.moved[what] = done
}

// bar is one line on a terminal. It shows the stage and its object, and for pull and push the
// progress of all blobs together.
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

func (b *bar) Start(stage gate.Stage, what string) func(error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := int64(-1) // the total is unknown
	if stage == gate.Pull || stage == gate.Push {
		most = 1 // until the first bytes arrive
		clear(b.moved)
		clear(b.totals)
	}
	what = digests.ReplaceAllString(report.Sanitize(what), "$1")
	b.show(stage, most, fmt.Sprintf("%-8s%s", stage, what))
	return func(error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.end()
	}
}

func (b *bar) Bytes(stage gate.Stage, what string, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil || b.stage != stage { // a download without a stage of its own
		b.show(stage, total, fmt.Sprintf("%-8s", stage))
	}
	b.moved[what], b.totals[what] = done, total
	var moved, all int64
	for k := range b.moved {
		moved, all = moved+b.moved[k], all+b.totals[k]
	}
	// A full bar cannot continue, and another blob may follow.
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
