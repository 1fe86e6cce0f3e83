package filesystem

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	stereoscope "github.com/anchore/stereoscope/pkg/file"
	"github.com/gabriel-vasile/mimetype"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/layers"
)

// entry is one entry in the archive of a layer.
type entry struct {
	metadata stereoscope.Metadata
	at, size int64 // position and size of the file's content in the archive; for a sparse file, at is the position of the header
	sparse   bool
	search   *search // nil for a sparse or empty file
}

// search is the result of [Section.Search] for a file.
type search struct{ state atomic.Int32 }

const (
	notSearched = iota
	foundNothing
	foundMarker
)

// Archives keeps the file lists of the layers of one run. After Use, it is safe for concurrent use.
type Archives struct {
	store *layers.Store

	mu     sync.Mutex
	listed map[v1.Hash]listing // listings, by the diffID of their layer
	weight int64               // estimated memory for all listings, including unfinished ones
}

// listing has the entries of one layer.
type listing struct {
	entries []entry
	weight  int64
}

// maxWeight limits the estimated memory for the listings and file trees of a run, in bytes. Without
// a limit, a small layer could exhaust memory, because names compress very well. The limit is
// enough for two million files.
const maxWeight = 2 << 30

// maxName is the maximum length of a path in a layer, in bytes. Linux does not accept longer paths.
const maxName = 4096

var errTooHeavy = fmt.Errorf("%w: the file names in the layers need more than %d MiB of memory", layers.ErrTooLarge, maxWeight>>20)

// New returns an empty Archives. Call [Archives.Use] before [Archives.Stack].
func New() *Archives { return &Archives{listed: map[v1.Hash]listing{}} }

// Use sets the store that Archives reads layers from.
func (a *Archives) Use(store *layers.Store) { a.store = store }

// List implements [layers.Index]. It lists a layer while the layer is decompressed. If listing
// fails, Stack lists the layer again.
func (a *Archives) List(diffID v1.Hash, archive io.ReaderAt) {
	a.put(diffID, listing{}) // deletes the listing of an earlier, wrong decompression
	if l, err := a.read(archive); err == nil {
		a.put(diffID, l)
	}
}

// read lists an archive. It returns an error if the listings of the run would exceed maxWeight.
func (a *Archives) read(archive io.ReaderAt) (l listing, err error) {
	l.entries, err = listArchive(archive, func(weight int64) error {
		if !a.weigh(weight) {
			return errTooHeavy
		}
		l.weight += weight
		return nil
	})
	if err != nil {
		a.unweigh(l.weight)
		return listing{}, err
	}
	return l, nil
}

// weigh adds to the estimated memory for all listings. It adds nothing and returns false if the
// result would exceed maxWeight.
func (a *Archives) weigh(weight int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.weight+weight > maxWeight {
		return false
	}
	a.weight += weight
	return true
}

func (a *Archives) unweigh(weight int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.weight -= weight
}

// put replaces the listing of a layer. An empty listing deletes it.
func (a *Archives) put(diffID v1.Hash, l listing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.weight -= a.listed[diffID].weight
	if l.entries == nil {
		delete(a.listed, diffID)
	} else {
		a.listed[diffID] = l
	}
}

// Drop deletes all listings to free memory. Call it after cataloging. Otherwise the listings would
// stay in memory until the image is promoted.
func (a *Archives) Drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.listed)
	a.weight = 0
}

// open returns the entries of a fetched layer and a file with the layer's content. The caller must
// close the file.
func (a *Archives) open(diffID v1.Hash) (listing, layers.Decompressed, error) {
	f, err := a.store.Decompressed(diffID)
	if err != nil {
		return listing{}, nil, err
	}
	a.mu.Lock()
	l, ok := a.listed[diffID]
	a.mu.Unlock()
	if !ok {
		if l, err = a.read(f); err != nil {
			return listing{}, nil, errors.Join(fmt.Errorf("layer %s: %w", diffID, err), f.Close())
		}
		a.put(diffID, l)
	}
	return l, f, nil
}

