package telemetry

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestTracesAreWanted(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for name, c := range map[string]struct {
		env    map[string]string
		asked  bool
		reason bool
	}{
		"nothing":         {nil, false, false},
		"endpoint":        {map[string]string{endpoint: "http://c"}, true, false},
		"traces endpoint": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, true, false},
		"disabled":        {map[string]string{endpoint: "http://c", "OTEL_SDK_DISABLED": "TRUE"}, false, false},
		"no exporter":     {map[string]string{endpoint: "http://c", "OTEL_TRACES_EXPORTER": "none"}, false, false},
		"gRPC":            {map[string]string{endpoint: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true, true},
		"traces over HTTP": {map[string]string{endpoint: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
			"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, true, false},
	} {
		asked, reason := Wanted(func(key string) string { return c.env[key] })
		if asked != c.asked || (reason != "") != c.reason {
			t.Errorf("%s: %v, %q", name, asked, reason)
		}
	}
}

// TestDocumentedMetricsExist checks that docs/operations.md names exactly the metrics that Metrics
// writes.
func TestDocumentedMetricsExist(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	r := result()
	r.Decision.Until = r.Finished.Add(time.Hour)
	r.Decision.Passed, r.Decision.Violations = true, nil
	r.Input.Database.Built = r.Started
	var out bytes.Buffer
	if err := Metrics(&out, r, 0); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\bimagegate_[a-z_]+`)
	documented, written := name.FindAllString(string(text), -1), name.FindAllString(out.String(), -1)
	for _, m := range written {
		if !slices.Contains(documented, m) {
			t.Errorf("%s is not documented", m)
		}
	}
	for _, m := range documented {
		if !slices.Contains(written, m) {
			t.Errorf("%s is no metric", m)
		}
	}
}
