package output

import (
	"bytes"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
)

// TestVerdictIsShownOnce checks that standard error shows the verdict if and only if standard
// output does not.
func TestVerdictIsShownOnce(t *testing.T) {
	failure := func(class report.Class) *report.Error { return &report.Error{Class: class, Message: "m"} }
	onOut, toFile, json := Target{Format: "text"}, Target{Format: "text", File: "report.txt"}, Target{Format: "json"}
	for name, tt := range map[string]struct {
		targets    []Target
		err        *report.Error
		structured bool
		want       string
	}{
		"text":                          {[]Target{onOut}, nil, false, ""},
		"text and JSON":                 {[]Target{json, onOut}, nil, false, ""},
		"JSON":                          {[]Target{json}, nil, false, "PASSED"},
		"text to a file":                {[]Target{toFile}, nil, false, "PASSED"},
		"structured logs":               {[]Target{json}, nil, true, "{"},
		"a failure":                     {[]Target{onOut}, failure(report.ClassRegistry), false, "FAILED"},
		"a failure and structured logs": {[]Target{onOut}, failure(report.ClassRegistry), true, "{"},
		"a mistake on the command line": {[]Target{onOut}, failure(report.ClassUsage), false, ""},
	} {
		var stderr bytes.Buffer
		o := Writer{Options: Options{Targets: tt.targets, Structured: tt.structured, Streams: Streams{Out: new(bytes.Buffer), Err: &stderr}}}
		o.Report.Decision, o.Report.Error = &policy.Decision{Passed: true}, tt.err
		o.lastLines()
		if got := strings.TrimSpace(stderr.String()); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
