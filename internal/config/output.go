package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/filekind"
)

// checkOutput checks the path of a report that a found file names. It returns the path without
// "..", because the system would follow a link before a "..". The report has text that the author
// of a change controls. So it must not become a hook or a script, or replace any file except an
// older report.
func checkOutput(folder *os.Root, format, file string, extensions []string) (string, error) {
	file = filepath.ToSlash(file)
	clean := path.Clean(file)
	switch {
	case !filepath.IsLocal(filepath.FromSlash(file)) || clean == ".":
		return "", fmt.Errorf("a file that imagegate finds by itself can write only into its own folder: use a relative path without %q", "..")
	case strings.ContainsAny(file, "{}"):
		return "", errors.New("a file that imagegate finds by itself can name only one file: leave out the braces, or name the configuration with --config")
	case !slices.Contains(extensions, path.Ext(file)):
		return "", fmt.Errorf("a file that imagegate finds by itself can write only files of reports: the name must end in %s", strings.Join(extensions, ", "))
	}
	parts := strings.Split(clean, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, ".") {
			return "", fmt.Errorf("a file that imagegate finds by itself cannot write to the hidden name %q", part)
		}
		if err := checkPart(folder, filepath.Join(parts[:i+1]...), i == len(parts)-1); err != nil {
			return "", err
		}
	}
	return clean, checkReplaced(folder, format, filepath.FromSlash(clean))
}

// checkReplaced returns an error if the file to replace is not a report of imagegate in this
// format. It may be an audit log, or a file that another step of the job downloaded.
func checkReplaced(folder *os.Root, format, name string) error {
	f, err := folder.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot check what %q is: %w", name, cause(err))
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, filekind.Head))
	switch {
	case err != nil:
		return fmt.Errorf("cannot check what %q is: %w", name, cause(err))
	case !filekind.IsOwn(format, head):
		return fmt.Errorf("a file that imagegate finds by itself can replace only reports of imagegate in the same format, and %q is none: remove it, or use another name", name)
	}
	return nil
}

// checkPart checks one file or folder on the path of a report. It refuses symbolic links, because a
// link could lead to a file that checkOutput refuses by its name. It also refuses the checkout of
// another repository.
func checkPart(folder *os.Root, name string, last bool) error {
	info, err := folder.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && last:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("folder %q does not exist", name)
	case err != nil:
		return fmt.Errorf("cannot check what %q is: %w", name, cause(err))
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("a file that imagegate finds by itself cannot write through the symbolic link %q", name)
	case last && !info.Mode().IsRegular():
		return fmt.Errorf("%q is not a regular file", name)
	case last:
		return nil
	case !info.IsDir():
		return fmt.Errorf("%q is not a folder", name)
	}
	if _, err := folder.Lstat(filepath.Join(name, ".git")); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a file that imagegate finds by itself cannot write into another repository, and %q is one", name)
	}
	return nil
}

// cause returns the reason of a file error, without the name of the system call and the path.
func cause(err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
