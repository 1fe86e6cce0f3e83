package layers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Memory keeps what a run learned about a layer, for later runs. A [cache.Private] is a Memory. The
// reader must return only bytes that Put stored, because they decide which files an image has. An error
// instead of io.EOF means that bytes are missing.
type Memory interface {
	Open(key string) (io.ReadCloser, bool)
	Put(key string, write func(io.Writer) error) error
}

// Notes keep what the caller learned from the index of a layer. Without them, no layer is recalled.
type Notes struct {
	// Build identifies the code that verifies layers, and that makes and reads notes.
	Build string
	// Of returns a function that encodes the notes about a layer, or nil if there are none. The function
	// is called after the check, in the background.
	Of func(diffID v1.Hash) func() []byte
	// Use replaces the call of Index for a recalled layer. If it returns false, the layer is read.
	Use func(diffID v1.Hash, notes []byte) bool
}

// remembered is what a Memory keeps about a layer: the notes, and every part of the decompressed
// layer that was read after it was indexed. A layer is remembered only after it was verified.
type remembered struct {
	Size    int64 // of the decompressed layer
	Notes   []byte
	Extents []extent // in order, and not adjacent
}

// length returns the number of bytes in all extents.
func (m *remembered) length() (sum int64) {
	for _, e := range m.Extents {
		sum += e.Len
	}
	return sum
}

// write writes the length of the encoded fields, the fields, and the bytes of the extents in f.
func (m *remembered) write(w io.Writer, f io.ReaderAt) error {
	var fields bytes.Buffer
	if err := gob.NewEncoder(&fields).Encode(m); err != nil {
		return err
	}
	if _, err := w.Write(append(binary.AppendUvarint(nil, uint64(fields.Len())), fields.Bytes()...)); err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	for _, e := range m.Extents {
		if _, err := io.CopyBuffer(onlyWriter{w}, io.NewSectionReader(f, e.Off, e.Len), buf); err != nil {
			return err
		}
	}
	return nil
}

// onlyWriter hides other methods of a writer, so that io.CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }

var errWrongMemory = errors.New("the memory of the layer is not valid")

// read is the opposite of write. It writes the bytes of the extents to w.
func (m *remembered) read(r io.Reader, w io.Writer) error {
	in := bufio.NewReaderSize(r, 256<<10)
	if err := m.readFields(in); err != nil {
		return err
	}
	// The reader has verified all bytes only at its end, so one more byte than expected is read.
	n, err := io.Copy(w, io.LimitReader(in, m.length()+1))
	if err == nil && n != m.length() {
		return errWrongMemory
	}
	return err
}

// readFields reads everything except the bytes of the extents.
func (m *remembered) readFields(in *bufio.Reader) error {
	length, err := binary.ReadUvarint(in)
	if err != nil {
		return err
	}
	if length > maxFields {
		return errWrongMemory
	}
	fields := make([]byte, length)
	if _, err := io.ReadFull(in, fields); err != nil {
		return err
	}
	if err := gob.NewDecoder(bytes.NewReader(fields)).Decode(m); err != nil { //nolint:gosec // the memory returns only what Put stored
		return err
	}
	if !m.valid() {
		return errWrongMemory
	}
	return nil
}

// extent is a part of a decompressed layer.
type extent struct{ Off, Len int64 }

// Remembers reports whether the store has a memory.
func (s *Store) Remembers() bool { return s.opts.Memory != nil }

// memoryKey returns the key of a layer. It has everything that the verification of the layer and of
// its tables of contents depends on.
func (s *Store) memoryKey(l *Layer) string {
	annotations, err := json.Marshal(l.descriptor.Annotations) // sorts the keys
	if err != nil {
		return "" // a map of strings can always be encoded
	}
	return fmt.Sprintf("layer 2\n%s\n%s\n%s\n%d\n%s\n%s", s.opts.Notes.Build, l.descriptor.Digest, l.diffID, l.descriptor.Size, l.descriptor.MediaType, annotations)
}

