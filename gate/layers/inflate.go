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

// maxWindow bounds what a zstd frame may make us hold, to what the zstd command
// accepts without being told to.
const maxWindow = 128 << 20

// inflate writes the archive that r holds, however it is compressed. It goes by
// the content, as runtimes do, and not by the media type: the diffID holds
// either way. It reads r to its end, and what follows the archive is an error.
func (s *Store) inflate(digest v1.Hash, r io.Reader, w io.Writer) error {
	src := &transfer{r: r}
	corrupt := func(err error) error {
		if src.err != nil {
			return src.err
		}
		return &CorruptError{digest, fmt.Sprintf("inflating it: %v", err)}
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

// copyBounded copies what a layer inflates to, and at most what it may and so
// many bytes beyond. Reading and writing run side by side: the one inflates, the
// other hashes. What w says comes as a *writeError, what r says as it is.
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
				// Who reads looks here before every read.
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
				return fmt.Errorf("%w: inflated the layer has more than %d bytes", ErrTooLarge, s.opts.MaxLayer)
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

// fill reads until buf is full or r is not to be read any more.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

// writeError says that what was read could not be kept.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// transfer remembers how reading failed, to tell a source that broke off from
// content that is wrong.
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

// ended tells the end of a stream from a failure. The end is io.EOF itself; one
// that is wrapped is a connection's that broke off.
func ended(err error) bool { return err == io.EOF } //nolint:errorlint // for that reason

// isGzip and isZstd look at how a blob begins. A zstd blob may begin with a
// skippable frame: https://www.rfc-editor.org/rfc/rfc8878.html#section-3.1.2
func isGzip(b []byte) bool { return bytes.HasPrefix(b, []byte{0x1f, 0x8b}) }
func isZstd(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(b) >= 4 && b[0]&0xf0 == 0x50 && bytes.Equal(b[1:4], []byte{0x2a, 0x4d, 0x18})
}

// Decompressor returns what r holds, decompressed if it is gzip or zstd. The size of the result has
// no bound. The caller must call done, which never fails, when it has read enough.
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

// members reads gzip members to the end of r. The library does so too, but takes
// a further member that is cut short inside its header for the end, and what is
// behind the last member is then nobody's.
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
		return n, fmt.Errorf("after the end of a member: %w", err)
	}
	m.z.Multistream(false)
	return n, nil
}

// tarBlock is the unit of tar archives, and the size of their headers.
const tarBlock = 512

// checkArchive looks at the first block of what is to be a tar archive. It must
// be a header, or zeros, which end an archive. An archive whose first name makes
// it look compressed is refused as well, for runtimes would take it for that.
func checkArchive(digest v1.Hash, head []byte) error {
	switch {
	case isGzip(head) || isZstd(head):
		return &CorruptError{digest, "what it inflates to looks compressed"}
	case len(head) == 0 || len(head) == tarBlock && (bytes.Count(head, []byte{0}) == tarBlock || isHeader(head)):
		return nil
	}
	return &CorruptError{digest, "it is no tar archive, and not compressed in a way that is supported"}
}

// LooksPacked reports whether a runtime would take the bytes for a layer: for a tar
// archive or compressed content. Text can be a valid archive as well.
func LooksPacked(b []byte) bool {
	return isGzip(b) || isZstd(b) || len(b) >= tarBlock && isHeader(b[:tarBlock])
}

// isHeader compares the checksum of a header, which is the sum of its bytes
// with the checksum itself taken as spaces. Old programs summed signed bytes.
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
