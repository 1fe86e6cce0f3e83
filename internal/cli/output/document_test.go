package output

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/policy/evidence"
)

// TestSBOMsNeedAFileEach checks that the SBOMs of several platforms cannot go to one file, that the
// error comes before anything is written, and that a file has exactly the bytes of the catalog.
func TestSBOMsNeedAFileEach(t *testing.T) {
	dir := t.TempDir()
	var result gate.Result
	for _, platform := range []string{"linux/amd64", "linux/arm64/v8"} {
		result.SBOMs = append(result.SBOMs, &gate.SBOM{Digest: v1.Hash{}, SPDX: []byte(`{"name":"##vso[x] ` + platform + `"}`)})
		result.Input.Platforms = append(result.Input.Platforms, evidence.Platform{Platform: platform})
	}
	for name, file := range map[string]string{"one file": filepath.Join(dir, "sbom.json"), "standard output": ""} {
		o := &Writer{Options: Options{Targets: []Target{{"spdx", file}}}}
		if err := o.Cataloged(&result); err == nil || !strings.Contains(err.Error(), "linux/amd64, linux/arm64/v8") || o.sboms != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var stdout bytes.Buffer
	o := &Writer{Options: Options{Targets: []Target{{"spdx", filepath.Join(dir, "{platform}.json")}}, Streams: Streams{Out: &stdout, Err: io.Discard}}}
	if err := o.Cataloged(&result); err != nil {
		t.Fatal(err)
	}
	if err := o.writeTarget(o.Targets[0]); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"linux-amd64.json", "linux-arm64-v8.json"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !slices.Equal(data, result.SBOMs[i].SPDX) {
			t.Errorf("%s, %v", data, err)
		}
	}
	o.sboms = o.sboms[:1]
	if err := o.writeTarget(Target{"spdx", ""}); err != nil || stdout.String() != `{"name":"\u0023#vso[x] linux/amd64"}`+"\n" {
		t.Errorf("%q, %v", stdout.String(), err)
	}
}

// TestSBOMThatWasNotMadeIsNotWritten checks that a run without an SBOM removes the SBOM file of an
// earlier run, and that verify refuses the SBOM formats.
func TestSBOMThatWasNotMadeIsNotWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sbom.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	o := &Writer{Options: Options{Streams: Streams{Out: io.Discard, Err: &stderr}}}
	if err := o.writeTarget(Target{"cyclonedx", file}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) || !strings.Contains(stderr.String(), "the cyclonedx document is not written") {
		t.Errorf("%v: %s", err, &stderr)
	}
	for _, c := range []struct {
		target  Target
		command string
	}{{Target{"spdx", file}, "verify"}, {Target{"json", "{platform}.json"}, "check"}} {
		if err := c.target.CheckDocument(c.command); err == nil {
			t.Errorf("%v is accepted for %s", c.target, c.command)
		}
	}
	if err := (Target{"spdx", "{platform}.json"}).CheckDocument("check"); err != nil {
		t.Error(err)
	}
}
