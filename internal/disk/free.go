package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Free returns the bytes that this user may still write to the file system of a folder. If the
// folder does not exist yet, the file system of its nearest existing parent counts. Quotas are not
// included. On systems where the number is unknown, the error is errors.ErrUnsupported.
func Free(dir string) (int64, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	for {
		_, err := os.Stat(dir)
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return freeIn(dir)
		}
		dir = parent
	}
}

// CheckWritable checks that this user can write files in an existing folder. It writes a file of
// size bytes and removes it again.
func CheckWritable(dir string, size int) (err error) {
	f, err := Prepare(filepath.Join(dir, "writable"), 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Discard()) }()
	_, err = f.Write(make([]byte, size))
	return err
}
