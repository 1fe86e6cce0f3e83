package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// checkOutput checks the file of a report that a found file names, and returns its path without "..":
// the system would follow a link before it. The report has text that the author of a change
// controls, so it must not become a hook or a script, or replace a file outside the folder.
func checkOutput(folder *os.Root, file string, extensions []string) (string, error) {
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
	return clean, nil
}

// checkPart checks one file or folder on the path of a report. It refuses links, because a link could
// lead to a file that checkOutput refuses by its name.
func checkPart(folder *os.Root, name string, last bool) error {
	info, err := folder.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && last:
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("a file that imagegate finds by itself cannot write through the symbolic link %q", name)
	case last && !info.Mode().IsRegular():
		return fmt.Errorf("%q is not a regular file", name)
	case !last && !info.IsDir():
		return fmt.Errorf("%q is not a folder", name)
	}
	return nil
}
