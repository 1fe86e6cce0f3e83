package layers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

const (
	chunk = 256 << 10 // bytes handed from one stage to the next
	// maxWindow bounds what a zstd frame may make us hold: what the format
	// asks every decoder to support, eight times over.
	maxWindow = 64 << 20
)

// read is the one pass over a layer. Two stages run side by side: one receives,
// hashes and keeps the bytes as they came, the other inflates, hashes and keeps
// what comes out. Neither file gets its name before both agree with what was
// promised.
func (s *Store) read(ctx context.Context, l *Layer) (err error) {
	if l.descriptor.Digest == l.diffID { // not compressed, and so one file
		if err := s.readBlob(ctx, l.descriptor, l.open); err != nil {
			return err
		}
		return s.plain(l.diffID)
	}
	blob, err := s.create(s.blobPath(l.descriptor.Digest))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.discard()) }()
	inflated, err := s.create(s.layerPath(l.diffID))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inflated.discard()) }()

	r, w := io.Pipe()
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := s.receive(gctx, l.descriptor, l.open, io.MultiWriter(blob, w))
		w.CloseWithError(err)
		return err
	})
	group.Go(func() error {
		err := s.inflate(l.descriptor.Digest, r, inflated)
		r.CloseWithError(err) // lets the other stage end
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if got := blob.digest(); got != l.descriptor.Digest {
		return &CorruptError{l.descriptor.Digest, fmt.Sprintf("its bytes hash to %s", got)}
	}
	if got := inflated.digest(); got != l.diffID {
		return &CorruptError{l.descriptor.Digest, fmt.Sprintf("inflated it hashes to %s, and the config states diffID %s", got, l.diffID)}
	}
	if err := blob.keep(); err != nil {
		return err
	}
	return inflated.keep()
}

// readBlob is read for a blob that is not inflated.
func (s *Store) readBlob(ctx context.Context, d v1.Descriptor, open Open) (err error) {
	blob, err := s.create(s.blobPath(d.Digest))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.discard()) }()
	if err := s.receive(ctx, d, open, blob); err != nil {
		return err
	}
	if got := blob.digest(); got != d.Digest {
		return &CorruptError{d.Digest, fmt.Sprintf("its bytes hash to %s", got)}
	}
	return blob.keep()
}

// receive copies exactly the bytes that the descriptor promises, and refuses a
// source that has more or fewer.
func (s *Store) receive(ctx context.Context, d v1.Descriptor, open Open, w io.Writer) (err error) {
	s.fetches.Add(1)
	rc, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		// Closing a source that was not read to its end may say so; only one
		// that was must close well.
		if cerr := rc.Close(); err == nil {
			err = cerr
		}
	}()
	stop := context.AfterFunc(ctx, func() { rc.Close() }) // ends a read that is stuck
	defer stop()
	progress := func(int64) {}
	if p := s.opts.Progress; p != nil {
		progress = func(done int64) { p.Layer(d.Digest, done, d.Size) }
	}
	buf := make([]byte, chunk)
	var done int64
	for {
		n, rerr := rc.Read(buf)
		done += int64(n)
		s.fetched.Add(int64(n))
		if done > d.Size {
			return &CorruptError{d.Digest, fmt.Sprintf("it has more than the %d bytes that were promised", d.Size)}
		}
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			progress(done)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			return rerr
		}
	}
	if done != d.Size {
		return &CorruptError{d.Digest, fmt.Sprintf("it has %d bytes, and %d were promised", done, d.Size)}
	}
	return nil
}

// inflate writes the archive that r holds, however it is compressed. It goes by
// the content, as runtimes do, and not by the media type: the diffID holds
// either way.
func (s *Store) inflate(digest v1.Hash, r io.Reader, w io.Writer) error {
	br := bufio.NewReaderSize(r, chunk)
	magic, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	plain, done, err := decompressor(magic, br)
	if err != nil {
		return &CorruptError{digest, fmt.Sprintf("inflating it: %v", err)}
	}
	defer done()
	n, err := io.CopyBuffer(onlyWriter{w}, io.LimitReader(plain, s.opts.MaxLayer+1), make([]byte, chunk))
	switch {
	case n > s.opts.MaxLayer:
		return fmt.Errorf("%w: inflated the layer has more than %d bytes", ErrTooLarge, s.opts.MaxLayer)
	case isFormat(err):
		return &CorruptError{digest, fmt.Sprintf("inflating it: %v", err)}
	}
	return err
}

// onlyWriter hides ReadFrom, which would bypass the buffer.
type onlyWriter struct{ io.Writer }

func decompressor(magic []byte, r io.Reader) (io.Reader, func(), error) {
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r) // reads all members, and refuses what follows them
		return z, func() {}, err
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// isFormat tells an error of the content from one of the transfer.
func isFormat(err error) bool {
	var bad flate.CorruptInputError
	if errors.As(err, &bad) {
		return true
	}
	for _, e := range []error{gzip.ErrHeader, gzip.ErrChecksum, zstd.ErrMagicMismatch, zstd.ErrCRCMismatch, zstd.ErrWindowSizeExceeded, zstd.ErrReservedBlockType, zstd.ErrCompressedSizeTooBig} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// file is one that has a temporary name until it is kept, and a running digest.
type file struct {
	f      *os.File
	w      *budgeted
	hash   hash.Hash
	target string
}

func (s *Store) create(target string) (*file, error) {
	f, err := os.CreateTemp(filepath.Dir(target), ".partial-*")
	if err != nil {
		return nil, err
	}
	return &file{f: f, w: &budgeted{w: f, store: s}, hash: sha256.New(), target: target}, nil
}

func (f *file) Write(p []byte) (int, error) {
	f.hash.Write(p) // never fails
	return f.w.Write(p)
}

func (f *file) digest() v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(f.hash.Sum(nil))}
}

// keep gives the file its name.
func (f *file) keep() error {
	err := f.f.Close()
	if err == nil {
		err = os.Rename(f.f.Name(), f.target)
	}
	if err == nil {
		f.f = nil
	}
	return err
}

// discard removes a file that was not kept.
func (f *file) discard() error {
	if f.f == nil {
		return nil
	}
	_ = f.f.Close()
	return os.Remove(f.f.Name())
}
