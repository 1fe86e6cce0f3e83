package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

var began = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// event returns the record of a run that passed.
func event(id string) Event {
	return NewEvent(report.Report{Command: "promote", Started: began, Finished: began.Add(1500 * time.Millisecond),
		Decision: &policy.Decision{Passed: true}, Tool: report.Tool{Name: "imagegate", Version: "v1"},
		Input: evidence.Input{Image: evidence.Image{Reference: "registry.example/app:1", Repository: "registry.example/app", Digest: "sha256:aa"}}},
		Process{ID: id, Requested: []string{"approved.example/app:1"}})
}

func open(t *testing.T, target string) (*Log, int) {
	t.Helper()
	l, n, err := Open(t.Context(), target, Options{Spool: filepath.Join(t.TempDir(), "spool"), Host: "host", PID: 1, Now: time.Now, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, n
}

// records reads the records in an audit log file, one for each line.
func records(t *testing.T, path string) (out []Event) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n") {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, e)
	}
	return out
}

func pending(t *testing.T, path string) []string {
	t.Helper()
	all, err := filepath.Glob(path + ".pending-*")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFileHasOneRecordForEachRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for i := range 3 {
		l, _ := open(t, path)
		if err := l.Prepare(t.Context(), event(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if len(pending(t, path)) == 0 {
			t.Error("nothing is prepared")
		}
		if err := send(t, l, event(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	all := records(t, path)
	if len(all) != 3 || all[2].ID != "2" || all[2].Data.Recovered || all[2].Data.DurationSeconds != 1.5 || all[2].Subject != "sha256:aa" {
		t.Errorf("records %+v", all)
	}
	if left := pending(t, path); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestRecordOfADeadRunIsDelivered ends a run at each point after Prepare. The next run must deliver
// exactly one record of it.
func TestRecordOfADeadRunIsDelivered(t *testing.T) {
	for name, c := range map[string]struct {
		die       func(t *testing.T, l *Log, path string)
		recovered bool
		runs      int // expected number of records of the dead run
	}{
		"prepared":         {func(*testing.T, *Log, string) {}, true, 1},
		"final not sent":   {func(t *testing.T, l *Log, _ string) { check(t, l.prepared.store(event("dead"))) }, false, 1},
		"final torn":       {func(t *testing.T, l *Log, _ string) { tear(t, l.prepared) }, true, 1},
		"sent and kept":    {func(t *testing.T, l *Log, _ string) { check(t, l.sink.deliver(t.Context(), event("dead"))) }, false, 1},
		"torn in the log":  {func(t *testing.T, _ *Log, path string) { appendText(t, path, `{"id":"torn`) }, true, 1},
		"before the first": {func(t *testing.T, l *Log, _ string) { check(t, l.prepared.f.Truncate(0)) }, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			l, _ := open(t, path)
			check(t, l.Prepare(t.Context(), event("dead")))
			c.die(t, l, path)
			other, n := open(t, path)
			if n != 0 {
				t.Fatal("the record of a live run was taken")
			}
			check(t, other.Close())
			check(t, l.Close()) // releases the lock, as the kernel does if the process dies
			next, _ := open(t, path)
			check(t, send(t, next, event("next")))
			data, err := os.ReadFile(path)
			check(t, err)
			if got := strings.Count(string(data), `"id":"dead"`); got != c.runs {
				t.Errorf("%d records of the dead run, want %d:\n%s", got, c.runs, data)
			}
			if got := strings.Contains(string(data), `"recovered":true`); got != c.recovered {
				t.Errorf("recovered %v, want %v:\n%s", got, c.recovered, data)
			}
			if !strings.Contains(string(data), "\n{\"specversion\":\"1.0\",\"id\":\"next\"") && c.runs > 0 {
				t.Errorf("the record does not begin on a line of its own:\n%s", data)
			}
			if left := pending(t, path); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

// send stores a final record and delivers it, as a run does at its end.
func send(t *testing.T, l *Log, e Event) error {
	t.Helper()
	if err := l.Final(e); err != nil {
		return err
	}
	return l.Deliver(t.Context())
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tear appends the first half of a final record to p, as a process that dies while writing.
func tear(t *testing.T, p *prepared) {
	line, err := encode(event("dead"))
	check(t, err)
	_, err = p.f.WriteAt(line[:len(line)/2], p.end)
	check(t, err)
}

func appendText(t *testing.T, path, text string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteString(text)
	check(t, errors.Join(err, f.Close()))
}

// TestPrepareFailsIfTheLogCannotBeWritten checks that Prepare returns an error if the log cannot be
// written, so that the run ends before it writes the tag.
func TestPrepareFailsIfTheLogCannotBeWritten(t *testing.T) {
	full := func() (*Log, error) {
		l, _, err := Open(t.Context(), "/dev/full", Options{Spool: t.TempDir()})
		return l, err
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		if l, err := full(); err == nil {
			t.Errorf("a full device is accepted: %v", l.Close())
		}
	}
	if _, _, err := Open(t.Context(), filepath.Join(t.TempDir(), "missing", "audit.log"), Options{}); err == nil {
		t.Error("a missing folder is accepted")
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	l, _ := open(t, path)
	check(t, os.Mkdir(path+".pending-x", 0o700)) // the prepared record cannot be made
	if err := l.Prepare(t.Context(), event("x")); err == nil {
		t.Error("a record that cannot be stored is accepted")
	}
}

func TestTargets(t *testing.T) {
	for target, want := range map[string]bool{"": false, "-": false, "syslog": false, "syslog+udp://h": false, "https://h": false, "audit.log": true, "./syslog": true} {
		if got := IsFile(target); got != want {
			t.Errorf("IsFile(%q) is %v", target, got)
		}
	}
	for _, target := range []string{"", "syslog:", "syslog+tcp://", "syslog+tcp://u:p@h", "syslog+http://h", "syslog+unix://h/dev/log", "https://h/audit", "syslog+tcp://h/path", "syslog+tcp://h?q=1"} {
		_, _, err := Open(t.Context(), target, Options{Spool: t.TempDir()})
		var invalid *TargetError
		if !errors.As(err, &invalid) {
			t.Errorf("%q: %v", target, err)
		}
	}
	for target, want := range map[string]string{
		"syslog+udp://h": "udp h:514", "syslog+tcp://h:1": "tcp h:1", "syslog+tls://[::1]": "tls [::1]:6514", "syslog+unix:///run/s": "unix /run/s"} {
		network, address, _ := parseSyslog(target)
		if got := network + " " + address; got != want {
			t.Errorf("%q: %q, want %q", target, got, want)
		}
	}
}

func TestStreamGetsTheRecord(t *testing.T) {
	var out bytes.Buffer
	l, _, err := Open(t.Context(), "-", Options{Out: &out, Spool: t.TempDir()})
	check(t, err)
	check(t, l.Prepare(t.Context(), event("1")))
	if out.Len() > 0 {
		t.Errorf("the prepared record was delivered: %s", &out)
	}
	check(t, send(t, l, event("1")))
	if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), `"type":"io.imagegate.decision.v1"`) {
		t.Errorf("record %s", &out)
	}
}

// TestParentDeliversTheRecordOfItsChild checks that a process that resumes a dead run delivers
// exactly one record. If no tag was written, it is the process's own record. Otherwise it is the
// prepared record with the result of the process.
func TestParentDeliversTheRecordOfItsChild(t *testing.T) {
	for name, c := range map[string]struct {
		die    func(t *testing.T, l *Log)
		ending string
	}{
		"nothing prepared": {func(*testing.T, *Log) {}, "parent"},
		"prepared":         {func(t *testing.T, l *Log) { check(t, l.Prepare(t.Context(), event("run"))) }, "parent"},
		"final not sent": {func(t *testing.T, l *Log) {
			check(t, l.Prepare(t.Context(), event("run")))
			check(t, l.prepared.store(event("run")))
		}, "nothing blocks"},
		"final sent": {func(t *testing.T, l *Log) {
			check(t, l.Prepare(t.Context(), event("run")))
			check(t, l.prepared.store(event("run")))
			check(t, l.sink.deliver(t.Context(), event("run")))
		}, "nothing blocks"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			l, _ := open(t, path)
			c.die(t, l)
			check(t, l.Close())
			parent, n, err := Open(t.Context(), path, Options{Resume: "run"})
			check(t, err)
			e, ok := parent.Resumed()
			if n != 0 || ok != (name == "prepared") {
				t.Errorf("recovered %d, resumed %v", n, ok)
			}
			if !ok {
				e = event("run")
			}
			e.Data.Why = "parent"
			check(t, send(t, parent, e))
			check(t, parent.Close())
			all := records(t, path)
			if len(all) != 1 || all[0].Data.Why != c.ending || all[0].Data.Recovered != ok {
				t.Errorf("records %+v", all)
			}
			if left := pending(t, path); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}
