package vulndb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/imagegate/imagegate/internal/disk"
)

const (
	pointerName  = "current"
	lockName     = "lock"
	folderPrefix = "sha256-"
	tempPrefix   = "tmp-"

	// lockPoll is the interval for retrying a lock that another process holds.
	lockPoll = 20 * time.Millisecond
	// readerLockTries is the maximum number of attempts to lock the current database. An attempt
	// fails if the database is replaced between reading the pointer and locking its folder.
	readerLockTries = 20
)

// readerLock is a shared lock on one database folder. While a reader holds it, no writer removes
// the folder.
type readerLock struct {
	dir    string
	folder string
	lock   *flock.Flock
}

// current locks the folder of the current database in dir.
func current(ctx context.Context, dir string) (*readerLock, error) {
	dir, err := checkDir(dir)
	if err != nil {
		return nil, err
	}
	if err := disk.Trusted(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var name string
	for range readerLockTries {
		name, err = readPointer(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &UnusableError{Problem: Missing, Dir: dir, Err: errors.New("no database is installed")}
		}
		if err != nil {
			return nil, unusable(ctx, dir, err)
		}
		l, err := lockReader(ctx, dir, name)
		if err != nil {
			return nil, fmt.Errorf("locking %s for reading: %w", filepath.Join(dir, name), err)
		}
		if l != nil {
			return l, nil
		}
		// A writer may have replaced the database and removed its folder after this process read
		// the pointer. In that case the pointer names another folder now, so read it again.
	}
	return nil, &UnusableError{Problem: Corrupt, Dir: dir, Err: fmt.Errorf("the pointer file %q names %s, which does not exist", pointerName, name)}
}

// lockReader takes a shared lock on a database folder. It returns nil without an error if the
// folder no longer exists.
func lockReader(ctx context.Context, dir, name string) (*readerLock, error) {
	file := filepath.Join(dir, name, lockName)
	// Open the lock file read-only and never create it. The directory may be on a read-only file
	// system. In a removed folder, a newly created lock file would lock nothing.
	lock := flock.New(file, flock.SetFlag(os.O_RDONLY))
	if _, err := lock.TryRLockContext(ctx, lockPoll); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	if in, err := inPlace(lock, file); err != nil || !in {
		return nil, errors.Join(err, lock.Close())
	}
	return &readerLock{dir: dir, folder: filepath.Join(dir, name), lock: lock}, nil
}

// inPlace reports whether the locked file still has the path file. While this process waited for
// the lock, a writer may have moved the folder away. A lock in a moved folder has no effect,
// because no other process checks it.
func inPlace(lock *flock.Flock, file string) (bool, error) {
	held, err := lock.Stat()
	if err != nil {
		return false, err
	}
	found, err := os.Stat(file)
	if err != nil {
		return false, ignoreMissing(err)
	}
	return os.SameFile(held, found), nil
}

func (l *readerLock) release() error { return l.lock.Close() }

// readPointer returns the name of the current database's folder.
func readPointer(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, pointerName))
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		return "", err
	}
	name := strings.TrimSuffix(string(data), "\n")
	if !isFolderName(name) {
		return "", fmt.Errorf("the pointer file %q does not name a database: %q", pointerName, name)
	}
	return name, nil
}

func folderName(sha256 string) string { return folderPrefix + sha256 }

func isFolderName(name string) bool {
	digest, ok := strings.CutPrefix(name, folderPrefix)
	return ok && hex64.MatchString(digest)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
