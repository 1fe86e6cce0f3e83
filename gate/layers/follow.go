package layers

import (
	"errors"
	"io"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Index reads the archive that a layer inflates to while it is still being
// inflated. Reading waits for bytes that have not come yet, ends with io.EOF behind
// the last one, and fails when the layer turns out to be something else than was
// promised, or has to be inflated once more; then Index is called again. It is
// called for several layers at once.
//
// What is read has not been verified: nothing may come of it before Fetch has
// returned without an error.
type Index func(diffID v1.Hash, archive io.ReaderAt)

// errGivenUp is what an Index reads of a file that will not be kept.
var errGivenUp = errors.New("the layer is not what was promised, or is inflated again")

// follower is an Index at work on a file that is being written.
type follower struct {
	growing growing
	done    chan struct{}
}

// follow has the index read what is written to the file, in a goroutine of its own.
// Without an index it does nothing.
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

// complete lets the index read to the end, and waits for that. Nothing more may be
// written.
func (f *file) complete() error { return f.follower.end(io.EOF) }

// abandon ends the index, and waits for that; after complete it does nothing.
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

// growing is a file of which more and more can be read.
type growing struct {
	f *os.File

	mu   sync.Mutex
	more sync.Cond
	size int64 // of what is there
	err  error // behind that; nil while there may be more
}

// grow says that so many bytes have come.
func (g *growing) grow(n int) {
	g.mu.Lock()
	g.size += int64(n)
	g.mu.Unlock()
	g.more.Broadcast()
}

// end says that nothing more will come, unless that was said already.
func (g *growing) end(with error) (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if first = g.err == nil; first {
		g.err = with
		g.more.Broadcast()
	}
	return first
}

// ReadAt waits until all of p can be read, or nothing more will come.
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
