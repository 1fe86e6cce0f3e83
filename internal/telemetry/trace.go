// Package telemetry exports what a run did: traces over OTLP, and metrics for the textfile
// collector of Prometheus.
//
// Telemetry never changes the result of a run. A collector that does not respond delays a run by at
// most [MaxWait].
package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/report"
)

// MaxWait is the maximum total time that a run waits for a collector.
const MaxWait = 5 * time.Second

// exportTimeout is the time limit for one request to the collector. It is less than half of
// MaxWait.
const exportTimeout = 2 * time.Second

// These are the limits of the span queue. They replace the variables OTEL_BSP_*, because the
// OpenTelemetry library panics for a negative or huge value.
const (
	maxQueue    = sdktrace.DefaultMaxQueueSize
	maxBatch    = sdktrace.DefaultMaxExportBatchSize
	exportDelay = sdktrace.DefaultScheduleDelay * time.Millisecond
)

// maxAttribute is the maximum length of a text attribute in characters.
const maxAttribute = 500

// TraceOptions configure a trace.
type TraceOptions struct {
	// Command is the name of the root span, such as "promote".
	Command string
	// Version is the version of imagegate.
	Version string
	// TraceParent and TraceState are the W3C trace context of the caller. A CI job passes them in
	// the environment variables TRACEPARENT and TRACESTATE. An invalid context is ignored.
	TraceParent, TraceState string
	// Getenv returns the value of an environment variable. Required.
	Getenv func(string) string
	// Redact removes secrets from the text of an error. Required.
	Redact func(string) string
	// Exporter replaces the exporter to the collector, for tests.
	Exporter sdktrace.SpanExporter
}

// Trace is the trace of one run: a root span, and a span for each step. It is a [gate.Progress].
type Trace struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	root     trace.Span
	parent   context.Context //nolint:containedctx // the span that steps without a span in their context belong to
	redact   func(string) string

	mu    sync.Mutex
	moved map[gate.Step]map[string]int64 // bytes by blob
	lost  error                          // the first error of an export in the background
}

// errVariable replaces the OpenTelemetry library's errors about variables, because they quote the
// values.
var errVariable = errors.New("OTEL_RESOURCE_ATTRIBUTES or OTEL_TRACES_SAMPLER cannot be understood completely")

// StartTrace starts a trace. The exporter reads the standard variables, such as
// OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS and OTEL_RESOURCE_ATTRIBUTES. Errors
// never quote the value of a variable, because it can be a secret. The caller must call End once.
func StartTrace(ctx context.Context, o TraceOptions) (_ *Trace, err error) {
	defer recovered(&err)
	t := &Trace{redact: o.Redact, moved: map[gate.Step]map[string]int64{}, lost: checkHeaders(o.Getenv)}
	// By default, the OpenTelemetry library prints errors, with the values of variables, to
	// standard error.
	otel.SetLogger(logr.Discard())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) { t.lose(errVariable) }))
	exporter := o.Exporter
	if exporter == nil {
		// Do not retry, because a collector that is down must not delay the run.
		exporter, err = otlptracehttp.New(ctx, otlptracehttp.WithTimeout(exportTimeout), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
		if err != nil {
			return nil, errors.New("the variables OTEL_EXPORTER_OTLP_* cannot be used together")
		}
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "imagegate"), attribute.String("service.version", o.Version)),
		resource.WithFromEnv())
	if err != nil {
		t.lose(errVariable) // the rest of the attributes is usable
	}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithResource(about),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{AttributeValueLengthLimit: maxAttribute, AttributeCountLimit: 64,
			EventCountLimit: 64, LinkCountLimit: 8, AttributePerEventCountLimit: 16, AttributePerLinkCountLimit: 16}),
		sdktrace.WithBatcher(guarded{exporter}, sdktrace.WithExportTimeout(exportTimeout), sdktrace.WithBatchTimeout(exportDelay),
			sdktrace.WithMaxQueueSize(maxQueue), sdktrace.WithMaxExportBatchSize(maxBatch)))
	// From now on, the library's errors are about failed exports and do not quote variables.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(t.lose))
	t.tracer = t.provider.Tracer("github.com/imagegate/imagegate")
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": o.TraceParent, "tracestate": o.TraceState})
	t.parent, t.root = t.tracer.Start(ctx, "imagegate "+o.Command)
	return t, nil
}

