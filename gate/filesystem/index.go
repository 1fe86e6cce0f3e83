package filesystem

import (
	"sync"

	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/image"
)

// indexed is a file with the properties that the file catalog stores.
type indexed struct {
	ref      file.Reference
	metadata file.Metadata
	open     file.Opener
}

// indexer adds files to the file catalog in a separate goroutine. It keeps their order.
type indexer struct {
	next []indexed
	work chan []indexed
	done sync.WaitGroup // counts the batches that are not in the file catalog yet
	end  chan struct{}  // closed when the goroutine has ended
}

const indexedAtOnce = 256

func newIndexer(catalog *image.FileCatalog, layer *image.Layer) *indexer {
	x := &indexer{work: make(chan []indexed, 8), end: make(chan struct{})}
	go func() {
		defer close(x.end)
		for files := range x.work {
			for _, f := range files {
				catalog.Index.Add(f.ref, f.metadata)
				catalog.AssociateLayer(f.ref, layer)
				catalog.AssociateOpener(f.ref, f.open)
			}
			x.done.Done()
		}
	}()
	return x
}

func (x *indexer) add(f indexed) {
	if x.next = append(x.next, f); len(x.next) == indexedAtOnce {
		x.flush()
	}
}

func (x *indexer) flush() {
	if len(x.next) == 0 {
		return
	}
	x.done.Add(1)
	x.work <- x.next
	x.next = make([]indexed, 0, indexedAtOnce)
}

// catchUp waits until the goroutine has added all files to the catalog.
func (x *indexer) catchUp() {
	x.flush()
	x.done.Wait()
}

// finish waits until the goroutine has added all files to the catalog, and then stops the
// goroutine.
func (x *indexer) finish() {
	x.catchUp()
	close(x.work)
	<-x.end
}
