package telemetry

import "testing"

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
