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

// ErrTooLarge means that an image exceeds a size limit in Options.
var ErrTooLarge error = limitError{}

type limitError struct{}

func (limitError) Error() string { return "too large" }

// NotRegistry marks the error as one that was not caused by a registry.
func (limitError) NotRegistry() {}

// file is a file of the store. It has a temporary name until keep is called. It hashes the written
// bytes, keeps the first bytes in memory for checks, and counts all bytes towards MaxTotal of the
// store.
type file struct {
	store   *Store
	f       *os.File
	target  string
	hash    hash.Hash
	head    []byte // the first bytes of the file, at most one tar block
	written int64
	kept    bool
	// true if the reader verifies its own bytes, so they are not hashed here
	selfVerified bool

	follower *follower // the running Index that reads this file; nil means none
}

func (s *Store) create(target string) (*file, error) {
	f, err := os.CreateTemp(filepath.Dir(target), ".partial-*")
	if err != nil {
		return nil, err
	}
	return &file{store: s, f: f, target: target, hash: sha256.New()}, nil
}

// Write fails if the store would exceed MaxTotal.
func (f *file) Write(p []byte) (int, error) {
	if total := f.store.opts.MaxTotal; f.store.used.Add(int64(len(p))) > total {
		f.store.used.Add(-int64(len(p)))
		return 0, fmt.Errorf("%w: the image needs more than %d bytes on disk", ErrTooLarge, total)
	}
	f.written += int64(len(p))
	if !f.selfVerified {
		f.hash.Write(p) // hash.Hash.Write never fails
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

// digest returns the digest of the written bytes. If the bytes were not hashed during writing,
// because a self-verifying reader provided them, digest reads the file.
func (f *file) digest() v1.Hash {
	if f.selfVerified {
		f.hash.Reset()
		if _, err := io.Copy(f.hash, io.NewSectionReader(f.f, 0, f.written)); err != nil {
			return v1.Hash{} // the zero hash equals no digest
		}
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(f.hash.Sum(nil))}
}

// empty resets the file to its state after create, and removes its follower.
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

// keep closes the file, makes it read-only and gives it its final name. If a file with the final
// name exists, it has the same content, and keep only closes this file.
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

// discard removes the file, unless keep has given it its final name.
func (f *file) discard() error {
	if f.kept {
		return nil
	}
	f.store.used.Add(-f.written)
	err := f.abandon()
	_ = f.f.Close() // keep may have closed the file already
	return errors.Join(err, os.Remove(f.f.Name()))
}
