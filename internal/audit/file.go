package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/imagegate/imagegate/internal/disk"
)

// file is a sink that appends records to a regular file, a pipe or a device.
type file struct {
	f    *os.File
	path string // with symbolic links resolved
	// regular is true for a regular file: each delivered record is synced to disk, and records can
	// be read back.
	regular bool
	// device is true if the log is a device, such as a terminal. For a device, probe writes an empty
	// line to find out whether records can be written.
	device bool
	keep   bool // the caller closes f
}

// openFile opens the audit log file for appending. A new file can be read only by its owner.
func openFile(path string) (sink, error) {
	resolved, info, err := disk.Resolve(path)
	if err != nil {
		return nil, err
	}
	flags := os.O_RDWR | os.O_APPEND | os.O_CREATE
	if info != nil && !info.Mode().IsRegular() {
		// Without O_NONBLOCK, opening a pipe would wait for a reader.
		flags = os.O_WRONLY | os.O_APPEND | syscall.O_NONBLOCK
	}
	f, err := os.OpenFile(resolved, flags, 0o600)
	if err != nil {
		return nil, err
	}
	out, err := newFile(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	out.path = resolved
	return out, nil
}

func newFile(f *os.File) (*file, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &file{f: f, regular: info.Mode().IsRegular(), device: info.Mode()&fs.ModeCharDevice != 0}, nil
}

// newStream returns a sink that writes records to w, which is standard output.
func newStream(w io.Writer) (sink, error) {
	f, ok := w.(*os.File)
	if !ok {
		return stream{w}, nil
	}
	out, err := newFile(f)
	if err != nil {
		return nil, err
	}
	if null, err := os.Stat(os.DevNull); err == nil {
		if info, err := f.Stat(); err == nil && os.SameFile(null, info) {
			return nil, &TargetError{"-", "standard output is closed, or is the null device"}
		}
	}
	// Standard output may be a file that was opened without permission to read.
	out.regular, out.keep = false, true
	return out, nil
}

// probe checks whether a record can be written. For a device, which may be full, it writes an empty
// line. A regular file that log rotation has renamed or removed is opened again.
func (f *file) probe(context.Context) error {
	switch {
	case f.device:
		_, err := f.f.WriteString("\n")
		return err
	case f.regular:
		return f.reopen()
	}
	return nil
}

// reopen opens the path of the log again if the open file is no longer at that path.
func (f *file) reopen() error {
	open, err := f.f.Stat()
	if err != nil {
		return err
	}
	at, err := os.Lstat(f.path)
	if err == nil && os.SameFile(open, at) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	again, err := openFile(f.path)
	if err != nil {
		return err
	}
	next, ok := again.(*file)
	if !ok || !next.regular {
		return errors.Join(fmt.Errorf("%s is no longer a regular file", f.path), again.Close())
	}
	err = f.f.Close()
	f.f = next.f
	return err
}

func (f *file) reserve(n int64) error {
	if !f.regular {
		return nil
	}
	return allocate(f.f, n)
}

// deliver appends a record with a single write, so that records of several processes do not mix. If
// a regular file ends with an incomplete record, deliver begins a new line.
func (f *file) deliver(_ context.Context, e Event) error {
	line, err := encode(e)
	if err != nil {
		return err
	}
	if !f.regular {
		_, err := f.f.Write(line)
		return err
	}
	if err := f.reopen(); err != nil {
		return err
	}
	complete, err := f.isComplete()
	if err != nil {
		return err
	}
	if !complete {
		line = append([]byte{'\n'}, line...)
	}
	if _, err := f.f.Write(line); err != nil {
		return err
	}
	return f.f.Sync()
}

// isComplete reports whether the file is empty or its last line ends with a line break.
func (f *file) isComplete() (bool, error) {
	info, err := f.f.Stat()
	if err != nil || info.Size() == 0 {
		return true, err
	}
	last := make([]byte, 1)
	_, err = f.f.ReadAt(last, info.Size()-1)
	return last[0] == '\n', err
}

// has reports whether a regular file contains a record of the run with this id.
func (f *file) has(id string) (bool, error) {
	if !f.regular {
		return false, nil
	}
	info, err := f.f.Stat()
	if err != nil {
		return false, err
	}
	want := []byte(`"id":"` + id + `"`)
	lines := bufio.NewReaderSize(io.NewSectionReader(f.f, 0, info.Size()), 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if bytes.Contains(line, want) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

func (f *file) Close() error {
	if f.keep {
		return nil
	}
	return f.f.Close()
}

// stream writes records to a writer that is not a file.
type stream struct{ w io.Writer }

func (stream) probe(context.Context) error { return nil }

func (stream) reserve(int64) error { return nil }

func (s stream) deliver(_ context.Context, e Event) error {
	line, err := encode(e)
	if err != nil {
		return err
	}
	_, err = s.w.Write(line)
	return err
}

func (stream) Close() error { return nil }
