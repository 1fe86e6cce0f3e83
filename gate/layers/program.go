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

// errDeclined says that a program did not inflate a layer. That is no judgement
// of the layer: the program may be an other one than it is taken for.
var errDeclined = errors.New("the program did not inflate it")

// checkProgram refuses what exec would look for on a PATH.
func checkProgram(argv []string) error {
	if len(argv) > 0 && !filepath.IsAbs(argv[0]) {
		return fmt.Errorf("program %q for inflating layers: want an absolute path", argv[0])
	}
	return nil
}

// gunzip inflates as inflate does, by the program of Options. It is faster, and
// only that: on errDeclined, for whatever reason, it has written something that
// does not count, and r is at its end.
//
// Programs ignore what follows the last member of a gzip stream. So they get
// one more, a seal, and have to give its content back behind everything else.
func (s *Store) gunzip(ctx context.Context, r *io.PipeReader, w io.Writer) error {
	src := &transfer{r: r}
	in := bufio.NewReaderSize(src, chunk)
	seal := newSeal()
	// Of the header the library checks more than programs do.
	head, err := in.Peek(maxHeader)
	if src.err != nil {
		return src.err
	}
	if _, herr := gzip.NewReader(bytes.NewReader(head)); !isGzip(head) || herr != nil || err != nil && !ended(err) {
		return declined(in, src)
	}

	ctx, kill := context.WithCancel(ctx)
	defer kill()
	cmd := exec.CommandContext(ctx, s.opts.Gunzip[0], s.opts.Gunzip[1:]...) //nolint:gosec // an absolute path, and no shell
	cmd.Env = []string{}                                                    // some take options from there
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
	// Not even a child of the program's holds us up.
	stop := context.AfterFunc(ctx, func() { _ = stdout.Close() })
	defer stop()
	widen(stdin)
	widen(stdout)

	fed := make(chan error, 1)
	go func() {
		_, err := io.Copy(stdin, in)
		if err == nil {
			_, err = stdin.Write(seal.member)
		}
		fed <- errors.Join(err, stdin.Close())
	}()
	sealed := &sealedWriter{w: w, seal: seal.content}
	took := s.copyBounded(sealed, stdout, sealSize)
	var failed *writeError
	if errors.Is(took, ErrTooLarge) || errors.As(took, &failed) {
		kill()
		r.CloseWithError(took) // lets both stages end
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
	case took != nil || ferr != nil || werr != nil || !sealed.intact():
		return declined(in, src)
	}
	return nil
}

// declined reads what is left, so that the other stage can complete the blob.
func declined(in io.Reader, src *transfer) error {
	_, _ = io.Copy(io.Discard, in)
	if src.err != nil {
		return src.err
	}
	return errDeclined
}

// maxHeader is how much of a stream is looked at for the header of its first
// member. Those of layers have ten bytes.
const maxHeader = 4 << 10

// seal is a gzip member that nobody can have reckoned with.
type seal struct{ member, content []byte }

// sealSize is that of its content.
const sealSize = 32

// newSeal makes one: https://www.rfc-editor.org/rfc/rfc1952#section-2.3. Its
// content is random. So is the length of its header: a header that is cut short
// at the end of a layer could otherwise claim that of the seal for itself, and
// go on with its content. The bytes in between are no zeros, which would end a
// name.
func newSeal() seal {
	random := make([]byte, sealSize+2)
	_, _ = rand.Read(random) // never fails
	content := random[:sealSize]
	extra := binary.LittleEndian.Uint16(random[sealSize:])

	b := []byte{0x1f, 0x8b, 8, 4, 0xff, 0xff, 0xff, 0xff, 0, 0xff}
	b = binary.LittleEndian.AppendUint16(b, extra)
	b = append(b, bytes.Repeat([]byte{0xff}, int(extra))...)
	b = append(b, 1, sealSize, 0, 0xff^sealSize, 0xff) // a stored block, the last one
	b = append(b, content...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(content))
	return seal{binary.LittleEndian.AppendUint32(b, sealSize), content}
}

// sealedWriter passes on what it gets but for its last sealSize bytes.
type sealedWriter struct {
	w    io.Writer
	seal []byte
	last []byte
}

func (s *sealedWriter) Write(p []byte) (int, error) {
	if len(p) < sealSize {
		s.last = append(s.last, p...)
		if more := len(s.last) - sealSize; more > 0 {
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
	if _, err := s.w.Write(p[:len(p)-sealSize]); err != nil {
		return 0, err
	}
	s.last = append(s.last[:0], p[len(p)-sealSize:]...)
	return len(p), nil
}

func (s *sealedWriter) intact() bool { return bytes.Equal(s.last, s.seal) }
