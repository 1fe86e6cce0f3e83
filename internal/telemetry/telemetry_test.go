package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

const hostile = "registry.example/\x1b[31m::set-output::\u202e\n\"app"

// only returns the one span with the given name.
func only(t *testing.T, c *lab.Collector, name string) *spans.Span {
	t.Helper()
	all := c.Spans(name)
	if len(all) != 1 {
		t.Fatalf("%d spans %q", len(all), name)
	}
	return all[0]
}

func start(t *testing.T, url string) *Trace {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	tr, err := StartTrace(t.Context(), TraceOptions{Command: "promote", Version: "v1", Getenv: os.Getenv,
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Redact:      func(s string) string { return strings.ReplaceAll(s, "canary", "***") }})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func result() report.Report {
	began := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	return report.Report{Command: "promote", Started: began, Finished: began.Add(2 * time.Second),
		Input:    evidence.Input{Image: evidence.Image{Reference: hostile, Digest: "sha256:aa"}},
		Decision: &policy.Decision{Violations: []policy.Violation{{Kind: policy.KindImage, Rule: "r", Message: "runs as root"}}}}
}

// TestTraceHasTheParentOfTheJob checks the parents, byte counts, errors and texts of the spans that
// a collector receives.
func TestTraceHasTheParentOfTheJob(t *testing.T) {
	var got lab.Collector
	server := httptest.NewServer(&got)
	defer server.Close()
	tr := start(t, server.URL)
	pull := gate.Step{Image: hostile, Stage: gate.Pull, Subject: "linux/amd64"}
	ctx, done := tr.Start(t.Context(), pull)
	tr.Bytes(pull, "sha256:a", 10, 100)
	tr.Bytes(pull, "sha256:a", 100, 100)
	tr.Bytes(pull, "sha256:b", 5, 5)
	_, inner := tr.Start(ctx, gate.Step{Image: hostile, Stage: gate.Catalog, Subject: hostile})
	inner(errors.New("the password canary was refused"))
	done(nil)
	if err := tr.End(t.Context(), result(), 2); err != nil {
		t.Fatal(err)
	}
	root, outer, nested := only(t, &got, "imagegate promote"), only(t, &got, string(gate.Pull)), only(t, &got, string(gate.Catalog))
	if id := root.GetParentSpanId(); string(id) != "\xb7\xad\x6b\x71\x69\x20\x33\x31" || root.GetTraceId()[0] != 0x0a {
		t.Errorf("the root has parent %x in trace %x", id, root.GetTraceId())
	}
	if !bytes.Equal(outer.GetParentSpanId(), root.GetSpanId()) || !bytes.Equal(nested.GetParentSpanId(), outer.GetSpanId()) {
		t.Error("the steps are not nested")
	}
	read := int64(0)
	for _, a := range outer.GetAttributes() {
		if a.GetKey() == "imagegate.bytes" {
			read = a.GetValue().GetIntValue()
		}
	}
	if read != 105 {
		t.Errorf("%d bytes", read)
	}
	if nested.GetStatus().GetCode() != spans.Status_STATUS_CODE_ERROR || root.GetStatus().GetCode() == spans.Status_STATUS_CODE_ERROR {
		t.Errorf("status %v of the step, %v of a denial", nested.GetStatus(), root.GetStatus())
	}
	for _, bad := range []string{"canary", "\x1b[31m", "\u202e"} {
		if bytes.Contains(got.Raw(), []byte(bad)) {
			t.Errorf("the spans contain %q", bad)
		}
	}
}

// TestDeadCollectorCostsLittle checks that End returns in time if the collector refuses
// connections, or never responds.
func TestDeadCollectorCostsLittle(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the kernel accepts connections, but nothing reads from them
	for name, url := range map[string]string{"refuses": "http://127.0.0.1:1", "hangs": "http://" + l.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			tr := start(t, url)
			_, done := tr.Start(t.Context(), gate.Step{Stage: gate.Pull})
			done(nil)
			canceled, cancel := context.WithCancel(t.Context())
			cancel()
			began := time.Now()
			if err := tr.End(canceled, result(), 2); err == nil {
				t.Error("no error for a dead collector")
			}
			if took := time.Since(began); took > MaxWait+time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestVariablesStaySecret checks that neither standard error nor an error message shows the value
// of a variable that the OpenTelemetry library cannot parse. The error must name the variable.
func TestVariablesStaySecret(t *testing.T) {
	const canary = "Bearer-c4n4ry"
	for name, names := range map[string]string{
		"OTEL_EXPORTER_OTLP_HEADERS": "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
		"OTEL_RESOURCE_ATTRIBUTES": "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER": "OTEL_TRACES_SAMPLER",
		"OTEL_EXPORTER_OTLP_TIMEOUT": "", "OTEL_BSP_SCHEDULE_DELAY": "", "OTEL_EXPORTER_OTLP_CERTIFICATE": "",
	} {
		t.Run(name, func(t *testing.T) {
			var got lab.Collector
			server := httptest.NewServer(&got)
			defer server.Close()
			t.Setenv(name, canary)
			var err error
			printed := standardError(t, func() { err = start(t, server.URL).End(t.Context(), result(), 2) })
			if strings.Contains(printed, canary) || err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("standard error %q, error %v", printed, err)
			}
			if names != "" && (err == nil || !strings.Contains(err.Error(), names)) {
				t.Errorf("the error %v does not name the variable", err)
			}
			only(t, &got, "imagegate promote") // the usable variables still cause an export
		})
	}
}

// standardError returns what f writes to standard error, including output of the OpenTelemetry
// library's logger.
func standardError(t *testing.T, f func()) string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	before := os.Stderr
	os.Stderr = write
	stdr := log.New(write, "", 0)
	log.SetOutput(write)
	otel.SetLogger(funcr.New(func(_, args string) { stdr.Print(args) }, funcr.Options{Verbosity: 9}))
	f()
	os.Stderr = before
	log.SetOutput(before)
	write.Close()
	printed, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	return string(printed)
}

// TestLimitsOfTheQueueDoNotPanic sets queue limits that would make the OpenTelemetry library panic.
func TestLimitsOfTheQueueDoNotPanic(t *testing.T) {
	for _, name := range []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"} {
		for _, value := range []string{"-1", "0", "9223372036854775807"} {
			t.Run(name+"="+value, func(t *testing.T) {
				var got lab.Collector
				server := httptest.NewServer(&got)
				defer server.Close()
				t.Setenv(name, value)
				if err := start(t, server.URL).End(t.Context(), result(), 2); err != nil {
					t.Error(err)
				}
				only(t, &got, "imagegate promote")
			})
		}
	}
}

