package cli

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
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// TestConvertWritesEachFormat converts the golden reports, and compares the result with the formats
// that a run writes.
func TestConvertWritesEachFormat(t *testing.T) {
	files, err := filepath.Glob("../report/testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		dir := t.TempDir()
		args := []string{"imagegate", "report", "convert", file}
		var targets []target
		r, err := readReport(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"sarif", "gitlab", "junit", "markdown", "csv", "json"} {
			args = append(args, "--output", f+"="+filepath.Join(dir, f))
			targets = append(targets, target{f, filepath.Join(dir, f+".run")})
		}
		var stderr bytes.Buffer
		code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
		want := exit.OK
		if r.Decision == nil {
			want = exit.UsageCode
		}
		if code != want || want == exit.UsageCode && !strings.Contains(stderr.String(), "the sarif report is not written: the run made no decision") {
			t.Errorf("%s: exit code %d: %s", file, code, &stderr)
		}
		o := &output{report: r, targets: targets, streams: Streams{Out: io.Discard, Err: io.Discard}}
		for _, target := range targets {
			if err := o.writeTarget(target); err != nil {
				t.Fatal(err)
			}
			ran, ranErr := os.ReadFile(target.file)
			converted, err := os.ReadFile(strings.TrimSuffix(target.file, ".run"))
			if (err == nil) != (ranErr == nil) || !bytes.Equal(ran, converted) {
				t.Errorf("%s: %s: %v, %v", file, target.format, err, ranErr)
			}
		}
	}
}

// TestConvertRemovesAnEarlierFile checks that a format that cannot express the report does not leave
// the file of an earlier run, and that the other formats are written.
func TestConvertRemovesAnEarlierFile(t *testing.T) {
	dir := t.TempDir()
	stale, other := filepath.Join(dir, "r.sarif"), filepath.Join(dir, "r.xml")
	if err := os.WriteFile(stale, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	code := Run(t.Context(), []string{"imagegate", "report", "convert", "../report/testdata/undecided.json", "-o", "sarif=" + stale, "-o", "junit=" + other},
		Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	if _, err := os.Stat(stale); !os.IsNotExist(err) || code != exit.UsageCode {
		t.Errorf("exit code %d, %v", code, err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// TestSBOMsNeedAFileEach checks that the SBOMs of several platforms are refused one file before
// anything is written, and that a file has exactly the bytes of the catalog.
func TestSBOMsNeedAFileEach(t *testing.T) {
	dir := t.TempDir()
	var result gate.Result
	for _, platform := range []string{"linux/amd64", "linux/arm64/v8"} {
		result.SBOMs = append(result.SBOMs, &gate.SBOM{Digest: v1.Hash{}, SPDX: []byte(`{"name":"##vso[x] ` + platform + `"}`)})
		result.Input.Platforms = append(result.Input.Platforms, evidence.Platform{Platform: platform})
	}
	for name, file := range map[string]string{"one file": filepath.Join(dir, "sbom.json"), "standard output": ""} {
		o := &output{targets: []target{{"spdx", file}}}
		if err := o.cataloged(&result); err == nil || !strings.Contains(err.Error(), "linux/amd64, linux/arm64/v8") || o.sboms != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var stdout bytes.Buffer
	o := &output{targets: []target{{"spdx", filepath.Join(dir, "{platform}.json")}}, streams: Streams{Out: &stdout, Err: io.Discard}}
	if err := o.cataloged(&result); err != nil {
		t.Fatal(err)
	}
	if err := o.writeTarget(o.targets[0]); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"linux-amd64.json", "linux-arm64-v8.json"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !slices.Equal(data, result.SBOMs[i].SPDX) {
			t.Errorf("%s, %v", data, err)
		}
	}
	o.sboms = o.sboms[:1]
	if err := o.writeTarget(target{"spdx", ""}); err != nil || stdout.String() != `{"name":"\u0023#vso[x] linux/amd64"}`+"\n" {
		t.Errorf("%q, %v", stdout.String(), err)
	}
}

// TestSBOMThatWasNotMadeIsNotWritten checks that no earlier SBOM stays, and that verify refuses the
// formats that it cannot write.
func TestSBOMThatWasNotMadeIsNotWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sbom.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	o := &output{report: report.Report{}, streams: Streams{Out: io.Discard, Err: &stderr}}
	if err := o.writeTarget(target{"cyclonedx", file}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) || !strings.Contains(stderr.String(), "the cyclonedx document is not written") {
		t.Errorf("%v: %s", err, &stderr)
	}
	for _, c := range []struct {
		target  target
		command string
	}{{target{"spdx", file}, "verify"}, {target{"json", "{platform}.json"}, "check"}} {
		if err := c.target.checkDocument(c.command); err == nil {
			t.Errorf("%v is accepted for %s", c.target, c.command)
		}
	}
	if err := (target{"spdx", "{platform}.json"}).checkDocument("check"); err != nil {
		t.Error(err)
	}
}
