package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/gate"
)

// TestBarGoesOnAfterAFullBlob: the first blob of an image is small, and a full bar cannot continue.
func TestBarGoesOnAfterAFullBlob(t *testing.T) {
	var out bytes.Buffer
	b := newBar(&out)
	done := b.Start(gate.Pull, "sha256:"+strings.Repeat("0123456789abcdef", 4))
	b.Bytes(gate.Pull, "config", 500, 500)
	b.Bytes(gate.Pull, "layer", 1_000_000, 4_000_000)
	time.Sleep(2 * redraw)
	b.Bytes(gate.Pull, "layer", 2_000_000, 4_000_000)
	done(nil)
	if !strings.Contains(out.String(), "pull    sha256:0123456789ab  50%") {
		t.Errorf("%q", out.String())
	}
	if last := out.String()[strings.LastIndex(strings.TrimRight(out.String(), "\r"), "\r")+1:]; strings.TrimSpace(last) != "" {
		t.Errorf("%q stays on the line", last)
	}
}