// recalled is a layer that was not read in this run. Reading a part that the memory lacks reads the
// whole layer, which then serves all further reads.
type recalled struct {
	size  int64 // of the decompressed layer
	layer *Layer
	load  func() *parts // reads the parts from the memory, once
	fetch func() error  // fetches the layer, once
	seen  *seen
}

// parts are the parts of a layer that the memory has.
type parts struct {
	remembered
	path   string  // the file with the bytes of all extents
	starts []int64 // the position of each extent in the file
}

// recall looks for the layer in the memory, and reports whether it is there. ctx is for reading the
// layer later, if a part is missing.
func (s *Store) recall(ctx context.Context, l *Layer) bool {
	if s.opts.Memory == nil || s.has(layerKey(l.descriptor.Digest)) {
		return false
	}
	s.recalling.Lock() // one layer at a time, so that several layers cannot exceed the limit together
	defer s.recalling.Unlock()
	if s.recalledBytes >= maxRecalled {
		return false
	}
	key := s.memoryKey(l)
	in, ok := s.opts.Memory.Open(key)
	if !ok {
		return false
	}
	defer in.Close()
	var m remembered
	if err := m.readFields(bufio.NewReaderSize(in, 256<<10)); err != nil || m.Size > s.opts.MaxLayer || !s.opts.Notes.Use(l.diffID, m.Notes) {
		return false
	}
	s.recalledBytes += m.length()
	r := &recalled{size: m.Size, layer: l, seen: newSeen(m.Size)}
	for _, e := range m.Extents {
		r.seen.mark(e.Off, e.Len) // so that it is remembered again
	}
	r.load = sync.OnceValue(func() *parts {
		p, err := s.loadParts(key, filepath.Join(s.dir, layersDir, fmt.Sprintf("kept-%x", sha256.Sum256([]byte(key)))))
		if err != nil {
			return &parts{} // The first read fetches the layer.
		}
		return p
	})
	r.fetch = sync.OnceValue(func() error { return s.fetch(ctx, l, nil) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recalled[l.diffID], s.known[key] = r, struct{}{}
	return true
}

// loadParts reads the parts of a layer from the memory, and writes their bytes to a file, which counts
// towards MaxTotal. It leaves no file after an error.
func (s *Store) loadParts(key, path string) (_ *parts, err error) {
	in, ok := s.opts.Memory.Open(key)
	if !ok {
		return nil, errWrongMemory // removed meanwhile
	}
	defer in.Close()
	f, err := s.create(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.discard()) }()
	f.selfVerified = true // the memory authenticates the bytes
	p := &parts{path: path}
	if err := p.read(in, f); err != nil {
		return nil, err
	}
	if err := f.keep(); err != nil {
		return nil, err
	}
	p.Notes = nil
	var start int64
	for _, e := range p.Extents {
		p.starts = append(p.starts, start)
		start += e.Len
	}
	return p, nil
}

// recallAll recalls layers with the same blob. It reports whether the memory has all of them. Images
// can list a blob with different annotations, and each list was verified on its own.
func (s *Store) recallAll(ctx context.Context, same []*Layer) bool {
	for _, l := range same {
		if !s.isRecalled(l) && !s.recall(ctx, l) {
			return false
		}
	}
	return true
}

func (s *Store) isRecalled(l *Layer) bool {
	key := s.memoryKey(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.known[key]
	return ok
}

// valid reports whether the extents are in order, within the layer, and as long as the data.
func (m *remembered) valid() bool {
	var end int64
	for _, e := range m.Extents {
		if e.Off < end || e.Len <= 0 || e.Len > m.Size-e.Off {
			return false
		}
		end = e.Off + e.Len
	}
	return m.Size >= 0
}

// find returns the position in the file of the layer's bytes from off, if the memory has n of them.
func (p *parts) find(off, n int64) (int64, bool) {
	i, found := slices.BinarySearchFunc(p.Extents, off, func(e extent, off int64) int {
		switch {
		case e.Off+e.Len <= off:
			return -1
		case e.Off > off:
			return 1
		}
		return 0
	})
	if !found || off+n > p.Extents[i].Off+p.Extents[i].Len {
		return 0, false
	}
	return off - p.Extents[i].Off + p.starts[i], true
}

// open opens a recalled layer.
func (r *recalled) open() (Decompressed, error) {
	p := r.load()
	if p.path == "" {
		return &sparse{recalled: r, parts: p}, nil
	}
	f, err := os.Open(p.path)
	if err != nil {
		return nil, fmt.Errorf("opening what is kept of layer %s: %w", r.layer.diffID, err)
	}
	return &sparse{recalled: r, parts: p, kept: f}, nil
}

// sparse reads a recalled layer. It is safe for concurrent use.
type sparse struct {
	*recalled
	*parts
	kept *os.File // the file of the parts; nil if there are none
	mu   sync.Mutex
	file *os.File // the fetched layer, after a part was missing
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) { return s.read(p, off, s.seen) }

// Unrecorded implements [Decompressed].
func (s *sparse) Unrecorded() io.ReaderAt {
	return readerAt(func(p []byte, off int64) (int, error) { return s.read(p, off, nil) })
}

// readerAt is a function that implements io.ReaderAt.
type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

// read reads from the memory, or else from the fetched layer. It records the read in record.
func (s *sparse) read(p []byte, off int64, record *seen) (int, error) {
	n := min(int64(len(p)), s.size-off)
	if off < 0 || n < 0 {
		n = 0
	}
	if n == 0 {
		return 0, io.EOF
	}
	if at, ok := s.find(off, n); ok && s.kept != nil {
		return s.readKept(p, n, at)
	}
	f, err := s.fetched()
	if err != nil {
		return 0, err
	}
	record.mark(off, n)
	return f.ReadAt(p, off)
}

// readKept reads n bytes into p from the file of the parts. The file has all of them, so any error is one
// of this machine.
func (s *sparse) readKept(p []byte, n, at int64) (int, error) {
	got, err := s.kept.ReadAt(p[:n], at)
	if int64(got) < n {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // A cataloger would take io.EOF for the end of its file.
		}
		s.layer.store.miss(fmt.Errorf("reading what is kept of layer %s: %w", s.layer.diffID, err))
		return got, err
	}
	if n < int64(len(p)) {
		return got, io.EOF
	}
	return got, nil
}

// fetched fetches the layer and opens it.
func (s *sparse) fetched() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		return s.file, nil
	}
	store := s.layer.store
	if err := s.fetch(); err != nil {
		store.miss(err)
		return nil, err
	}
	f, err := os.Open(store.layerPath(s.layer.diffID))
	if err != nil {
		store.miss(err)
		return nil, err
	}
	s.file = f
	return f, nil
}

