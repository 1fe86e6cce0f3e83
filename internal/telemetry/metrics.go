package telemetry

import (
	"fmt"
	"io"
	"strings"

	"github.com/imagegate/imagegate/internal/report"
)

// Metrics writes the result of a run in the text format of Prometheus, for the textfile collector
// of node_exporter. For a failed run, imagegate_run_success is 0 and the counts of problems are
// missing, so that the run never looks like a clean image.
func Metrics(w io.Writer, r report.Report, exitCode int) error {
	v := r.Verdict()
	image := label("image", r.Input.Image.Reference)
	m := &metrics{}
	m.head("imagegate_run_info", "Labels of the last run; the value is 1.")
	m.add("imagegate_run_info", 1, label("command", r.Command), image, label("digest", r.Input.Image.Digest),
		label("outcome", v.Outcome.String()), label("policy", r.Policy.Digest), label("version", r.Tool.Version))
	m.head("imagegate_run_success", "1 if the run made or read a decision, 0 if a tool or a service failed.")
	m.add("imagegate_run_success", number(!v.Outcome.IsFailure()), image)
	m.head("imagegate_passed", "1 if the image may be used: it passed, or an override allows it.")
	m.add("imagegate_passed", number(v.Outcome.IsPass()), image)
	m.head("imagegate_exit_code", "Exit code of the run.")
	m.add("imagegate_exit_code", float64(exitCode), image)
	m.head("imagegate_run_timestamp_seconds", "End of the run.")
	m.add("imagegate_run_timestamp_seconds", float64(r.Finished.UnixMilli())/1000, image)
	m.head("imagegate_run_duration_seconds", "Duration of the run.")
	m.add("imagegate_run_duration_seconds", r.Finished.Sub(r.Started).Seconds(), image)
	m.head("imagegate_bytes_read", "Bytes read from the staging registry.")
	m.add("imagegate_bytes_read", float64(r.Transfer.BytesRead), image)
	if r.Decision != nil && !v.Outcome.IsFailure() {
		m.head("imagegate_problems", "Problems by status, as in every report.")
		for _, one := range []struct {
			status report.Status
			n      int
		}{{report.Blocking, v.Counts.Blocking}, {report.Warning, v.Counts.Warnings}, {report.Excepted, v.Counts.Excepted}, {report.NotAffected, v.Counts.NotAffected}} {
			m.add("imagegate_problems", float64(one.n), image, label("status", one.status.String()))
		}
	}
	if !v.Until.IsZero() {
		m.head("imagegate_decision_valid_until_timestamp_seconds", "Earliest time when the same image can get another decision.")
		m.add("imagegate_decision_valid_until_timestamp_seconds", float64(v.Until.Unix()), image)
	}
	if built := r.Input.Database.Built; !built.IsZero() {
		m.head("imagegate_database_built_timestamp_seconds", "When the vulnerability database was built.")
		m.add("imagegate_database_built_timestamp_seconds", float64(built.Unix()), image)
	}
	_, err := io.WriteString(w, m.text.String())
	return err
}

// metrics builds the metrics text. Every metric is a gauge.
type metrics struct{ text strings.Builder }

func (m *metrics) head(name, help string) {
	fmt.Fprintf(&m.text, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

func (m *metrics) add(name string, value float64, labels ...string) {
	m.text.WriteString(name)
	if len(labels) > 0 {
		m.text.WriteString("{" + strings.Join(labels, ",") + "}")
	}
	fmt.Fprintf(&m.text, " %v\n", value)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// label writes one label of a metric. The format can escape only backslashes, quotes and line
// breaks, so other unprintable characters are first written as Go escapes.
func label(name, value string) string {
	value = report.Sanitize(value)
	return name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}