// listArchive reads the headers of a tar archive, and the beginning of each file to detect its
// media type. It calls weigh with the estimated memory of every entry. An error of weigh ends the
// listing; see maxWeight.
func listArchive(r io.ReaderAt, weigh func(int64) error) ([]entry, error) {
	in := &archiveReader{r: r}
	entries := []entry{}
	var head [sniffed]byte
	before := ""
	for tr := tar.NewReader(in); ; {
		in.header = -1
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		if err := checkHeader(h); err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // skips a global header, which is not a file
		}
		// The tar package reads only whole blocks and never ahead, so the content begins at the
		// current offset.
		e := entry{at: in.off, size: h.Size, sparse: isSparse(h)}
		if !e.sparse && e.size > 0 {
			e.search = &search{}
		}
		begins := head[:min(sniffed, max(h.Size, 0))]
		var n int
		if e.sparse {
			e.at = in.header
			n, err = io.ReadFull(tr, begins)
		} else {
			n, err = in.readAt(begins, in.off)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		e.metadata = metadataOf(h, head[:n])
		weight := weightOf(e.metadata, before)
		if e.sparse && e.size <= maxSparse {
			weight += e.size
		}
		if err := weigh(weight); err != nil {
			return nil, err
		}
		before = e.metadata.Path
		entries = append(entries, e)
	}
}

// checkHeader refuses an entry that no runtime unpacks, or that runtimes unpack differently.
func checkHeader(h *tar.Header) error {
	name := path.Clean("/" + h.Name)
	if n := max(len(name), len(h.Linkname)); n > maxName {
		return refuse("a path in the archive has %d bytes, the limit is %d", n, maxName)
	}
	folder, base := path.Split(name)
	if err := checkRecords(h, name); err != nil {
		return err
	}
	switch {
	case h.Typeflag == tar.TypeXGlobalHeader:
		if strings.HasPrefix(base, whiteout) {
			return refuse("%q has the name of a whiteout but is a global header", name)
		}
	case h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0:
		return refuse("%q is the character device 0/0, which an overlay file system treats as a whiteout", name)
	case base == whiteout:
		return refuse("%q is a whiteout without a file name", name)
	case kindOf(h.Typeflag) == stereoscope.TypeIrregular:
		return refuse("%q has the unknown type %q", name, h.Typeflag)
	case strings.Contains(folder, "/"+whiteout):
		// Some runtimes treat the folder as a whiteout, others as an ordinary folder.
		return refuse("%q is in a folder that has the name of a whiteout", name)
	}
	return nil
}

// checkRecords refuses extended attributes that make an overlay file system show other files than
// the unpacked ones. It also refuses global records that apply to all following entries. Go and
// most runtimes skip such records, but other programs apply them.
func checkRecords(h *tar.Header, name string) error {
	for key, value := range h.PAXRecords {
		attribute, ok := attributeOf(key)
		if ok && isOverlay(attribute, value) {
			return refuse("%q has the attribute %q, which changes the files that an overlay file system shows", name, attribute)
		}
		if h.Typeflag == tar.TypeXGlobalHeader && (ok || slices.Contains(globalRecords, key) || strings.HasPrefix(key, "GNU.sparse.")) {
			return refuse("the global header %q sets %q for all later entries, which only some runtimes apply", name, key)
		}
	}
	return nil
}

// globalRecords are the keys of global records that change how an archive is unpacked.
var globalRecords = []string{"path", "linkpath", "size", "hdrcharset", "SCHILY.realsize", "SCHILY.filetype"}

// attributeOf returns the name of the extended attribute that a record sets. Runtimes read the
// record format of the program star. libarchive also writes its own format, with the attribute name
// encoded as in URLs.
func attributeOf(record string) (string, bool) {
	if name, ok := strings.CutPrefix(record, "SCHILY.xattr."); ok {
		return name, true
	}
	encoded, ok := strings.CutPrefix(record, "LIBARCHIVE.xattr.")
	if !ok {
		return "", false
	}
	if name, err := url.PathUnescape(encoded); err == nil {
		return name, true
	}
	return encoded, true
}

// isOverlay reports whether an attribute belongs to the kernel's overlay file system or to
// fuse-overlayfs. Such attributes redirect a folder, take the content of a file from another file,
// or turn a file into a link.
func isOverlay(attribute, value string) bool {
	namespace, name, _ := strings.Cut(attribute, ".")
	switch {
	case namespace != "trusted" && namespace != "user" && namespace != "security":
		return false
	case strings.HasPrefix(name, "overlay.") || strings.HasPrefix(name, "fuseoverlayfs."):
		return true
	}
	// fuse-overlayfs uses the value uid:gid:mode, optionally followed by the type of the file. The
	// type can turn a file into a link.
	return name == "containers.override_stat" && strings.Count(value, ":") > 2
}

// whiteout is the name prefix of an entry that removes a file of the lower layers:
// https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts
const whiteout = ".wh."

