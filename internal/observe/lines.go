package observe

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/imagegate/imagegate/internal/report"
)

// lines is a progress display for logs. It writes a line when a step ends, and a line every ten
// seconds about each step that still runs.
type lines struct {
	log    func(msg string, args ...any)
	redact func(string) string
}

func (l *lines) ended(s *running, took time.Duration, err error, _ []*running, _ time.Time) {
	if err != nil {
		l.log(string(s.Stage), "image", s.Image, "what", s.Subject, "error", l.redact(err.Error()))
		return
	}
	done, _ := s.bytes()
	l.log(string(s.Stage), "image", s.Image, "what", s.Subject, "seconds", took.Seconds(), "bytes", done)
}

func (l *lines) tick(steps []*running, now time.Time) {
	for _, s := range steps {
		if now.Sub(s.shown) < remind/2 { // the step has just begun
			continue
		}
		s.shown = now
		v := s.speed(now)
		l.log(string(s.Stage), "image", s.Image, "what", s.Subject, "running", now.Sub(s.began).Seconds(),
			"bytes", v.done, "total", v.total, "rate", v.perSecond, "left", v.left.Seconds())
	}
}

func (l *lines) close() {}

// printable sanitizes the values of a log line. The JSON encoder does not escape C1 characters,
// bidirectional characters and CI command markers.
func printable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindString {
		a.Value = slog.StringValue(report.Sanitize(a.Value.String()))
	}
	return a
}

// plain formats a message as one line: "catalog linux/amd64: 1.2s", or for a running step "pull
// sha256:...: running for 20s, 12.3 MB of 74.2 MB, 4.1 MB/s, 15s left".
func plain(msg string, args []any) string {
	out := msg
	for i := 0; i+1 < len(args); i += 2 {
		value := args[i+1]
		switch args[i] {
		case "what":
			out += " " + report.Sanitize(fmt.Sprint(value))
		case "seconds":
			out += fmt.Sprintf(": %.1fs", value)
		case "running":
			out += fmt.Sprintf(": running for %.0fs", value)
		case "bytes":
			if n := value.(int64); n > 0 {
				out += ", " + Bytes(n)
			}
		case "total":
			if n := value.(int64); n > 0 {
				out += " of " + Bytes(n)
			}
		case "rate":
			if n := value.(int64); n > 0 {
				out += ", " + Bytes(n) + "/s"
			}
		case "left":
			if n := value.(float64); n > 0 {
				out += fmt.Sprintf(", %.0fs left", n)
			}
		case "error":
			out += ": " + report.Sanitize(fmt.Sprint(value))
		}
	}
	return out
}

// Bytes formats a number of bytes with a decimal prefix: "1.2 MB".
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
