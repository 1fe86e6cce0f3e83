package output

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

// promotedOutput returns a Writer whose report says that the tag is already written.
func promotedOutput(s Streams, targets ...Target) *Writer {
	o := &Writer{Options: Options{Targets: targets, Stop: func() {}, Streams: s}}
	o.Report.Command = "promote"
	o.Report.Decision = &policy.Decision{Passed: true}
	o.Report.Destinations = []report.Destination{{Reference: "approved.example/app:1", State: report.Promoted, Statements: []report.Statement{}}}
	return o
}

// TestPromotedWithoutReportIsNotUndecided checks that a promotion with an unwritable report exits
// with the code for an error. The last message and the writable reports must still say that the
// image is promoted.
func TestPromotedWithoutReportIsNotUndecided(t *testing.T) {
	good := filepath.Join(t.TempDir(), "report.json")
	var stdout, stderr bytes.Buffer
	o := promotedOutput(Streams{Out: &stdout, Err: &stderr}, Target{"json", good}, Target{"json", "/dev/full"})
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

// TestReportIsRehearsedBeforeTheTag checks that rehearse writes a report before the tag is written.
// A full disk is then detected early, and a killed run leaves a report that says that it did not
// finish.
func TestReportIsRehearsedBeforeTheTag(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	o := promotedOutput(Streams{Out: io.Discard, Err: io.Discard}, Target{"json", file}, Target{"text", ""})
	o.Report.Destinations = []report.Destination{}
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
	if r.Error == nil || r.Outcome() != report.Unfinished || o.Report.Error != nil {
		t.Errorf("%s", data)
	}
	o.Targets[0].File = filepath.Join(filepath.Dir(file), "gone", "report.json")
	if err := o.rehearse(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestFormatWithoutAVerdictIsNotWritten checks that, after a failed run, a format that requires a
// decision is not written, and that its earlier report is removed.
func TestFormatWithoutAVerdictIsNotWritten(t *testing.T) {
	saved := formats.All
	defer func() { formats.All = saved }()
	formats.All = append(slices.Clone(saved), formats.Format{Name: "strict",
		Write: func(w io.Writer, _ report.Report, _ formats.Options) error {
			_, err := io.WriteString(w, "findings")
			return err
		}})
	file := filepath.Join(t.TempDir(), "report.strict")
	o := promotedOutput(Streams{Out: io.Discard, Err: io.Discard}, Target{"strict", file})
	if err := o.end(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "findings" {
		t.Errorf("%q, %v", data, err)
	}
	var stderr bytes.Buffer
	o.Streams.Err, o.Report.Decision = &stderr, nil
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
// names it by its descriptor, such as /dev/stdout. A second report would be appended to the first.
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
	for _, other := range []Target{{"text", ""}, {"text", "/dev/full"}} {
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		o := promotedOutput(Streams{Out: io.Discard, Err: io.Discard}, Target{"json", named}, other)
		if err := o.Targets[0].Check(); err != nil {
			t.Fatal(err)
		}
		if other.File == "" {
			if err := o.rehearse(); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.end(t.Context(), nil); (err != nil) != (other.File != "") {
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

// TestPanicLeavesAReportWithError checks that a panic leaves a report with the error, even if the
// image had already passed.
func TestPanicLeavesAReportWithError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	o := &Writer{Options: Options{Targets: []Target{{"json", file}}, Stop: func() {}, Streams: Streams{Out: io.Discard, Err: io.Discard}}}
	o.Report.Decision = &policy.Decision{Passed: true}
	err := func() (err error) {
		defer o.Finish(t.Context(), &err)
		panic("a library's fault")
	}()
	if got := exit.Classify(t.Context(), err); got.Code != exit.Failure {
		t.Errorf("%+v: %v", got, err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := report.ReadJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	if r.Error == nil || r.Error.Class != report.ClassOther || !strings.Contains(r.Error.Message, "a library's fault") || r.Outcome() == report.Passed {
		t.Errorf("%v: %+v", r.Outcome(), r.Error)
	}
}
