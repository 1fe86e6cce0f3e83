package layers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os/exec"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
)

// errDeclined means that the external program gunzip did not decompress a layer. The layer may
// still be valid, because the configured program may not be a gzip decompressor.
var errDeclined = errors.New("the external program gunzip did not decompress the layer")

// checkProgram requires that the program has an absolute path, because exec would search PATH for
// any other name.
func checkProgram(argv []string) error {
	if len(argv) > 0 && !filepath.IsAbs(argv[0]) {
		return fmt.Errorf("invalid program %q for decompressing layers: must be an absolute path", argv[0])
	}
	return nil
}

// gunzip decompresses r to w with the external program Options.Gunzip, which is faster than the
// gzip library. If gunzip returns errDeclined, the bytes written to w are invalid, and r was read
// to its end.
//
// Such programs ignore data after the last member of a gzip stream. To detect this, gunzip appends
// a sentinel: a gzip member with random content. The output of the program must end with this
// content.
func (s *Store) gunzip(ctx context.Context, r *io.PipeReader, w io.Writer) error {
	src := &transfer{r: r}
	in := bufio.NewReaderSize(src, chunk)
	sentinel := newChecksum()
	// Check the header with the gzip library first, because the library checks more of it than
	// external programs do.
	head, err := in.Peek(maxHeader)
	if src.err != nil {
		return src.err
	}
	if _, herr := gzip.NewReader(bytes.NewReader(head)); !isGzip(head) || herr != nil || err != nil && !ended(err) {
		return declined(in, src)
	}

	ctx, kill := context.WithCancel(ctx)
	defer kill()
	cmd := exec.CommandContext(ctx, s.opts.Gunzip[0], s.opts.Gunzip[1:]...) //nolint:gosec // an absolute path, without a shell
	cmd.Env = []string{}                                                    // some programs read options from environment variables
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return declined(in, src)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return declined(in, src)
	}
	if err := cmd.Start(); err != nil {
		return declined(in, src)
	}
	// When ctx ends, close stdout. A child process of the program could otherwise keep it open and
	// block the read.
	stop := context.AfterFunc(ctx, func() { _ = stdout.Close() })
	defer stop()
	widen(stdin)
	widen(stdout)

	fed := make(chan error, 1)
	go func() {
		_, err := io.Copy(stdin, in)
		if err == nil {
			_, err = stdin.Write(sentinel.member)
		}
		fed <- errors.Join(err, stdin.Close())
	}()
	checked := &checksumWriter{w: w, checksum: sentinel.content}
	took := s.copyBounded(checked, stdout, checksumSize)
	var failed *writeError
	if errors.Is(took, ErrTooLarge) || errors.As(took, &failed) {
		kill()
		r.CloseWithError(took) // Closing the pipe unblocks both stages.
		<-fed                  //nolint:errcheck // its error no longer matters
		_ = cmd.Wait()
		return took
	}
	if took != nil {
		kill()
	}
	ferr := <-fed
	switch werr := cmd.Wait(); {
	case src.err != nil:
		return src.err
	case took != nil || ferr != nil || werr != nil || !checked.intact():
		return declined(in, src)
	}
	return nil
}

// declined reads the rest of the stream and returns errDeclined. The stream must be read to its
// end, because the other stage stores the blob from the same stream.
func declined(in io.Reader, src *transfer) error {
	_, _ = io.Copy(io.Discard, in)
	if src.err != nil {
		return src.err
	}
	return errDeclined
}

// maxHeader is the maximum size of the header of the first gzip member, in bytes. Headers of layers
// usually have ten bytes.
const maxHeader = 4 << 10

// checksum is a gzip member with random content, a sentinel that is appended to the layer. If the
// output of the decompressor ends with the content, the decompressor has read the whole layer. The
// creator of a layer cannot predict the content, and so cannot forge it.
type checksum struct{ member, content []byte }

// checksumSize is the size of the sentinel's content, in bytes.
const checksumSize = 32

// newChecksum returns a sentinel with random content:
// https://www.rfc-editor.org/rfc/rfc1952#section-2.3
//
// The header of the sentinel has a random length. Otherwise a truncated header at the end of a
// layer could be completed by the sentinel's header and continue with the sentinel's content. The
// padding bytes are not zero, because a zero would end a file name in such a header.
func newChecksum() checksum {
	random := make([]byte, checksumSize+2)
	_, _ = rand.Read(random) // rand.Read never fails
	content := random[:checksumSize]
	extra := binary.LittleEndian.Uint16(random[checksumSize:])

	b := []byte{0x1f, 0x8b, 8, 4, 0xff, 0xff, 0xff, 0xff, 0, 0xff}
	b = binary.LittleEndian.AppendUint16(b, extra)
	b = append(b, bytes.Repeat([]byte{0xff}, int(extra))...)
	b = append(b, 1, checksumSize, 0, 0xff^checksumSize, 0xff) // a stored (uncompressed) block, marked as the last one
	b = append(b, content...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(content))
	return checksum{binary.LittleEndian.AppendUint32(b, checksumSize), content}
}

// checksumWriter passes its input to w, except for the last checksumSize bytes. It keeps these
// bytes to compare them with the sentinel.
type checksumWriter struct {
	w        io.Writer
	checksum []byte
	last     []byte
}

func (s *checksumWriter) Write(p []byte) (int, error) {
	if len(p) < checksumSize {
		s.last = append(s.last, p...)
		if more := len(s.last) - checksumSize; more > 0 {
			if _, err := s.w.Write(s.last[:more]); err != nil {
				return 0, err
			}
			s.last = append(s.last[:0], s.last[more:]...)
		}
		return len(p), nil
	}
	if _, err := s.w.Write(s.last); err != nil {
		return 0, err
	}
	if _, err := s.w.Write(p[:len(p)-checksumSize]); err != nil {
		return 0, err
	}
	s.last = append(s.last[:0], p[len(p)-checksumSize:]...)
	return len(p), nil
}

func (s *checksumWriter) intact() bool { return bytes.Equal(s.last, s.checksum) }
