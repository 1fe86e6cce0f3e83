package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/report"
)

// TargetError is the error for an invalid target of an audit log.
type TargetError struct {
	Target string
	Reason string
}

// Error names the target and the valid forms.
func (e *TargetError) Error() string {
	return fmt.Sprintf("audit log %q: %s", e.Target, e.Reason)
}

// WriteError means that a record cannot be written now, but perhaps later: the disk is full, or the
// syslog server does not respond.
type WriteError struct {
	Target string
	Err    error
}

// Error names the log and the cause.
func (e *WriteError) Error() string {
	return fmt.Sprintf("writing the audit log %s: %v", e.Target, e.Err)
}

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// Options configure a Log.
type Options struct {
	// Out receives the records if the target is "-".
	Out io.Writer
	// Spool is the folder for prepared records if they cannot be next to the log file. Open creates
	// it.
	Spool string
	// Host is the name of this machine, for syslog.
	Host string
	// PID is the process id, for syslog.
	PID int
	// Resume is the ID of a run whose process died. The caller delivers the record of that run:
	// [Log.Resumed] returns the prepared record, and [Log.Final] replaces it.
	Resume string
	// Prepared means that the run in Resume saved a record on disk. If the file no longer exists,
	// another run has delivered the record.
	Prepared bool
	// Now returns the current time, for deadlines of a syslog connection. Required for syslog.
	Now func() time.Time
	// Timeout limits each connection to a syslog server and each write to it. Zero means 5 seconds.
	Timeout time.Duration
}

const defaultTimeout = 5 * time.Second

// Log delivers the record of one run. Close it at the end.
type Log struct {
	target   string
	sink     sink
	prefix   string // path prefix of prepared records
	prepared *prepared
	resumed  *Event
	final    *Event
	done     bool // the record of this run was delivered
}

// sink is the destination of records: a file, a stream or a syslog server.
type sink interface {
	// probe returns an error if a record cannot be delivered now. It may miss some problems.
	probe(ctx context.Context) error
	// reserve reserves disk space for n bytes, if the sink is a file.
	reserve(n int64) error
	// deliver writes one record completely, or returns an error.
	deliver(ctx context.Context, e Event) error
	io.Closer
}

// Open opens the log at target: a file, "-" for Options.Out, "syslog" for the local syslog socket, or
// the URL of a syslog server: syslog+unix:///PATH, syslog+udp://HOST[:PORT], syslog+tcp://HOST[:PORT]
// or syslog+tls://HOST[:PORT]. It returns a [*TargetError] for another target, a
// [*WriteError] if a record cannot be written, and another error if the log cannot be opened.
//
// Open delivers records of earlier runs that died, and returns their number.
func Open(ctx context.Context, target string, o Options) (_ *Log, recovered int, err error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	l := &Log{target: target}
	if l.sink, err = openSink(target, o); err != nil {
		return nil, 0, fmt.Errorf("opening the audit log %s: %w", target, err)
	}
	if l.prefix, err = l.spool(o.Spool); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("opening the audit log %s: %w", target, err), l.Close())
	}
	err = l.sink.probe(ctx)
	if err == nil {
		err = l.resume(ctx, o)
	}
	if err == nil {
		recovered, err = l.recoverAll(ctx)
	}
	if err != nil {
		return nil, 0, errors.Join(&WriteError{target, err}, l.Close())
	}
	return l, recovered, nil
}

func openSink(target string, o Options) (sink, error) {
	network, address, isURL := parseSyslog(target)
	switch {
	case target == "":
		return nil, &TargetError{target, "want a file, \"-\" or syslog"}
	case target == "-":
		return newStream(o.Out)
	case target == "syslog", network != "":
		return newSyslog(network, address, o), nil
	case isURL, strings.HasPrefix(target, "syslog+"), strings.HasPrefix(target, "syslog:"):
		return nil, &TargetError{target, "want syslog, syslog+unix:///PATH, syslog+udp://HOST[:PORT], syslog+tcp://HOST[:PORT] or syslog+tls://HOST[:PORT]"}
	}
	return openFile(target)
}

