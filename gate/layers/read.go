package layers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Open opens the stored bytes of a blob. Closing the result must interrupt a blocked Read, as it
// does for files and connections.
type Open func(context.Context) (io.ReadCloser, error)

// SelfVerifying is a reader that verifies its own content. An Open may return it. The reader
// returns io.EOF only if the digest of all bytes is VerifiedDigest. A registry client does this for
// a blob that it gets by digest. The bytes of a compressed layer are then not hashed again, because
// the diffID is verified in any case.
type SelfVerifying interface {
	io.ReadCloser
	VerifiedDigest() v1.Hash
}

// chunk is the maximum size, in bytes, of one piece of content that a stage passes to the next
// stage.
const chunk = 256 << 10

// sizeUnknown is the descriptor size of a blob whose size is only known after reading it.
const sizeUnknown = -1

// read reads a layer in a single pass. Two stages run in parallel. The first receives, hashes and
// stores the bytes. The second decompresses them, and hashes and stores the result. Both files get
// their final names only after both digests match.
func (s *Store) read(ctx context.Context, l *Layer, index Index) (err error) {
	if l.descriptor.Digest == l.diffID {
		return s.readPlain(ctx, l.descriptor, l.open, index)
	}
	blob, err := s.create(s.blobPath(l.descriptor.Digest))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.discard()) }()
	plain, err := s.create(s.layerPath(l.diffID))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.discard()) }()
	if err := plain.follow(index, l.diffID); err != nil {
		return err
	}

	r, w := io.Pipe()
	again := false
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := s.receive(gctx, l.descriptor, l.open, blob, w, true)
		w.CloseWithError(err)
		return err
	})
	group.Go(func() error {
		var err error
		if len(s.opts.Gunzip) > 0 {
			err = s.gunzip(gctx, r, plain)
			if again = errors.Is(err, errDeclined) || err == nil && plain.digest() != l.diffID; again {
				return nil
			}
		} else {
			err = s.decompress(l.descriptor.Digest, r, plain)
		}
		r.CloseWithError(err) // Closing the pipe unblocks the other stage.
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if again {
		if err := s.decompressAgain(ctx, l, blob, plain, index); err != nil {
			return err
		}
	}
	if got := plain.digest(); got != l.diffID {
		return &CorruptError{l.descriptor.Digest, fmt.Sprintf("the decompressed content has digest %s, but the config lists diffID %s", got, l.diffID)}
	}
	if err := checkArchive(l.descriptor.Digest, plain.head); err != nil {
		return err
	}
	return cmp.Or(plain.complete(), blob.keep(), plain.keep())
}

// decompressAgain decompresses a received blob in this process, after Options.Gunzip failed or
// produced output with the wrong digest. The result replaces that output.
func (s *Store) decompressAgain(ctx context.Context, l *Layer, blob, plain *file, index Index) error {
	if err := plain.empty(); err != nil {
		return err
	}
	if err := plain.follow(index, l.diffID); err != nil {
		return err
	}
	r := io.NewSectionReader(blob.f, 0, blob.written)
	return s.decompress(l.descriptor.Digest, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	}), plain)
}

// readerFunc is a function that implements io.Reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// readPlain reads an uncompressed layer. Its stored and decompressed bytes are the same, so it
// stores one file under both names.
func (s *Store) readPlain(ctx context.Context, d v1.Descriptor, open Open, index Index) (err error) {
	limit := s.opts.MaxLayer
	if d.Size > limit {
		return fmt.Errorf("%w: the layer has %d bytes, the limit is %d", ErrTooLarge, d.Size, limit)
	}
	blob, err := s.create(s.blobPath(d.Digest))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.discard()) }()
	if err := blob.follow(index, d.Digest); err != nil {
		return err
	}
	if err := s.receive(ctx, d, open, blob, io.Discard, false); err != nil {
		return err
	}
	if err := checkArchive(d.Digest, blob.head); err != nil {
		return err
	}
	if err := cmp.Or(blob.complete(), blob.keep()); err != nil {
		return err
	}
	if err := os.Link(s.blobPath(d.Digest), s.layerPath(d.Digest)); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// readBlob reads a blob that is not a layer, and stores it unchanged.
