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

// errDeclined means that the program did not decompress a layer. The layer may still be valid: the
// program may be a different one than expected.
var errDeclined = errors.New("the program did not decompress it")

// checkProgram requires an absolute path, because exec would search PATH for any other name.
func checkProgram(argv []string) error {
	if len(argv) > 0 && !filepath.IsAbs(argv[0]) {
		return fmt.Errorf("program %q for decompressing layers: must be an absolute path", argv[0])
	}
	return nil
}

// gunzip decompresses with the program of Options, which is faster than the library. On errDeclined the
// bytes written to w are invalid, and r was read to its end.
//
// Programs ignore data after the last member of a gzip stream. So gunzip appends a sentinel member,
// and requires that the program returns its content after everything else.
func (s *Store) gunzip(ctx context.Context, r *io.PipeReader, w io.Writer) error {
	src := &transfer{r: r}
	in := bufio.NewReaderSize(src, chunk)
	sentinel := newChecksum()
	// The library checks more of the header than programs do.
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
	cmd.Env = []string{}                                                    // some programs read options from it
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
	// A child process of the program must not block the read.
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
		r.CloseWithError(took) // unblocks both stages
		<-fed                  //nolint:errcheck // what could not be fed does not matter any more
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

// declined reads the rest of the stream, so that the other stage can complete the blob.
func declined(in io.Reader, src *transfer) error {
	_, _ = io.Copy(io.Discard, in)
	if src.err != nil {
		return src.err
	}
	return errDeclined
}

// maxHeader is the number of bytes that are searched for the header of the first member. Headers of
// layers have ten bytes.
const maxHeader = 4 << 10

// checksum is a sentinel: a gzip member that the content of a layer cannot predict.
type checksum struct{ member, content []byte }

// checksumSize is the size of the sentinel's content, in bytes.
const checksumSize = 32

// newChecksum makes a sentinel with random content: https://www.rfc-editor.org/rfc/rfc1952#section-2.3.
// Its header has a random length. Otherwise a header that is truncated at the end of a layer could
// take the sentinel's header as its own, and continue with the sentinel's content. The padding
// bytes are not zero, because a zero would end a name.
func newChecksum() checksum {
	random := make([]byte, checksumSize+2)
	_, _ = rand.Read(random) // never fails
	content := random[:checksumSize]
	extra := binary.LittleEndian.Uint16(random[checksumSize:])

	b := []byte{0x1f, 0x8b, 8, 4, 0xff, 0xff, 0xff, 0xff, 0, 0xff}
	b = binary.LittleEndian.AppendUint16(b, extra)
	b = append(b, bytes.Repeat([]byte{0xff}, int(extra))...)
	b = append(b, 1, checksumSize, 0, 0xff^checksumSize, 0xff) // a stored block, the last one
	b = append(b, content...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(content))
	return checksum{binary.LittleEndian.AppendUint32(b, checksumSize), content}
}

// checksumWriter writes its input except the last checksumSize bytes, which it keeps.
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
