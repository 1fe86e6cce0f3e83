package telemetry

import "strings"

// Wanted reports whether the standard OpenTelemetry variables request traces. If traces are
// requested but cannot be exported, reason says why. Otherwise reason is "".
func Wanted(getenv func(string) string) (asked bool, reason string) {
	endpoint := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
	if !endpoint || strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false, ""
	}
	protocol := getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if protocol != "" && protocol != "http/protobuf" {
		return true, "the protocol " + protocol + " is not supported: set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf"
	}
	return true, ""
}