func (s *Store) readBlob(ctx context.Context, d v1.Descriptor, open Open) (err error) {
	blob, err := s.create(s.blobPath(d.Digest))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.discard()) }()
	if err := s.receive(ctx, d, open, blob, io.Discard, false); err != nil {
		return err
	}
	return blob.keep()
}

// receive copies the blob from open to the file and to tee, and compares it with the descriptor.
// Different bytes, or a different number of bytes, are an error. receive reads at most one byte too
// many. If selfVerified is true, the bytes of a self-verifying reader are not hashed.
func (s *Store) receive(ctx context.Context, d v1.Descriptor, open Open, blob *file, tee io.Writer, selfVerified bool) (err error) {
	s.fetches.Add(1)
	rc, err := opened(ctx, open)
	if err != nil {
		return err
	}
	closed := sync.OnceValue(rc.Close)
	stop := context.AfterFunc(ctx, func() { _ = closed() }) // Closing the reader interrupts a blocked read.
	defer func() {
		stop()
		// Close may fail if the reader was not read to its end. So its error is returned only after
		// a complete read.
		if cerr := closed(); err == nil {
			err = cerr
		}
	}()
	if v, ok := rc.(SelfVerifying); ok && selfVerified {
		blob.selfVerified = v.VerifiedDigest() == d.Digest
	}
	limit := d.Size
	if d.Size == sizeUnknown {
		limit = s.opts.MaxLayer
	}
	buf := make([]byte, chunk)
	for {
		n, rerr := rc.Read(buf[:1+min(chunk-1, limit-blob.written)])
		s.fetched.Add(int64(n))
		if blob.written+int64(n) > limit {
			if d.Size == sizeUnknown {
				return fmt.Errorf("%w: the layer has more than %d bytes", ErrTooLarge, limit)
			}
			return &CorruptError{d.Digest, fmt.Sprintf("the content has more than the %d bytes that the manifest lists", limit)}
		}
		if n > 0 {
			if _, err := io.MultiWriter(blob, tee).Write(buf[:n]); err != nil {
				return err
			}
			if p := s.opts.Progress; p != nil {
				p.Layer(d.Digest, blob.written, max(d.Size, 0))
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		// A self-verifying reader returns its own error instead of io.EOF if its bytes are wrong.
		// check decides about a complete blob.
		if ended(rerr) || rerr != nil && blob.written == d.Size {
			return check(d, blob, rerr)
		}
		if rerr != nil {
			return rerr
		}
	}
}

// opened calls open and returns when open returns or ctx ends. Some open functions ignore their
// context. opened then stops waiting, and closes the reader if open returns one later.
func opened(ctx context.Context, open Open) (io.ReadCloser, error) {
	type result struct {
		rc  io.ReadCloser
		err error
	}
	done := make(chan result)
	go func() {
		rc, err := open(ctx)
		select {
		case done <- result{rc, err}:
		case <-ctx.Done():
			if err == nil {
				_ = rc.Close()
			}
		}
	}()
	select {
	case r := <-done:
		return r.rc, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// check compares the received bytes with the descriptor. end is the error that ended the stream.
// check returns a *CorruptError if the size or the digest differs, and end if the stream did not
// end with io.EOF.
func check(d v1.Descriptor, blob *file, end error) error {
	if d.Size != sizeUnknown && blob.written != d.Size {
		return &CorruptError{d.Digest, fmt.Sprintf("the content has %d bytes, but the manifest lists %d", blob.written, d.Size)}
	}
	if blob.selfVerified && ended(end) {
		return nil
	}
	if got := blob.digest(); got != d.Digest {
		return &CorruptError{d.Digest, fmt.Sprintf("the content has the different digest %s", got)}
	}
	if ended(end) {
		return nil
	}
	return end
}
