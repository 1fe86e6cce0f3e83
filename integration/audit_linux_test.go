package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagegate/imagegate/internal/audit"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/schemas"
)

// audited returns the records in an audit log. It fails the test if a record does not match the
// published schema.
func audited(t *testing.T, path string) []audit.Event {
	t.Helper()
	text, err := os.ReadFile("../docs/schemas/audit.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := schemas.Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var out []audit.Event
	for line := range bytes.Lines(data) {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%v in %s", err, line)
		}
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// TestEveryEndHasOneAuditRecord ends runs in every possible way. Each run must leave exactly one
// audit record, with the exit code of the process.
func TestEveryEndHasOneAuditRecord(t *testing.T) {
	w := newWork(t, "fixed")
	vulnerable := w.registries["staging"].Ref("team/app:vulnerable")
	img, err := images["vulnerable"]()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Push(t.Context(), vulnerable, img); err != nil {
		t.Fatal(err)
	}
	overridable, other := filepath.Join(w.dir, "overridable.yaml"), w.registries["approved"].Ref("team/other:1")
	write(t, overridable, []byte("version: 1\nrules:\n  - name: no critical\n    severity: critical\noverride:\n  approvers: [oncall@example.com]\n  maxLifetime: 30d\n"))
	expires := time.Now().Add(24 * time.Hour).Format(time.DateOnly)
	promoting := func(args ...string) []string { return append([]string{"promote", "--key", w.key}, args...) }
	for _, c := range []struct {
		name    string
		args    []string
		code    int
		outcome string
		tags    int // destinations in the record
	}{
		{"passed", promoting(w.source, w.target, "--policy", w.policy), 0, "passed", 1},
		{"repeated", promoting(w.source, w.target, "--policy", w.policy), 0, "passedEarlier", 1},
		{"verified", []string{"verify", w.target, "--key", w.public}, 0, "passedEarlier", 1},
		{"checked", []string{"check", w.source, "--policy", w.policy}, 0, "passed", 0},
		{"denied", promoting(vulnerable, other, "--policy", w.policy), 2, "denied", 0},
		{"overridden", promoting(vulnerable, other, "--policy", overridable, "--override", "reason=late,approver=oncall@example.com,expires="+expires), 0, "overridden", 1},
		{"usage", promoting(w.source, other, "--policy", filepath.Join(w.dir, "none.yaml")), 3, "undecided", 0},
		{"registry", promoting("127.0.0.1:1/a:1", other, "--policy", w.policy), 4, "undecided", 0},
		{"database", promoting(w.source, other, "--policy", w.policy, "--cache-dir", filepath.Join(w.dir, "empty")), 5, "undecided", 0},
		{"trust", []string{"verify", w.source, "--key", w.public}, 6, "undecided", 0},
		{"output", promoting(w.source, strings.TrimSuffix(other, ":1")+":2", "--policy", w.policy, "--output", "json=/dev/full"), 1, "unfinished", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "audit.log")
			out, err := w.command(t, append(c.args, "--audit-log", log)...).CombinedOutput()
			if code := exitCode(t, err); code != c.code {
				t.Fatalf("exit code %d, want %d\n%s", code, c.code, out)
			}
			w.oneRecord(t, log, c.code, c.outcome, c.tags)
		})
	}
}

