package layers

import (
	"errors"
	"io"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Index is a function that reads the decompressed archive of a layer while the archive is being
// written. Reads wait for bytes that are not written yet, and return io.EOF after the last byte. If
// the layer is corrupt or must be decompressed again, reads fail. In the second case, Index is
// called again. Index is called concurrently for different layers.
//
// The content is not verified yet. Index must not use the content before Fetch has returned without
// an error.
type Index func(diffID v1.Hash, archive io.ReaderAt)

// errGivenUp is the read error of an Index whose file the store discards.
var errGivenUp = errors.New("the layer is corrupt or will be decompressed again")

// follower is a running Index and the file that the Index reads.
type follower struct {
	growing growing
	done    chan struct{}
}

// follow calls index in a goroutine. index reads the file while the file is being written. If index
// is nil, follow does nothing.
func (f *file) follow(index Index, diffID v1.Hash) error {
	if index == nil {
		return nil
	}
	in, err := os.Open(f.f.Name())
	if err != nil {
		return err
	}
	f.follower = newFollower(in)
	go func(fo *follower) {
		defer close(fo.done)
		index(diffID, &fo.growing)
	}(f.follower)
	return nil
}

// complete marks the end of the file, and waits until the Index has returned. Write must not be
// called after complete.
func (f *file) complete() error { return f.follower.end(io.EOF) }

// abandon makes the reads of the Index fail, and waits until the Index has returned. After
// complete, abandon does nothing.
func (f *file) abandon() error { return f.follower.end(errGivenUp) }

func newFollower(in *os.File) *follower {
	fo := &follower{done: make(chan struct{})}
	fo.growing.f, fo.growing.more.L = in, &fo.growing.mu
	return fo
}

func (fo *follower) end(with error) error {
	if fo == nil || !fo.growing.end(with) {
		return nil
	}
	<-fo.done
	return fo.growing.f.Close()
}

// growing is a file that can be read while it is being written.
type growing struct {
	f *os.File

	mu   sync.Mutex
	more sync.Cond
	size int64 // number of bytes written so far
	err  error // returned after the last byte; nil while the file still grows
}

// grow reports that n more bytes were written.
func (g *growing) grow(n int) {
	g.mu.Lock()
	g.size += int64(n)
	g.mu.Unlock()
	g.more.Broadcast()
}

// end marks the end of the file. Only the first call has an effect.
func (g *growing) end(with error) (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if first = g.err == nil; first {
		g.err = with
		g.more.Broadcast()
	}
	return first
}

// ReadAt waits until all bytes of p are available or the file has ended.
func (g *growing) ReadAt(p []byte, off int64) (int, error) {
	g.mu.Lock()
	for g.size < off+int64(len(p)) && g.err == nil {
		g.more.Wait()
	}
	size, end := g.size, g.err
	g.mu.Unlock()
	if errors.Is(end, errGivenUp) {
		return 0, end
	}
	n := int(min(int64(len(p)), max(size-off, 0)))
	if n < len(p) {
		p = p[:n]
	} else {
		end = nil
	}
	if _, err := g.f.ReadAt(p, off); err != nil {
		return 0, err
	}
	return n, end
}
