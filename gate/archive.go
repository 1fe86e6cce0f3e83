package gate

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	stereoscope "github.com/anchore/stereoscope/pkg/file"
	"github.com/gabriel-vasile/mimetype"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/layers"
)

// entry is what a layer's archive has of one name.
type entry struct {
	metadata stereoscope.Metadata
	at, size int64 // where its content is
}

// archives lists what is in the layers of a run.
type archives struct {
	store *layers.Store

	mu     sync.Mutex
	listed map[v1.Hash][]entry // by diffID
}

// list is the [layers.Index] of a run's store: it lists a layer while that is
// inflated. What cannot be listed so is listed again once it is asked for.
func (a *archives) list(diffID v1.Hash, archive io.ReaderAt) {
	a.forget(diffID) // what was listed before turned out wrong
	if entries, err := listArchive(archive); err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.listed[diffID] = entries
	}
}

func (a *archives) forget(diffID v1.Hash) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.listed, diffID)
}

// drop forgets everything, once nothing more is cataloged: the store, and so this,
// lasts until the image is promoted.
func (a *archives) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.listed)
}

// open returns the entries of a layer that was fetched, and what their content is
// read from, which the caller closes.
func (a *archives) open(diffID v1.Hash) ([]entry, layers.Inflated, error) {
	f, err := a.store.Inflated(diffID)
	if err != nil {
		return nil, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	entries, ok := a.listed[diffID]
	if !ok {
		if entries, err = listArchive(f); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("layer %s: %w", diffID, err), f.Close())
		}
		a.listed[diffID] = entries
	}
	return entries, f, nil
}

// listArchive reads a tar archive's headers, and of each file the beginning, by
// which its type is known.
func listArchive(r io.ReaderAt) ([]entry, error) {
	in := &archiveReader{r: r}
	var entries []entry
	var head [sniffed]byte
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		// The tar package reads whole blocks and none ahead: this is where the
		// content begins.
		e := entry{at: in.off, size: h.Size}
		n, err := in.readAt(head[:min(sniffed, max(h.Size, 0))], in.off)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		e.metadata = metadataOf(h, head[:n])
		entries = append(entries, e)
	}
}

// sniffed is how many bytes a file's type is told by: as many as syft looks at.
const sniffed = 3072

// metadataOf says of a file what syft's own index says. The header itself is left
// out: nobody asks for it, and it is large.
func metadataOf(h *tar.Header, head []byte) stereoscope.Metadata {
	info := h.FileInfo()
	m := stereoscope.Metadata{
		FileInfo: stereoscope.ManualInfo{NameValue: info.Name(), SizeValue: info.Size(), ModeValue: info.Mode(), ModTimeValue: info.ModTime()},
		Path:     path.Clean("/" + h.Name), LinkDestination: h.Linkname,
		UserID: h.Uid, GroupID: h.Gid,
		Type: stereoscope.TypeFromTarType(h.Typeflag),
	}
	if len(head) > 0 {
		m.MIMEType, _, _ = strings.Cut(mimetype.Detect(head).String(), ";")
	}
	return m
}

// archiveReader reads an archive from front to back, skips what nobody wants to
// see, and reads a little ahead: behind most headers there is a small file.
type archiveReader struct {
	r        io.ReaderAt
	off      int64
	ahead    [8 << 10]byte
	from, to int64 // what is in ahead
}

// Read is for the headers.
func (a *archiveReader) Read(p []byte) (int, error) {
	n, err := a.readAt(p, a.off)
	a.off += int64(n)
	return n, err
}

// Seek skips content.
func (a *archiveReader) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 {
		return 0, errors.ErrUnsupported
	}
	a.off += offset
	return a.off, nil
}

func (a *archiveReader) readAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(p) > len(a.ahead) {
		return a.r.ReadAt(p, off)
	}
	var err error
	if off < a.from || off+int64(len(p)) > a.to {
		var n int
		n, err = a.r.ReadAt(a.ahead[:], off)
		a.from, a.to = off, off+int64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
	}
	n := copy(p, a.ahead[off-a.from:a.to-a.from])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