// checkHeaders returns an error if a header variable has an entry that the exporter would silently
// ignore. The error does not quote the entry.
func checkHeaders(getenv func(string) string) error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		for entry := range strings.SplitSeq(strings.TrimSpace(getenv(name)), ",") {
			if entry != "" && !strings.Contains(entry, "=") {
				return fmt.Errorf(`%s has an entry without "=", which is not sent`, name)
			}
		}
	}
	return nil
}

// recovered turns a panic of the OpenTelemetry library into an error, because telemetry must not
// change the result. The error omits the panic value, which may quote a variable.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = errors.New("the OpenTelemetry library stopped unexpectedly: check the variables that begin with OTEL_")
	}
}

// guarded is an exporter that returns panics as errors. The OpenTelemetry library calls it in its
// own goroutines, where recovered has no effect.
type guarded struct{ sdktrace.SpanExporter }

func (g guarded) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) (err error) {
	defer recovered(&err)
	return g.SpanExporter.ExportSpans(ctx, spans)
}

func (g guarded) Shutdown(ctx context.Context) (err error) {
	defer recovered(&err)
	return g.SpanExporter.Shutdown(ctx)
}

// Start starts the span of a step as a child of the span in ctx or, if ctx has none, of the root
// span.
func (t *Trace) Start(ctx context.Context, s gate.Step) (context.Context, func(error)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpan(ctx, t.root)
	}
	name := string(s.Stage)
	ctx, span := t.tracer.Start(ctx, name, trace.WithAttributes(
		attribute.String("imagegate.image", report.Sanitize(s.Image)),
		attribute.String("imagegate.stage", name),
		attribute.String("imagegate.subject", report.Sanitize(s.Subject))))
	return ctx, func(err error) {
		if n := t.taken(s); n > 0 {
			span.SetAttributes(attribute.Int64("imagegate.bytes", n))
		}
		if err != nil {
			span.SetStatus(codes.Error, report.Sanitize(t.redact(err.Error())))
		}
		span.End()
	}
}

// Bytes adds transferred bytes. They are attributed to the next span that ends for the same image
// and stage.
func (t *Trace) Bytes(s gate.Step, blob string, done, _ int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := stageOf(s)
	if t.moved[key] == nil {
		t.moved[key] = map[string]int64{}
	}
	t.moved[key][blob] = done
}

// taken returns the bytes of a stage that were counted since the last call.
func (t *Trace) taken(s gate.Step) (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := stageOf(s)
	for _, done := range t.moved[key] {
		n += done
	}
	delete(t.moved, key)
	return n
}

func stageOf(s gate.Step) gate.Step { return gate.Step{Image: s.Image, Stage: s.Stage} }

// End ends the root span with the result of the run, and exports all remaining spans. It waits at
// most [MaxWait], even if ctx is canceled. The caller should only warn about the error.
func (t *Trace) End(ctx context.Context, r report.Report, exitCode int) (err error) {
	defer recovered(&err)
	v := r.Verdict()
	t.root.SetAttributes(
		attribute.String("imagegate.outcome", v.Outcome.String()),
		attribute.Int("process.exit.code", exitCode),
		attribute.String("imagegate.image", report.Sanitize(r.Input.Image.Reference)),
		attribute.String("imagegate.digest", report.Sanitize(r.Input.Image.Digest)),
		attribute.String("imagegate.policy.digest", r.Policy.Digest),
		attribute.String("imagegate.database.digest", r.Input.Database.Digest),
		attribute.Int("imagegate.problems.blocking", v.Counts.Blocking),
		attribute.Int("imagegate.problems.warnings", v.Counts.Warnings),
		attribute.Int("imagegate.problems.excepted", v.Counts.Excepted))
	if v.Outcome.IsFailure() {
		t.root.SetStatus(codes.Error, v.Why)
	}
	t.root.End()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), MaxWait)
	defer cancel()
	err = t.provider.Shutdown(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	return cmp.Or(t.lost, err)
}

func (t *Trace) lose(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost = cmp.Or(t.lost, err)
}
