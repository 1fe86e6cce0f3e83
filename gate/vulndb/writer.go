package vulndb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/gofrs/flock"

	"github.com/imagegate/imagegate/internal/disk"
)

// writer holds the write lock of a database directory. Only one process can hold this lock. Readers
// do not need it.
type writer struct {
	dir  string
	root *os.Root // a handle of dir
	lock *flock.Flock
}

// lockForWriting takes the write lock, and waits while another process holds it. It then removes
// files of writers that were killed, and databases that are no longer in use.
func lockForWriting(ctx context.Context, dir string) (*writer, error) {
	dir, err := checkDir(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := disk.Trusted(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	w := &writer{dir: dir, root: root, lock: flock.New(filepath.Join(dir, lockName))}
	if _, err := w.lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s for writing: %w", dir, err), root.Close())
	}
	// This process has the write lock, so no other process uses a temporary folder now.
	if err := w.removeTemporary(); err != nil {
		return nil, errors.Join(fmt.Errorf("clearing %s: %w", dir, err), w.close())
	}
	if name, err := readPointer(dir); err == nil {
		w.prune(name)
	}
	return w, nil
}

func (w *writer) close() error { return errors.Join(w.lock.Close(), w.root.Close()) }

func (w *writer) removeTemporary() error {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) || disk.IsPartial(e.Name()) {
			err = errors.Join(err, w.root.RemoveAll(e.Name()))
		}
	}
	return err
}

// temporary creates an empty folder in the database directory, so that renaming it stays on the
// same file system.
func (w *writer) temporary() (string, error) { return os.MkdirTemp(w.dir, tempPrefix) }

// commit renames a finished temporary folder to its final name and makes it current. It writes the
// pointer last, so that the old database stays current until then.
func (w *writer) commit(ctx context.Context, tmp string, rec record) error {
	name := folderName(rec.File.SHA256)
	target := filepath.Join(w.dir, name)
	same := holds(ctx, target, rec.File)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !same {
		if err := w.place(tmp, target); err != nil {
			return err
		}
	} else if err := rec.write(target); err != nil {
		// The same database is already installed and may have readers, so only its record is
		// replaced. Only the source in the record may be new.
		return err
	}
	if err := replaceFile(filepath.Join(w.dir, pointerName), []byte(name+"\n")); err != nil {
		return err
	}
	if err := syncDir(w.dir); err != nil {
		return err
	}
	w.prune(name)
	return nil
}

// holds reports whether a folder has the wanted database file. It hashes the file, because it does
// not trust the record in the folder.
func holds(ctx context.Context, folder string, want recordFile) bool {
	if _, err := verify(ctx, folder); err != nil {
		return false
	}
	got, err := fullHash(ctx, filepath.Join(folder, v6.VulnerabilityDBFileName))
	return err == nil && got.sha256 == want.SHA256 && got.size == want.Size
}

// place renames a folder to its final name. It first removes a damaged folder of that name.
func (w *writer) place(tmp, target string) error {
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		if err := w.discard(target); err != nil {
			return err
		}
	}
	return os.Rename(tmp, target)
}

// discard removes a folder. It renames the folder first, so that a partly removed folder never has
// the name of a database.
func (w *writer) discard(folder string) error {
	tmp, err := w.temporary()
	if err != nil {
		return err
	}
	tmp = filepath.Base(tmp)
	if err := w.root.Rename(filepath.Base(folder), filepath.Join(tmp, "old")); err != nil {
		return err
	}
	return w.root.RemoveAll(tmp)
}

// prune removes every database that is not current and has no readers. It ignores failures, because
// a remaining database only takes space and the next writer tries again.
func (w *writer) prune(keep string) {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Name() == keep || !isFolderName(e.Name()) {
			continue
		}
		folder := filepath.Join(w.dir, e.Name())
		lock := flock.New(filepath.Join(folder, lockName))
		if free, err := lock.TryLock(); err == nil && free {
			_ = w.discard(folder)
		}
		_ = lock.Close()
	}
}

// syncDir syncs a directory to disk, so that renames in it survive a power failure.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
