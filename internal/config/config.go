// Package config reads imagegate.yaml, the file that sets the values of flags.
//
// [Load] reads the file that the user named, or finds one. A named file is as trusted as the
// command line. A found file may belong to the change under review. So it can set only how a run
// reports, with the keys that [Key.Found] accepts, and only report files inside its own folder.
//
// The package does not know the flags: package cli passes the keys and applies the values.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/imagegate/imagegate/internal/strict"
)

// Name is the name of the file that Load looks for.
const Name = "imagegate.yaml"

// maxSize is the maximum size of a configuration file in bytes.
const maxSize = 64 << 10

// Options are the parameters of Load.
type Options struct {
	// Named is the file that the user named. Default: Load looks for a file.
	Named string
	// Dir is the folder where the search begins. Required unless Named is set.
	Dir string
	// Home is the home folder of the user. The search does not leave it. Default: none.
	Home string
	// Keys are all keys that a configuration file can have.
	Keys []Key
	// Warn is called with one sentence about a file that Load ignores. Required.
	Warn func(string)
}

// File is a configuration file that was read.
type File struct {
	// Path is the file as the user named it, or an absolute path.
	Path string
	// Found is true if Load found the file, and false if the user named it.
	Found bool
	// Values are the values of the keys, in the order of the file.
	Values []Value
}

// Value is the value of one key.
type Value struct {
	Key Key
	// Texts has one text, or several for a repeatable key. Load has already made relative paths in
	// them relative to the working folder instead of the folder of the file.
	Texts    []string
	Position strict.Position
}

// Error lists the problems of a configuration file.
type Error struct {
	// Problems is never empty. It is sorted by position.
	Problems []strict.Problem
}

// Error lists the problems, one on each line, as file:line:column: message.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = At(p.Position) + ": " + p.Message
	}
	return strings.Join(lines, "\n")
}

// At formats a position as file:line:column.
func At(p strict.Position) string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Load reads the named file. If the user named none, it searches for one, and returns nil if there
// is none. If the content is invalid, the error is an [*Error].
func Load(o Options) (_ *File, err error) {
	if o.Named != "" {
		data, err := read(o.Named, os.Stat, os.Open)
		if err != nil {
			return nil, fmt.Errorf("reading configuration %q: %w", o.Named, err)
		}
		p := parser{file: &File{Path: o.Named}, keys: o.Keys, base: filepath.Dir(o.Named)}
		return p.parse(data)
	}
	at, err := find(o.Dir, o.Home, o.Warn)
	if err != nil || at == nil {
		return nil, err
	}
	data, err := at.read()
	if err != nil {
		return nil, fmt.Errorf("reading configuration %q: %w", at.path(), err)
	}
	folder, err := os.OpenRoot(at.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	p := parser{file: &File{Path: at.path(), Found: true}, keys: o.Keys, base: at.base, folder: folder}
	return p.parse(data)
}

// read reads a regular file of at most maxSize bytes. It refuses any other type without opening the
// file, because opening a pipe would wait for a writer.
func read(name string, stat func(string) (fs.FileInfo, error), open func(string) (*os.File, error)) ([]byte, error) {
	info, err := stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("it is larger than %d bytes", maxSize)
	}
	return data, err
}
