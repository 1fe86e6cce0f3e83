package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
)

// TestVerdictIsShownOnce checks that standard error has the verdict exactly if standard output does
// not have it.
func TestVerdictIsShownOnce(t *testing.T) {
	failure := func(class report.Class) *report.Error { return &report.Error{Class: class, Message: "m"} }
	onOut, toFile, json := target{format: "text"}, target{format: "text", file: "report.txt"}, target{format: "json"}
	for name, tt := range map[string]struct {
		targets    []target
		err        *report.Error
		structured bool
		want       string
	}{
		"text":                          {[]target{onOut}, nil, false, ""},
		"text and JSON":                 {[]target{json, onOut}, nil, false, ""},
		"JSON":                          {[]target{json}, nil, false, "PASSED"},
		"text to a file":                {[]target{toFile}, nil, false, "PASSED"},
		"structured logs":               {[]target{json}, nil, true, ""},
		"a failure":                     {[]target{onOut}, failure(report.ClassRegistry), false, "FAILED"},
		"a failure and structured logs": {[]target{onOut}, failure(report.ClassRegistry), true, ""},
		"a mistake on the command line": {[]target{onOut}, failure(report.ClassUsage), false, ""},
	} {
		var stderr bytes.Buffer
		o := output{targets: tt.targets, structured: tt.structured, streams: Streams{Out: new(bytes.Buffer), Err: &stderr}}
		o.report.Decision, o.report.Error = &policy.Decision{Passed: true}, tt.err
		o.lastLines()
		if got := strings.TrimSpace(stderr.String()); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
