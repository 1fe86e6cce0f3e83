package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/gofrs/flock"

	"github.com/imagegate/imagegate/internal/disk"
)

// maxRecord is the maximum size of a record in bytes.
const maxRecord = 16 << 20

// reserve is the disk space in bytes that is reserved with a prepared record, because the final
// record has more entries.
const reserve = 64 << 10

// lockSuffix is added to the name of a prepared record to get the name of its lock file.
const lockSuffix = ".lock"

// prepared is a saved record that has not been delivered. The process of the run holds the lock,
// which becomes free when the process dies.
type prepared struct {
	path string
	f    *os.File
	lock *flock.Flock
	end  int64 // offset of the end of the last record in f
}

// prepare creates the file for a prepared record, and locks it.
func prepare(path string) (*prepared, error) {
	lock := flock.New(path+lockSuffix, flock.SetPermissions(0o600))
	if held, err := lock.TryLock(); err != nil || !held {
		return nil, errors.Join(fmt.Errorf("locking %s", path), err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &prepared{path: path, f: f, lock: lock}, nil
}

// adopt takes over the prepared record of a dead process. It returns nil if the process is alive,
// if the record no longer exists, or if the file belongs to another user, who could have forged it.
func adopt(path string) (*prepared, error) {
	if own, err := isOwnFile(path); err != nil || !own {
		return nil, err
	}
	if own, err := isOwnFile(path + lockSuffix); err != nil || !own {
		return nil, err // without a lock file, another process has just removed the record
	}
	lock := flock.New(path+lockSuffix, flock.SetPermissions(0o600))
	if held, err := lock.TryLock(); err != nil || !held {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(lock.Close(), removeIfExists(path+lockSuffix))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &prepared{path: path, f: f, lock: lock}, nil
}

// isOwnFile reports whether path is a regular file that this user owns. It is false for a link.
func isOwnFile(path string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular() && disk.IsOwn(info), err
}

// store appends the record as a line and syncs it to disk. Readers use the last complete line.
// Spaces at the end of the line reserve room, so that the final record fits even if the disk
// becomes full.
func (p *prepared) store(e Event) error {
	line, err := encode(e)
	if err != nil {
		return err
	}
	data := line
	if p.end == 0 {
		data = append(bytes.Clone(line), bytes.Repeat([]byte{' '}, len(line)+reserve)...)
	}
	if _, err := p.f.WriteAt(data, p.end); err != nil {
		return err
	}
	p.end += int64(len(line))
	return p.f.Sync()
}

// errEmpty means that the file contains no complete record.
var errEmpty = errors.New("no record")

// load returns the last complete record in the file. If there is none, the error wraps errEmpty.
func (p *prepared) load() (Event, error) {
	data, err := io.ReadAll(io.LimitReader(p.f, maxRecord))
	if err != nil {
		return Event{}, err
	}
	complete := bytes.LastIndexByte(data, '\n')
	p.end = int64(complete + 1)
	lines := bytes.Split(data[:max(complete, 0)], []byte{'\n'})
	last := lines[len(lines)-1]
	if len(bytes.TrimSpace(last)) == 0 {
		return Event{}, errEmpty
	}
	var e Event
	if err := json.Unmarshal(last, &e); err != nil || e.Type != Type {
		return Event{}, errors.Join(errors.New("not a record of imagegate"), err)
	}
	return e, nil
}

// remove deletes the files of a delivered record.
func (p *prepared) remove() error {
	return errors.Join(os.Remove(p.path), p.release(), removeIfExists(p.path+lockSuffix))
}

// release closes the files and unlocks the record. The record stays on disk.
func (p *prepared) release() error { return errors.Join(p.f.Close(), p.lock.Close()) }

func removeIfExists(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// targetKey returns a short hash of a log target, for use in file names.
func targetKey(target string) string {
	sum := sha256.Sum256([]byte(target))
	return hex.EncodeToString(sum[:8])
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
