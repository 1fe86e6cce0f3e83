package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/suggest"
)

// Target is the destination of one report, from one --output flag.
type Target struct {
	Format string // one of formats.Names
	File   string // empty means standard output
}

// ParseTargets parses the values of --output. names are the formats that the command supports. The
// first one is the default. inputs are files that the command reads: no target may replace them.
func ParseTargets(flags, names []string, inputs ...string) ([]Target, error) {
	if len(flags) == 0 {
		flags = names[:1]
	}
	var out []Target
	seen := map[string]bool{}
	for _, f := range flags {
		format, file, toFile := strings.Cut(f, "=")
		switch {
		case !slices.Contains(names, format):
			return nil, exit.Usage(&formatError{f, names})
		case toFile && file == "":
			return nil, exit.Usagef("--output %q: the file name after the equals sign is missing", f)
		}
		place := file
		if toFile {
			if abs, err := filepath.Abs(file); err == nil {
				place = abs
			}
		}
		if seen[place] {
			return nil, exit.Usagef("--output %q: another report is already written to the same place", f)
		}
		seen[place] = true
		if toFile {
			if err := checkInputs("--output", file, inputs); err != nil {
				return nil, err
			}
			if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
				return nil, exit.Usagef("--output %q: folder %q does not exist", f, filepath.Dir(file))
			}
		}
		out = append(out, Target{format, file})
	}
	return out, nil
}

// formatError is the error of an unknown report format in --output.
type formatError struct {
	value string // the value of --output
	names []string
}

func (e *formatError) Error() string {
	return fmt.Sprintf("--output %q: the format must be %s", e.value, report.List(e.names))
}

// Hint suggests the format that the user probably meant. The value may also be a file name, because
// many programs take a file name as --output.
func (e *formatError) Hint() string {
	format, file, _ := strings.Cut(e.value, "=")
	if near := suggest.Nearest(format, e.names); near != "" {
		return "did you mean " + strings.Replace(e.value, format, near, 1) + "?"
	}
	ext := strings.TrimPrefix(filepath.Ext(format), ".")
	switch {
	case file == "" && slices.Contains(e.names, ext):
		return fmt.Sprintf("to write a file, use --output %s=%s", ext, format)
	case file == "" && ext != "":
		return fmt.Sprintf("to write a file, use --output FORMAT=%s", format)
	}
	return ""
}

// once reports whether only one report may be written to the target, because a second one would be
// appended to the first. This applies to standard output, devices, pipes and open file descriptors.
func (t Target) once() bool { return t.File == "" || disk.IsAppended(t.File) }

// Put writes a formatted report to the target's file, or to out, the standard output.
func (t Target) Put(out io.Writer, data []byte) error {
	switch {
	case t.File == "" && len(data) == 0:
		return nil // without data, a closed standard output is not an error
	case t.File == "":
		_, err := out.Write(data)
		return err
	}
	return disk.WriteBytes(t.File, 0o644, data)
}

// Remove removes the file of an earlier report. It does nothing for a target that reports are
// appended to.
func (t Target) Remove() error {
	if t.once() {
		return nil
	}
	if err := os.Remove(t.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an earlier report: %w", err)
	}
	return nil
}

// Check returns an error if the target's file cannot be written. It does not change an existing
// file.
func (t Target) Check() error {
	if t.File == "" {
		return nil
	}
	switch info, err := os.Stat(t.File); {
	case err == nil && info.IsDir():
		return errors.New("the path is a folder")
	case err == nil && !info.Mode().IsRegular():
		return nil // a device or a pipe is not opened, because that may wait for a reader
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return checkWritable(t.File)
}

// checkWritable returns an error if path cannot be written. It creates and removes a temporary file
// as a test.
func checkWritable(path string) error {
	f, err := disk.Prepare(path, 0o644)
	if err != nil {
		return err
	}
	return f.Discard()
}

// CheckNewFolder returns an error if dir cannot be created or written to. It removes every folder
// and file that it creates for the check.
func CheckNewFolder(dir string) error {
	var made []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		made = append(made, at)
	}
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = checkWritable(filepath.Join(dir, "evidence"))
	}
	for _, at := range made { // innermost first
		_ = os.Remove(at)
	}
	return err
}
