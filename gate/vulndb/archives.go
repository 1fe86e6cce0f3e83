package vulndb

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/imagegate/imagegate/internal/disk"
)

// archiveSuffix is the suffix of the archives that Update keeps.
const archiveSuffix = ".archive"

// keptArchive returns the path of the archive with a checksum in a folder of kept archives.
func keptArchive(dir, checksum string) string {
	return filepath.Join(dir, strings.TrimPrefix(checksum, "sha256:")+archiveSuffix)
}

// useKept copies a kept archive to a new file and reports whether the copy has the checksum. The
// folder is not trusted, so the caller must use only the copy. A kept archive that is missing or
// has another checksum is not an error.
func useKept(dir, checksum, to string, limit int64) (_ bool, err error) {
	from := keptArchive(dir, checksum)
	// A named pipe or a device would block.
	if stat, err := os.Lstat(from); err != nil || !stat.Mode().IsRegular() || stat.Size() > limit {
		return false, nil //nolint:nilerr // the archive is downloaded instead
	}
	in, err := os.Open(from)
	if err != nil {
		return false, nil //nolint:nilerr // the archive is downloaded instead
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, hash), io.LimitReader(in, limit))
	if err := errors.Join(err, out.Close()); err != nil {
		return false, err
	}
	if "sha256:"+hex.EncodeToString(hash.Sum(nil)) != checksum {
		return false, os.Remove(to)
	}
	return true, nil
}

// keepArchive copies a verified archive to a folder of kept archives, and removes the other archives
// there.
func keepArchive(dir, checksum, file string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keeping the archive: %w", err)
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	// Do not follow a planted link.
	if err := os.RemoveAll(keptArchive(dir, checksum)); err != nil {
		return err
	}
	out, err := disk.Prepare(keptArchive(dir, checksum), 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), archiveSuffix)
		if ok && hex64.MatchString(name) && "sha256:"+name != checksum {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