// panicking is an exporter that panics.
type panicking struct{}

func (panicking) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { panic("canary") }

func (panicking) Shutdown(context.Context) error { panic("canary") }

// TestPanicIsAnError checks that a panic in the exporter only becomes the error that End returns.
func TestPanicIsAnError(t *testing.T) {
	tr, err := StartTrace(t.Context(), TraceOptions{Command: "check", Getenv: os.Getenv, Exporter: panicking{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.End(t.Context(), result(), 0); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v", err)
	}
}

func TestMetricsAreValid(t *testing.T) {
	passed := result()
	passed.Decision = &policy.Decision{Passed: true, Until: passed.Finished.Add(time.Hour)}
	passed.Input.Database.Built = passed.Started
	failed := report.Report{Error: &report.Error{Class: report.ClassRegistry, Message: "503"}}
	unfinished := passed
	unfinished.Error = failed.Error
	for name, c := range map[string]struct {
		report   report.Report
		success  float64
		passed   float64
		problems int
	}{
		"denied": {result(), 1, 0, 4}, "passed": {passed, 1, 1, 4}, "failed": {failed, 0, 0, 0},
		"passed, then failed": {unfinished, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Metrics(&out, c.report, 0); err != nil {
				t.Fatal(err)
			}
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(bytes.NewReader(out.Bytes()))
			if err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			value := func(name string) float64 { return families[name].GetMetric()[0].GetGauge().GetValue() }
			if value("imagegate_run_success") != c.success || value("imagegate_passed") != c.passed {
				t.Errorf("success %v, passed %v", value("imagegate_run_success"), value("imagegate_passed"))
			}
			if got := len(families["imagegate_problems"].GetMetric()); got != c.problems {
				t.Errorf("%d counts of problems, want %d", got, c.problems)
			}
			if strings.ContainsAny(out.String(), "\x1b\u202e") {
				t.Errorf("unprintable text: %q", &out)
			}
		})
	}
}