// oneRecord returns the only record in an audit log. It fails the test if there are more or fewer
// records, or if a prepared record was not delivered.
func (w *work) oneRecord(t *testing.T, log string, code int, outcome string, tags int) audit.Event {
	t.Helper()
	all := audited(t, log)
	if len(all) != 1 {
		t.Fatalf("%d records, want 1: %+v", len(all), all)
	}
	run := all[0].Data
	if run.ExitCode != code || run.Outcome != outcome || len(run.Destinations) != tags {
		t.Errorf("exit code %d, outcome %s, %d destinations; want %d, %s, %d: %+v", run.ExitCode, run.Outcome, len(run.Destinations), code, outcome, tags, run)
	}
	if left, err := filepath.Glob(log + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
	return all[0]
}

// TestKilledRunHasOneAuditRecord kills a promotion, or only its worker process, before and after
// the tag is written. A run that has written the tag must leave exactly one record. A run without a
// tag may leave none.
func TestKilledRunHasOneAuditRecord(t *testing.T) {
	for name, c := range map[string]struct {
		when    func(*http.Request) bool
		all     bool // kill both processes
		tagged  bool
		records int
	}{
		"worker before the tag": {func(r *http.Request) bool { return lab.IsWrite(r) && strings.HasSuffix(r.URL.Path, ".att") }, false, false, 1},
		"worker after the tag":  {isTag, false, true, 1},
		"both before the tag":   {func(r *http.Request) bool { return lab.IsWrite(r) && strings.HasSuffix(r.URL.Path, ".att") }, true, false, 0},
		"both after the tag":    {isTag, true, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWork(t, "fixed")
			log := filepath.Join(w.dir, "audit.log")
			cmd := w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "--audit-log", log)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			reached := w.hold("approved", c.when)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			await(t, cmd, reached)
			if c.all {
				if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			} else if err := syscall.Kill(childOf(t, cmd.Process.Pid), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			code := exitCode(t, cmd.Wait())
			w.registries["approved"].SetHook(nil)
			if c.all { // the next run delivers the record
				if out, err := w.command(t, "check", w.source, "--policy", w.policy, "--audit-log", log).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				code = -1
			}
			var killed []audit.Event
			for _, e := range audited(t, log) {
				if e.Data.Command == "promote" {
					killed = append(killed, e)
				}
			}
			if len(killed) != c.records {
				t.Fatalf("%d records, want %d: %+v", len(killed), c.records, killed)
			}
			for _, e := range killed {
				if e.Data.ExitCode != code || e.Data.Recovered != c.tagged || e.Data.Error == nil || e.Data.Outcome == "passed" || e.Data.Requested[0] != w.target {
					t.Errorf("exit code %d: %+v", code, e.Data)
				}
			}
			if left, err := filepath.Glob(log + ".*"); err != nil || len(left) > 0 {
				t.Errorf("left %q, %v", left, err)
			}
		})
	}
}

// isTag matches the request that writes the tag of the promoted image.
func isTag(r *http.Request) bool {
	return lab.IsWrite(r) && strings.HasSuffix(r.URL.Path, "/manifests/1")
}

// TestInterruptedRunHasOneAuditRecord interrupts a promotion while it reads the image. The run must
// leave exactly one audit record.
func TestInterruptedRunHasOneAuditRecord(t *testing.T) {
	w := newWork(t, "fixed")
	log := filepath.Join(w.dir, "audit.log")
	cmd, _ := w.held(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "--audit-log", log)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd.Wait()); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if e := w.oneRecord(t, log, 130, "undecided", 0); e.Data.Error == nil || e.Data.Error.Class != "interrupted" {
		t.Errorf("error %+v", e.Data.Error)
	}
}

// TestNoTagWithoutAnAuditRecord checks that a run ends before it writes the tag if the audit log
// cannot be written.
func TestNoTagWithoutAnAuditRecord(t *testing.T) {
	w := newWork(t, "fixed")
	dead := filepath.Join(w.dir, "dead.sock")
	for name, c := range map[string]struct {
		log  string
		code int
	}{
		"full device":      {"/dev/full", 1},
		"missing folder":   {filepath.Join(w.dir, "none", "audit.log"), 3},
		"no syslog server": {"syslog+tcp://127.0.0.1:1", 1},
		"no syslog socket": {"syslog+unix://" + dead, 1},
		"unknown target":   {"syslog+http://127.0.0.1:1", 3},
	} {
		out, err := w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "--audit-log", c.log).CombinedOutput()
		if code := exitCode(t, err); code != c.code || !strings.Contains(string(out), "audit") {
			t.Errorf("%s: exit code %d, want %d\n%s", name, code, c.code, out)
		}
	}
	if got := w.registries["approved"].Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
}

