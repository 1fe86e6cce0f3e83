package integration

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/lab"
)

// TestTraceOfAPromotion checks that a collector receives the spans of a promotion, as children of
// the CI job's span in TRACEPARENT.
func TestTraceOfAPromotion(t *testing.T) {
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	var traces lab.Collector
	server := httptest.NewServer(&traces)
	defer server.Close()
	w := newWork(t, "fixed")
	metrics := filepath.Join(w.dir, "imagegate.prom")
	w.env = append(w.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL, "TRACEPARENT=00-"+trace+"-"+parent+"-01")
	if out, err := w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "--metrics-file", metrics).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	roots := traces.Spans("imagegate promote")
	if len(roots) != 1 || hex.EncodeToString(roots[0].GetTraceId()) != trace || hex.EncodeToString(roots[0].GetParentSpanId()) != parent {
		t.Fatalf("roots %v", roots)
	}
	for _, name := range []string{"pull", "catalog", "scan", "push"} {
		steps := traces.Spans(name)
		if len(steps) != 1 || !bytes.Equal(steps[0].GetParentSpanId(), roots[0].GetSpanId()) {
			t.Errorf("%s: %v", name, steps)
		}
	}
	if text, err := os.ReadFile(metrics); err != nil || !strings.Contains(string(text), "imagegate_passed{image=") {
		t.Errorf("metrics %s, %v", text, err)
	}
}

// TestDeadCollectorChangesNoVerdict checks that a collector that refuses connections or never
// responds, and an invalid OpenTelemetry variable, only cause a warning.
func TestDeadCollectorChangesNoVerdict(t *testing.T) {
	hanging, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close() // the kernel accepts the connection, and nothing reads from it
	w := newWork(t, "fixed")
	for name, env := range map[string][]string{
		"refuses":          {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"},
		"hangs":            {"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + hanging.Addr().String()},
		"gRPC":             {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		"invalid endpoint": {"OTEL_EXPORTER_OTLP_ENDPOINT=:// "},
		"invalid parent":   {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "TRACEPARENT=\x1b[31m", "TRACESTATE=,,"},
		"invalid header":   {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS=canary", "OTEL_RESOURCE_ATTRIBUTES=canary"},
		"invalid queue":    {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_BSP_MAX_QUEUE_SIZE=-1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=-1"},
	} {
		cmd := w.command(t, "check", w.source, "--policy", w.policy)
		cmd.Env = append(cmd.Env, env...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "imagegate: warning: ") || !strings.Contains(string(out), "trace is") || bytes.Contains(out, []byte("\x1b[31m")) || bytes.Contains(out, []byte("canary")) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	cmd := w.command(t, "check", w.source, "--policy", w.policy, "--offline")
	cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+hanging.Addr().String())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "no trace is exported: --offline") {
		t.Errorf("offline: %v\n%s", err, out)
	}
}
