package layers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is the largest window of a zstd frame, in bytes. It limits the memory for decompression
// and equals the default limit of the zstd command.
const maxWindow = 128 << 20

// decompress reads r to its end and writes the decompressed content to w. Like container runtimes,
// it detects the compression from the first bytes, not from the media type. The caller verifies the
// diffID. Data after the compressed content is an error.
func (s *Store) decompress(digest v1.Hash, r io.Reader, w io.Writer) error {
	src := &transfer{r: r}
	corrupt := func(err error) error {
		if src.err != nil {
			return src.err
		}
		return &CorruptError{digest, fmt.Sprintf("decompression failed: %v", err)}
	}
	plain, done, err := decompressor(bufio.NewReaderSize(src, chunk))
	if err != nil {
		return corrupt(err)
	}
	defer done()
	err = s.copyBounded(w, plain, 0)
	var failed *writeError
	switch {
	case err == nil:
		return src.err
	case errors.Is(err, ErrTooLarge) || errors.As(err, &failed):
		return err
	}
	return corrupt(err)
}

// copyBounded copies a decompressed layer from r to w. It fails if the layer has more than MaxLayer
// plus beyond bytes. Reading (decompressing) and writing (hashing) run in parallel. An error of w
// is returned as a *writeError, an error of r unchanged.
func (s *Store) copyBounded(w io.Writer, r io.Reader, beyond int64) error {
	const buffers = 4
	free, full := make(chan []byte, buffers), make(chan []byte, buffers)
	for range buffers {
		free <- make([]byte, chunk)
	}
	wrote := make(chan error, 1)
	go func() {
		var err error
		for b := range full {
			if err == nil {
				_, err = w.Write(b)
			}
			if err != nil {
				// The reading loop checks this channel after every read, so that a write error also
				// ends the reading.
				select {
				case wrote <- err:
				default:
				}
			}
			free <- b[:cap(b)]
		}
		close(wrote)
	}()
	read := func() error {
		for total := int64(0); ; {
			buf := <-free
			n, err := fill(r, buf)
			if total += int64(n); total-beyond > s.opts.MaxLayer {
				return fmt.Errorf("%w: the decompressed layer has more than %d bytes", ErrTooLarge, s.opts.MaxLayer)
			}
			full <- buf[:n]
			if err != nil || len(wrote) > 0 {
				return err
			}
		}
	}
	err := read()
	close(full)
	if werr := <-wrote; werr != nil {
		return &writeError{werr}
	}
	if ended(err) {
		return nil
	}
	return err
}

// fill reads from r until buf is full or r returns an error. It returns the number of bytes read.
// The error may be io.EOF.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

// writeError marks an error of writing the decompressed content, as opposed to an error of reading
// it.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// transfer is a reader that records the read error of r. The recorded error distinguishes an
// interrupted transfer from corrupt content.
type transfer struct {
	r   io.Reader
	err error
}

func (t *transfer) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !ended(err) {
		t.err = err
	}
	return n, err
}

// ended reports whether a stream ended without an error. Only a bare io.EOF is the end of a stream.
// A wrapped io.EOF means that a connection broke off.
func ended(err error) bool { return err == io.EOF } //nolint:errorlint // a wrapped io.EOF must not match

// isGzip and isZstd recognize the compression of a blob by its first bytes. A zstd blob may begin
// with a skippable frame: https://www.rfc-editor.org/rfc/rfc8878.html#section-3.1.2
func isGzip(b []byte) bool { return bytes.HasPrefix(b, []byte{0x1f, 0x8b}) }
func isZstd(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(b) >= 4 && b[0]&0xf0 == 0x50 && bytes.Equal(b[1:4], []byte{0x2a, 0x4d, 0x18})
}

// Decompressor returns a reader of the decompressed content if r is gzip or zstd, and the unchanged
// content otherwise. It does not limit the size of the content. The caller must call done after
// reading. done never fails.
func Decompressor(r *bufio.Reader) (plain io.Reader, done func(), err error) { return decompressor(r) }

func decompressor(r *bufio.Reader) (plain io.Reader, done func(), err error) {
	magic, err := r.Peek(4)
	switch {
	case err != nil && !ended(err):
		return nil, nil, err
	case isGzip(magic):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		z.Multistream(false)
		return &members{r: r, z: z}, func() {}, nil
	case isZstd(magic):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// members reads all gzip members up to the end of r. Package gzip can also read several members,
// but it treats a member with a truncated header as the end of the input and ignores its bytes.
// members returns an error instead.
type members struct {
	r *bufio.Reader
	z *gzip.Reader
}

func (m *members) Read(p []byte) (int, error) {
	n, err := m.z.Read(p)
	if !ended(err) {
		return n, err
	}
	if _, err := m.r.Peek(1); err != nil {
		return n, err
	}
	if err := m.z.Reset(m.r); err != nil {
		if ended(err) {
			err = io.ErrUnexpectedEOF
		}
		return n, fmt.Errorf("reading the next gzip member: %w", err)
	}
	m.z.Multistream(false)
	return n, nil
}

// tarBlock is the block size of tar archives and the size of their headers, in bytes.
const tarBlock = 512

// checkArchive checks that the first block of a layer begins a tar archive. The block must be a tar
// header, or zeros, which mark the end of an archive. It refuses an archive whose first file name
// looks like compressed data, because runtimes would decompress the archive.
func checkArchive(digest v1.Hash, head []byte) error {
	switch {
	case isGzip(head) || isZstd(head):
		return &CorruptError{digest, "the decompressed content is itself compressed"}
	case len(head) == 0 || len(head) == tarBlock && (bytes.Count(head, []byte{0}) == tarBlock || isHeader(head)):
		return nil
	}
	return &CorruptError{digest, "the content is neither a tar archive nor compressed with gzip or zstd"}
}

// LooksPacked reports whether a runtime would accept the bytes as a layer: as a tar archive or as
// compressed content. It can be true for a text, because a text can be a valid tar archive.
func LooksPacked(b []byte) bool {
	return isGzip(b) || isZstd(b) || len(b) >= tarBlock && isHeader(b[:tarBlock])
}

// isHeader reports whether a block is a tar header. The checksum of a tar header must be the sum of
// its bytes, with the checksum field counted as spaces. Old programs summed signed bytes, so both
// sums are accepted.
func isHeader(block []byte) bool {
	const from, to = 148, 156
	field := strings.Trim(string(block[from:to]), " \x00")
	want, err := strconv.ParseInt(field, 8, 64)
	if err != nil {
		return false
	}
	var unsigned, signed int64
	for i, b := range block {
		if i >= from && i < to {
			b = ' '
		}
		unsigned += int64(b)
		signed += int64(int8(b))
	}
	return want == unsigned || want == signed
}