// opaque is the name of an entry that removes all files of the lower layers in its folder.
const opaque = whiteout + whiteout + ".opq"

// kindOf maps the type of an entry as stereoscope does, except for sparse and contiguous files. It
// maps these to regular files, because runtimes unpack them as regular files.
func kindOf(typeflag byte) stereoscope.Type {
	if typeflag == tar.TypeGNUSparse || typeflag == tar.TypeCont {
		return stereoscope.TypeRegular
	}
	return stereoscope.TypeFromTarType(typeflag)
}

// weightOf estimates the memory of an entry, in bytes. It counts the entry in the listing, and the
// nodes in the file tree: one for each path element that is not also in before, the path of the
// previous entry.
func weightOf(m stereoscope.Metadata, before string) int64 {
	p, common := m.Path, 0
	for common < min(len(p), len(before)) && p[common] == before[common] {
		common++
	}
	parts := 1 + strings.Count(p[common:], "/")
	return int64(256 + len(m.LinkDestination) + parts*(512+len(p)))
}

// isSparse reports whether a file is sparse: the archive omits runs of zeros, and programs restore
// them when they unpack the file.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for name := range h.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// maxSparse is the maximum size of a sparse file that is read, in bytes. Unlike other files, a
// sparse file is read into memory, and a few bytes of an archive can represent a file of any size.
const maxSparse = 128 << 20

// errSparse is the error for a sparse file larger than maxSparse. Catalogers report such a file as
// an unknown. The error text must not contain the text of a machine fault, which would be fatal.
var errSparse = errors.New("the sparse file exceeds the size limit")

// open opens the content of a file in the archive. If opening fails, the cataloger lists the file
// as an unknown.
func (e entry) open(archive io.ReaderAt) (io.ReadCloser, error) {
	if !e.sparse {
		return Section{io.NewSectionReader(archive, e.at, e.size), archive, e}, nil
	}
	if e.size > maxSparse {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", errSparse, e.size, maxSparse)
	}
	r := tar.NewReader(io.NewSectionReader(archive, e.at, math.MaxInt64-e.at))
	if _, err := r.Next(); err != nil {
		return nil, err
	}
	content := make([]byte, e.size)
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, err
	}
	all := bytes.NewReader(content)
	return Section{io.NewSectionReader(all, 0, e.size), all, entry{size: e.size}}, nil
}

// sniffed is the number of bytes that are read to detect the media type of a file, as in syft.
const sniffed = 3072

// metadataOf returns the metadata of a file as syft's own index has it. It omits the tar header,
// which is large and not used.
func metadataOf(h *tar.Header, head []byte) stereoscope.Metadata {
	h.Mode &= 0o7777 // The other bits repeat or contradict the type of the entry.
	info := h.FileInfo()
	m := stereoscope.Metadata{
		FileInfo: stereoscope.ManualInfo{NameValue: info.Name(), SizeValue: info.Size(), ModeValue: info.Mode(), ModTimeValue: info.ModTime()},
		Path:     path.Clean("/" + h.Name), LinkDestination: h.Linkname,
		UserID: h.Uid, GroupID: h.Gid,
		Type: kindOf(h.Typeflag),
	}
	if len(head) > 0 {
		m.MIMEType, _, _ = strings.Cut(mimetype.Detect(head).String(), ";")
	}
	return m
}

// block is the block size of an archive, in bytes.
const block = 512

// archiveReader reads a tar archive sequentially. It skips content that is not needed. It also
// reads some bytes ahead, because a small file follows most headers.
type archiveReader struct {
	r          io.ReaderAt
	off        int64
	prefetched [8 << 10]byte
	from, to   int64 // the range of archive offsets that the buffer prefetched holds
	header     int64 // position of the first block that was read after header was set to -1
}

// Read reads the next bytes. The tar package calls it for headers, one block each, and for the
// content of sparse files.
func (a *archiveReader) Read(p []byte) (int, error) {
	if a.header < 0 && len(p) == block {
		a.header = a.off
	}
	n, err := a.readAt(p, a.off)
	a.off += int64(n)
	return n, err
}

// Seek skips content. It supports only forward offsets from the current position.
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
	if len(p) > len(a.prefetched) {
		return a.r.ReadAt(p, off)
	}
	var err error
	if off < a.from || off+int64(len(p)) > a.to {
		var n int
		n, err = a.r.ReadAt(a.prefetched[:], off)
		a.from, a.to = off, off+int64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
	}
	n := copy(p, a.prefetched[off-a.from:a.to-a.from])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
