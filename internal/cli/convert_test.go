package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/formats"
)

// TestConvertWritesEachFormat converts each golden report to each format, and compares the files
// with the output of the format's Write function.
func TestConvertWritesEachFormat(t *testing.T) {
	files, err := filepath.Glob("../report/testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		dir := t.TempDir()
		args := []string{"imagegate", "report", "convert", file}
		r, err := readReport(file)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{"sarif", "gitlab", "junit", "markdown", "csv", "json"}
		for _, f := range names {
			args = append(args, "--output", f+"="+filepath.Join(dir, f))
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
		for _, name := range names {
			format, _ := formats.ByName(name)
			var want bytes.Buffer
			wantErr := format.Check(r)
			if wantErr == nil {
				wantErr = format.Write(&want, r, formats.Options{})
			}
			converted, err := os.ReadFile(filepath.Join(dir, name))
			if (err == nil) != (wantErr == nil) || wantErr == nil && !bytes.Equal(want.Bytes(), converted) {
				t.Errorf("%s: %s: %v, %v", file, name, err, wantErr)
			}
		}
	}
}

// TestConvertRemovesAnEarlierFile converts a report to a format that cannot express it and to
// another format. The first target's old file must be removed, and the second target must still be
// written.
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
