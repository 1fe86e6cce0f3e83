package observe

import (
	"io"
	"log/slog"

	"github.com/imagegate/imagegate/internal/report"
)

// LogVerdict writes the verdict of a run to w as one JSON object on a line. Its message is "verdict",
// and its level INFO for a pass, WARN for a denial and an override, and ERROR for a failure. An error
// of w is ignored.
func LogVerdict(w io.Writer, r report.Report) {
	v := r.Verdict()
	logger := slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: printable}))
	log := logger.Info
	switch {
	case v.Outcome.IsFailure():
		log = logger.Error
	case !v.Outcome.IsPass(), v.Outcome == report.Overridden:
		log = logger.Warn
	}
	log("verdict", "outcome", v.Outcome.String(), "why", v.Why, "image", r.Input.Image.Reference, "digest", r.Input.Image.Digest)
}
