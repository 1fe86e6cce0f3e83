package formats

import (
	"bytes"
	"testing"

	"github.com/imagegate/imagegate/internal/filekind"
)

// TestOwnReportsAreRecognized checks that filekind.IsOwn recognizes each report by its first bytes,
// and only for its own format. A found configuration file may replace only files that IsOwn
// recognizes.
func TestOwnReportsAreRecognized(t *testing.T) {
	written := map[string]int{}
	for name, r := range outcomes(t) {
		r.Tool.Name, r.Tool.Version = "imagegate", "v0.1.0" // every run sets these fields
		for _, f := range All {
			if f.Document != nil || f.Check(r) != nil {
				continue
			}
			var out bytes.Buffer
			if err := f.Write(&out, r, Options{}); err != nil {
				t.Fatal(err)
			}
			head := out.Bytes()[:min(out.Len(), filekind.Head)]
			written[f.Name]++
			for _, other := range All {
				same := other.Name == f.Name || f.Name == "cyclonedx-vex" && other.Name == "cyclonedx"
				if filekind.IsOwn(other.Name, head) != same {
					t.Errorf("%s: as %s, %s is recognized: %v\n%.300s", name, other.Name, f.Name, !same, head)
				}
			}
		}
	}
	if len(written) != len(All)-2 {
		t.Errorf("only %v were written", written)
	}
}
