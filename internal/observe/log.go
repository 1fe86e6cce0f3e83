package observe

import (
	"io"
	"log/slog"
	"strings"

	"github.com/imagegate/imagegate/internal/report"
)

// LogVerdict writes the verdict of a run to w as one JSON object on a line. Its message is "verdict",
// and its level INFO for a pass, WARN for a denial and an override, and ERROR for a failure. An error
// of w is ignored.
func LogVerdict(w io.Writer, r report.Report) {
	v := r.Verdict()
	logger := jsonLogger(w)
	log := logger.Info
	switch {
	case v.Outcome.IsFailure():
		log = logger.Error
	case !v.Outcome.IsPass(), v.Outcome == report.Overridden:
		log = logger.Warn
	}
	log("verdict", "outcome", v.Outcome.String(), "why", v.Why, "image", r.Input.Image.Reference, "digest", r.Input.Image.Digest)
}

// LogWarning writes a warning to w as one JSON object on a line, with the message "warning".
func LogWarning(w io.Writer, text string) { jsonLogger(w).Warn("warning", "text", text) }

// Failure is the error of a run.
type Failure struct {
	// Text is the error, and Hints say how to fix it.
	Text  string
	Hints []string
	// Trace is the beginning of the stack trace after a crash.
	Trace []string
	// Retryable is true if the same command may succeed later.
	Retryable bool
	ExitCode  int
}

// LogFailure writes the error of a run to w as one JSON object on a line, with the message "error".
func LogFailure(w io.Writer, f Failure) {
	attrs := []any{"text", strings.ReplaceAll(strings.TrimSpace(f.Text), "\n", "; "), "retryable", f.Retryable, "exitCode", f.ExitCode}
	if len(f.Hints) > 0 {
		attrs = append(attrs, "hints", sanitized(f.Hints))
	}
	if len(f.Trace) > 0 {
		attrs = append(attrs, "trace", sanitized(f.Trace))
	}
	jsonLogger(w).Error("error", attrs...)
}

// sanitized returns the texts without unprintable characters. The logger itself handles only single
// texts.
func sanitized(texts []string) []string {
	var out []string
	for _, text := range texts {
		out = append(out, report.Sanitize(text))
	}
	return out
}

// jsonLogger returns a logger whose lines have no unprintable characters.
func jsonLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: printable}))
}