func (s *sparse) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, f := range []*os.File{s.kept, s.file} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// miss records the first error of reading a recalled layer.
func (s *Store) miss(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missed == nil {
		s.missed = err
	}
}

// Missed returns the first error of reading a layer that was recalled first. A cataloger may take such
// an error for an unreadable file, so check Missed after cataloging.
func (s *Store) Missed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.missed
}

// page is the unit of recorded reads, in bytes. It is the block size of tar, so a page has
// bytes of one file only, and the memory gets nothing of files that were not read.
const page = 512

// seen records which parts of a layer were read. It is safe for concurrent use.
type seen struct {
	size  int64
	pages []atomic.Uint64 // a bit for each page
}

func newSeen(size int64) *seen { return &seen{size, make([]atomic.Uint64, size/page/64+1)} }

func (s *seen) mark(off, n int64) {
	if s == nil || n <= 0 || off < 0 {
		return
	}
	for p := off / page; p <= min(off+n-1, s.size-1)/page; p++ {
		if word, bit := &s.pages[p/64], uint64(1)<<(p%64); word.Load()&bit == 0 {
			word.Or(bit)
		}
	}
}

// extents returns what was read, in order.
func (s *seen) extents() []extent {
	var out []extent
	for p := int64(0); p*page < s.size; p++ {
		if s.pages[p/64].Load()&(1<<(p%64)) == 0 {
			continue
		}
		n := min(page, s.size-p*page)
		if last := len(out) - 1; last >= 0 && out[last].Off+out[last].Len == p*page {
			out[last].Len += n
		} else {
			out = append(out, extent{p * page, n})
		}
	}
	return out
}