// TestNoTagOnAFullDisk checks that no tag is written if the disk of the audit log has no room for the
// record, or is read-only.
func TestNoTagOnAFullDisk(t *testing.T) {
	w := newWork(t, "fixed")
	disk := filepath.Join(w.dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	log := filepath.Join(disk, "audit.log")
	write(t, log, nil)
	out, err := w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "--audit-log", log).CombinedOutput()
	if code := exitCode(t, err); code != 1 || !strings.Contains(string(out), "writing the audit log "+log) || !strings.Contains(string(out), "no space left") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=64k"); err != nil {
		t.Fatal(err)
	}
	out, err = w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "--audit-log", log).CombinedOutput()
	if code := exitCode(t, err); code != 3 || !strings.Contains(string(out), "read-only file system") {
		t.Errorf("read-only: exit code %d\n%s", code, out)
	}
	for _, r := range w.registries["approved"].Writes() {
		if strings.HasSuffix(r.Path, "/manifests/1") {
			t.Errorf("a tag is written: %s", r.Path)
		}
	}
}

// TestSyslogThatDiesDuringTheRunStopsTheTag stops the local syslog server while the image is
// copied. The run must not write the tag.
func TestSyslogThatDiesDuringTheRunStopsTheTag(t *testing.T) {
	w := newWork(t, "fixed")
	socket := filepath.Join(w.dir, "log")
	server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	w.registries["approved"].SetHook(func(_ http.ResponseWriter, r *http.Request) bool {
		if lab.IsWrite(r) {
			_ = server.Close()
		}
		return false
	})
	out, err := w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "--audit-log", "syslog+unix://"+socket).CombinedOutput()
	if code := exitCode(t, err); code != 1 || !strings.Contains(string(out), "writing the audit log syslog+unix") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for _, r := range w.registries["approved"].Writes() {
		if strings.HasSuffix(r.Path, "/manifests/1") {
			t.Errorf("a tag is written: %s", r.Path)
		}
	}
}

// TestFailureBeforeTheRunReplacesOldResults checks that a run that cannot open its audit log does
// not leave the report and metrics of an earlier pass.
func TestFailureBeforeTheRunReplacesOldResults(t *testing.T) {
	w := newWork(t, "fixed")
	report, metrics := filepath.Join(w.dir, "report.json"), filepath.Join(w.dir, "run.prom")
	args := []string{"check", w.source, "--policy", w.policy, "--output", "json=" + report, "--metrics-file", metrics}
	if out, err := w.command(t, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := w.command(t, append(args, "--audit-log", "syslog+tcp://127.0.0.1:1")...).CombinedOutput()
	if code := exitCode(t, err); code != 1 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	text, err := os.ReadFile(metrics)
	if err != nil || !strings.Contains(string(text), "imagegate_exit_code{image=\""+w.source+"\"} 1") || strings.Contains(string(text), "imagegate_problems") {
		t.Errorf("metrics %s, %v", text, err)
	}
	if text, err = os.ReadFile(report); err != nil || !strings.Contains(string(text), `"class": "output"`) || strings.Contains(string(text), `"passed": true`) {
		t.Errorf("report %s, %v", text, err)
	}
}

// TestSignalDuringTheExportChangesNothing sends two signals to a finished run that still exports
// its trace. The exit code must stay the one in the audit record.
func TestSignalDuringTheExportChangesNothing(t *testing.T) {
	w := newWork(t, "fixed")
	log := filepath.Join(w.dir, "audit.log")
	exporting, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(exporting) })
		<-release
	}))
	defer collector.Close()
	defer close(release)
	cmd := w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "--audit-log", log)
	cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-exporting
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // so that both signals arrive
	}
	code := exitCode(t, cmd.Wait())
	w.oneRecord(t, log, code, "passed", 1)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}
