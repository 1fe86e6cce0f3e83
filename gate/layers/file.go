package layers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrTooLarge says that a limit of Options was reached.
var ErrTooLarge = errors.New("too large")

// file is one that has a temporary name until it is kept. It knows its digest
// and its beginning, and what it takes counts towards the store's total.
type file struct {
	store   *Store
	f       *os.File
	target  string
	hash    hash.Hash
	head    []byte // at most one tar block
	written int64
	kept    bool
	// vouched: whoever is read from hashes the bytes, and they are not hashed here.
	vouched bool

	follower *follower // nil for none
}

func (s *Store) create(target string) (*file, error) {
	f, err := os.CreateTemp(filepath.Dir(target), ".partial-*")
	if err != nil {
		return nil, err
	}
	return &file{store: s, f: f, target: target, hash: sha256.New()}, nil
}

// Write fails before it takes more than the store may have.
func (f *file) Write(p []byte) (int, error) {
	if total := f.store.opts.MaxTotal; f.store.used.Add(int64(len(p))) > total {
		f.store.used.Add(-int64(len(p)))
		return 0, fmt.Errorf("%w: the image needs more than %d bytes on disk", ErrTooLarge, total)
	}
	f.written += int64(len(p))
	if !f.vouched {
		f.hash.Write(p) // never fails
	}
	if room := tarBlock - len(f.head); room > 0 {
		f.head = append(f.head, p[:min(room, len(p))]...)
	}
	n, err := f.f.Write(p)
	if f.follower != nil {
		f.follower.growing.grow(n)
	}
	return n, err
}

// digest is that of what was written. Where somebody else hashes that, it is read back.
func (f *file) digest() v1.Hash {
	if f.vouched {
		f.hash.Reset()
		if _, err := io.Copy(f.hash, io.NewSectionReader(f.f, 0, f.written)); err != nil {
			return v1.Hash{} // of nothing
		}
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(f.hash.Sum(nil))}
}

// empty makes the file as it was when it was created, followed by nobody.
func (f *file) empty() error {
	if err := f.abandon(); err != nil {
		return err
	}
	f.follower = nil
	if err := f.f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	f.store.used.Add(-f.written)
	f.hash.Reset()
	f.head, f.written = nil, 0
	return nil
}

// keep gives the file its name, and takes the right to write from it. Where the
// name is taken, it is by the same content, and one copy is enough.
func (f *file) keep() error {
	if _, err := os.Lstat(f.target); err == nil {
		return f.f.Close()
	}
	err := errors.Join(f.f.Chmod(0o400), f.f.Close())
	if err == nil {
		err = os.Rename(f.f.Name(), f.target)
	}
	f.kept = err == nil
	return err
}

// discard removes a file that was not kept, and does nothing to one that was.
func (f *file) discard() error {
	if f.kept {
		return nil
	}
	f.store.used.Add(-f.written)
	err := f.abandon()
	_ = f.f.Close() // it may be closed already
	return errors.Join(err, os.Remove(f.f.Name()))
}