// recording is a fetched layer whose reads are recorded.
type recording struct {
	*os.File
	seen *seen
}

func (r recording) ReadAt(p []byte, off int64) (int, error) {
	r.seen.mark(off, int64(len(p)))
	return r.File.ReadAt(p, off)
}

// Unrecorded implements [Decompressed].
func (r recording) Unrecorded() io.ReaderAt { return r.File }

// record returns f, with its reads recorded if the store has a memory.
func (s *Store) record(diffID v1.Hash, f *os.File) (Decompressed, error) {
	if s.opts.Memory == nil {
		return recording{f, nil}, nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads[diffID] == nil {
		s.reads[diffID] = newSeen(info.Size())
	}
	return recording{f, s.reads[diffID]}, nil
}

const (
	// MaxEntry is the maximum number of bytes that a [Memory] gets of a layer.
	MaxEntry = maxFields + maxRemembered
	// maxRemembered is the maximum number of bytes of the layer itself. A run recalls layers until it
	// has maxRecalled bytes of them, and reads the other layers. They are on disk, not in memory.
	maxRemembered = 512 << 20
	maxRecalled   = 2 << 30
	// maxNotes is the maximum number of bytes of the notes, and maxFields of the notes and extents.
	maxNotes  = 64 << 20
	maxFields = maxNotes + 64<<20
)

// item is a layer that a Memory shall get.
type item struct {
	key   string
	file  *os.File
	notes func() []byte
	kept  remembered
}

// Remember prepares to store what the memory lacks about the layers that were fetched for cataloging.
// Call it after all images were cataloged, and before [Store.Release]. save does the work and may run
// after Release. It ends early when ctx ends, and ignores errors, which cost time in a later run but
// never correctness.
func (s *Store) Remember(ctx context.Context) (save func()) {
	if s.opts.Memory == nil {
		return func() {}
	}
	var items []item
	total := int64(0)
	for _, l := range s.catalogedLayers() {
		it, ok := s.remember(l)
		if !ok {
			continue
		}
		if total += it.kept.length(); it.kept.length() > maxRemembered || total > maxRecalled {
			_ = it.file.Close()
			continue
		}
		items = append(items, it)
	}
	return func() {
		for i := range items {
			if ctx.Err() == nil {
				items[i].save(s.opts.Memory)
			}
			_ = items[i].file.Close()
		}
	}
}

func (s *Store) catalogedLayers() []*Layer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cataloged)
}

// remember opens a fetched layer. It returns false if the layer was not fetched, because the memory had
// enough of it, or if the layer has no notes.
func (s *Store) remember(l *Layer) (item, bool) {
	notes := s.opts.Notes.Of(l.diffID)
	s.mu.Lock()
	read := s.reads[l.diffID]
	if r := s.recalled[l.diffID]; r != nil {
		read = r.seen
	}
	s.mu.Unlock()
	if notes == nil || read == nil {
		return item{}, false
	}
	f, err := os.Open(s.layerPath(l.diffID))
	if err != nil {
		return item{}, false
	}
	return item{s.memoryKey(l), f, notes, remembered{Size: read.size, Extents: read.extents()}}, true
}

func (it *item) save(m Memory) {
	if it.kept.Notes = it.notes(); len(it.kept.Notes) <= maxNotes {
		_ = m.Put(it.key, func(w io.Writer) error { return it.kept.write(w, it.file) })
	}
}
