package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
)

// TestOutputThatCannotBeWrittenIsRefusedBefore checks that newOutput refuses an unwritable output,
// before anything is read or promoted, and that it leaves no files behind.
func TestOutputThatCannotBeWrittenIsRefusedBefore(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"folder", "sealed"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("file", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("sealed", 0o500); err != nil { //nolint:gosec // without write permission
		t.Fatal(err)
	}
	cases := map[string][]string{
		"a folder":                {"--output", "json=folder"},
		"below a file":            {"--output", "json=file/report.json"},
		"no folder":               {"--output", "json=none/report.json"},
		"a name that is too long": {"--output", "json=" + strings.Repeat("long ", 52)},
		"evidence in a file":      {"--evidence-dir", "file"},
		"evidence below a file":   {"--evidence-dir", "file/evidence"},
	}
	if os.Getuid() != 0 && runtime.GOOS != "windows" {
		cases["a sealed folder"] = []string{"--output", "json=sealed/report.json"}
		cases["evidence in a sealed folder"] = []string{"--evidence-dir", "sealed/evidence"}
	}
	for name, args := range cases {
		var stderr bytes.Buffer
		args = append([]string{"imagegate", "promote", "127.0.0.1:1/a:1", "127.0.0.1:1/b:1", "--policy", "none.yaml", "--key", "none.key"}, args...)
		code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
		if code != exit.UsageCode || !strings.Contains(stderr.String(), args[len(args)-2]) {
			t.Errorf("%s: exit code %d: %s", name, code, stderr.String())
		}
	}
	if err := checkNewFolder("new/and/deep"); err != nil {
		t.Error(err)
	}
	if err := (target{"json", "new.json"}).check(); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "folder" && e.Name() != "file" && e.Name() != "sealed" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
	if data, err := os.ReadFile("file"); err != nil || string(data) != "old" {
		t.Errorf("%q, %v", data, err)
	}
}

// promotedOutput is the output of a promotion that has written its tag.
func promotedOutput(s Streams, targets ...target) *output {
	o := &output{targets: targets, stop: func() {}, streams: s}
	o.report.Command = "promote"
	o.report.Decision = &policy.Decision{Passed: true}
	o.report.Destinations = []report.Destination{{Reference: "approved.example/app:1", State: report.Promoted, Statements: []report.Statement{}}}
	return o
}

// TestPromotedWithoutReportIsNotUndecided checks that a promotion with an unwritable report exits
// with the code for an error. The last message and the writable reports must still say that the
// image is promoted.
func TestPromotedWithoutReportIsNotUndecided(t *testing.T) {
	good := filepath.Join(t.TempDir(), "report.json")
	var stdout, stderr bytes.Buffer
	o := promotedOutput(Streams{Out: &stdout, Err: &stderr}, target{"json", good}, target{"json", "/dev/full"})
	if runtime.GOOS != "linux" {
		t.Skip("there is no full device")
	}
	code := exit.Finish(t.Context(), &stderr, o.end(t.Context(), nil))
	if code != exit.Failure || !strings.Contains(stderr.String(), "imagegate: promoted, but not everything was written") ||
		!strings.HasSuffix(stderr.String(), "\nretryable: yes\n") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.ReadJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if r.Error == nil || r.Error.Class != report.ClassOutput || !r.Error.Retryable || len(r.Destinations) != 1 {
		t.Errorf("%s", data)
	}
}

// TestReportIsRehearsedBeforeTheTag checks that rehearse writes a report before the tag. A killed
// run then leaves a report that says that the run did not finish, and a full disk is found early.
func TestReportIsRehearsedBeforeTheTag(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	o := promotedOutput(Streams{Out: io.Discard, Err: io.Discard}, target{"json", file}, target{"text", ""})
	o.report.Destinations = []report.Destination{}
	if err := o.rehearse(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.ReadJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if r.Error == nil || r.Outcome() != report.Unfinished || o.report.Error != nil {
		t.Errorf("%s", data)
	}
	o.targets[0].file = filepath.Join(filepath.Dir(file), "gone", "report.json")
	if err := o.rehearse(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestFormatWithoutAVerdictIsNotWritten checks that a format that needs a decision is not written
// after a failed run, and that an earlier report does not stay in its place.
func TestFormatWithoutAVerdictIsNotWritten(t *testing.T) {
	saved := formats.All
	defer func() { formats.All = saved }()
	formats.All = append(slices.Clone(saved), formats.Format{Name: "strict",
		Write: func(w io.Writer, _ report.Report, _ formats.Options) error {
			_, err := io.WriteString(w, "findings")
			return err
		}})
	file := filepath.Join(t.TempDir(), "report.strict")
	o := promotedOutput(Streams{Out: io.Discard, Err: io.Discard}, target{"strict", file})
	if err := o.end(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "findings" {
		t.Errorf("%q, %v", data, err)
	}
	var stderr bytes.Buffer
	o.streams.Err, o.report.Decision = &stderr, nil
	failure := errors.New("the registry is down")
	if err := o.end(t.Context(), failure); !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the earlier report is still there: %v", err)
	}
	if !strings.Contains(stderr.String(), "the strict report is not written: the run made no decision") {
		t.Errorf("stderr: %s", stderr.String())
	}
}

// TestNoSecondReportFollowsTheFirst checks that an open file gets exactly one report if --output
// names the file by its descriptor, as /dev/stdout does. imagegate only appends to such a file.
func TestNoSecondReportFollowsTheFirst(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	named := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	for _, other := range []target{{"text", ""}, {"text", "/dev/full"}} {
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		o := promotedOutput(Streams{Out: io.Discard, Err: io.Discard}, target{"json", named}, other)
		if err := o.targets[0].check(); err != nil {
			t.Fatal(err)
		}
		if other.file == "" {
			if err := o.rehearse(); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.end(t.Context(), nil); (err != nil) != (other.file != "") {
			t.Errorf("%v: %v", other, err)
		}
		data, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if r, err := report.ReadJSON(bytes.NewReader(data)); err != nil || r.Outcome() == report.Unfinished {
			t.Errorf("%v: %v in %s", other, err, data)
		}
	}
}

// TestEvidenceForAnotherUserIsRefusedBefore checks that newOutput refuses an evidence folder that
// another user controls, before anything is read or promoted.
func TestEvidenceForAnotherUserIsRefusedBefore(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the system's access lists decide")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"promote", "127.0.0.1:1/a:1", "127.0.0.1:1/b:1", "--policy", "none.yaml"}, {"verify", "127.0.0.1:1/b:1"}} {
		var stderr bytes.Buffer
		args = append(append([]string{"imagegate"}, args...), "--key", "none.key", "--evidence-dir", dir)
		code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
		if code != exit.UsageCode || !strings.Contains(stderr.String(), "--evidence-dir: \""+dir+"\" cannot be trusted") {
			t.Errorf("%s: exit code %d: %s", args[1], code, stderr.String())
		}
	}
}