// spool returns the path prefix of prepared records. They are next to a regular log file if its
// folder can be written, otherwise in folder.
func (l *Log) spool(folder string) (prefix string, err error) {
	if f, ok := l.sink.(*file); ok && f.regular && disk.CheckWritable(filepath.Dir(f.path), 0) == nil {
		return f.path + ".pending-", nil
	}
	if folder == "" {
		return "", errors.New("there is no folder for prepared records")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	return filepath.Join(folder, "pending-"+targetKey(l.target)+"-"), nil
}

// Prepare saves a record on disk that says that the run did not finish. It returns a [*WriteError]
// if the log cannot be written. Call it before the first tag is written. A second call replaces the
// record.
func (l *Log) Prepare(ctx context.Context, e Event) error {
	e.Data.Recovered = true
	err := l.sink.probe(ctx)
	if err == nil {
		err = l.store(e)
	}
	if err == nil {
		err = l.sink.reserve(reserve)
	}
	return l.failed(err)
}

// Final replaces the prepared record on disk with the final record. From then on, if this process
// dies, another process delivers the final record.
func (l *Log) Final(e Event) error {
	if l.done {
		return nil
	}
	l.final = &e
	return l.failed(l.store(e))
}

// Deliver writes the record given to Final to the log, and removes it from the spool. After an
// error, the record stays on disk, and the next run delivers it.
func (l *Log) Deliver(ctx context.Context) error {
	if l.done {
		return nil
	}
	if err := l.sink.deliver(ctx, *l.final); err != nil {
		return l.failed(err)
	}
	l.done = true
	if l.prepared == nil {
		return nil
	}
	delivered := l.prepared
	l.prepared = nil
	return l.failed(delivered.remove())
}

// store saves a record on disk, to be delivered later.
func (l *Log) store(e Event) (err error) {
	if l.prepared == nil {
		if l.prepared, err = prepare(l.prefix + e.ID); err != nil {
			return err
		}
	}
	return l.prepared.store(e)
}

func (l *Log) failed(err error) error {
	if err == nil {
		return nil
	}
	return &WriteError{l.target, err}
}

// Resumed returns the prepared record of the run in Options.Resume. It returns false if the run
// prepared no record, which means that it wrote no tag.
func (l *Log) Resumed() (Event, bool) {
	if l.resumed == nil {
		return Event{}, false
	}
	return *l.resumed, true
}

// resume adopts the prepared record of the dead run in o.Resume.
func (l *Log) resume(ctx context.Context, o Options) error {
	if o.Resume == "" {
		return nil
	}
	one, err := adopt(l.prefix + o.Resume)
	if err != nil {
		return err
	}
	if one == nil {
		l.done = o.Prepared // another run delivered the record
		return nil
	}
	e, err := one.load()
	switch {
	case errors.Is(err, errEmpty):
		return one.remove()
	case err != nil:
		return errors.Join(err, one.release())
	}
	if !e.Data.Recovered { // the process died after it knew its result
		l.done = true
		return l.deliverPrepared(ctx, one)
	}
	l.prepared, l.resumed = one, &e
	return nil
}

// Close releases the log. A prepared record that was not delivered stays on disk.
func (l *Log) Close() error {
	var errs []error
	if l.prepared != nil {
		errs = append(errs, l.prepared.release())
	}
	if l.sink != nil {
		errs = append(errs, l.sink.Close())
	}
	return errors.Join(errs...)
}

// recoverAll delivers the prepared records of dead processes, and returns their number.
func (l *Log) recoverAll(ctx context.Context) (n int, err error) {
	paths, err := filepath.Glob(escapeGlob(l.prefix) + "*")
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		if strings.HasSuffix(path, lockSuffix) {
			continue
		}
		one, err := adopt(path)
		if err != nil {
			return n, fmt.Errorf("the record of an earlier run, %s: %w", path, err)
		}
		if one == nil {
			continue // its process is alive, or another one delivered it
		}
		if err := l.deliverPrepared(ctx, one); err != nil {
			return n, errors.Join(fmt.Errorf("the record of an earlier run, %s: %w", path, err), one.release())
		}
		n++
	}
	return n, nil
}

func (l *Log) deliverPrepared(ctx context.Context, one *prepared) error {
	if _, err := one.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	e, err := one.load()
	if errors.Is(err, errEmpty) { // the process died before it could write a tag
		return one.remove()
	}
	if err != nil {
		return err
	}
	if f, ok := l.sink.(*file); ok {
		known, err := f.has(e.ID)
		if err != nil {
			return err
		}
		if known { // the process died after it delivered the record
			return one.remove()
		}
	}
	if err := l.sink.deliver(ctx, e); err != nil {
		return err
	}
	return one.remove()
}

// encode returns the record as one line of JSON with a line break. Characters that could control a
// terminal or a CI log are written as \u escapes.
func encode(e Event) ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return append(report.EscapeJSON(data), '\n'), nil
}
