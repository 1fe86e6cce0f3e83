package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/redact"
)

// TestBarGoesOnAfterAFullBlob checks that the progress bar continues if the first blob of an image
// is complete before the next blob begins. The first blob is small, and a full bar cannot continue.
func TestBarGoesOnAfterAFullBlob(t *testing.T) {
	var out bytes.Buffer
	b := newBar(&out)
	step := gate.Step{Image: "registry.example/app:1", Stage: gate.Pull, Subject: "sha256:" + strings.Repeat("0123456789abcdef", 4)}
	_, done := b.Start(t.Context(), step)
	b.Bytes(step, "config", 500, 500)
	b.Bytes(step, "layer", 1_000_000, 4_000_000)
	time.Sleep(2 * redraw)
	b.Bytes(step, "layer", 2_000_000, 4_000_000)
	done(nil)
	if !strings.Contains(out.String(), "pull    sha256:0123456789ab  50%") {
		t.Errorf("%q", out.String())
	}
	if last := out.String()[strings.LastIndex(strings.TrimRight(out.String(), "\r"), "\r")+1:]; strings.TrimSpace(last) != "" {
		t.Errorf("%q stays on the line", last)
	}
}

// hostile contains sequences that terminals and CI systems interpret as commands.
const hostile = "\x1b[31mA\n::error::B\r##vso[task.setvariable variable=C]D\u202e\u009b ##[add-mask]E\u2066\u0085::set-output"

// TestNoLogLineIsACommand checks that both log formats remove sequences that a terminal or a CI
// system would interpret as commands.
func TestNoLogLineIsACommand(t *testing.T) {
	bad := regexp.MustCompile("\x1b|[\u0080-\u009f\u202a-\u202e\u2066-\u2069\r]|(?m)^\\s*::|##")
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		progress, stop, err := New(&out, Options{Format: format, Now: time.Now, Redact: redact.URLs})
		if err != nil {
			t.Fatal(err)
		}
		_, done := progress.Start(t.Context(), gate.Step{Image: hostile, Stage: gate.Scan, Subject: hostile})
		done(nil)
		_, done = progress.Start(t.Context(), gate.Step{Stage: gate.Scan, Subject: "x"})
		done(errors.New(hostile))
		stop()
		if found := bad.FindString(out.String()); found != "" {
			t.Errorf("%s: %q in %q", format, found, out.String())
		}
		for line := range strings.Lines(out.String()) {
			if format == "json" && !json.Valid([]byte(line)) {
				t.Errorf("%q", line)
			}
		}
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%s: %d lines", format, n)
		}
	}
	if a := printable(nil, slog.Int("n", 1)); a.Value.Int64() != 1 {
		t.Error("numbers change")
	}
}
