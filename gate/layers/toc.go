package layers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A layer may have a table of contents (TOC) in addition to its archive. Nodes with lazy pulling
// run the files in the TOC and never read the archive, but only the archive was cataloged. So both
// must list the same files. The formats are eStargz and zstd:chunked:
// https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
// https://github.com/containers/storage/blob/main/docs/containers-storage-zstd-chunked.md
const (
	stargzDigest = "containerd.io/snapshot/stargz/toc.digest"
	stargzTable  = "stargz.index.json" // the name of the file that holds the TOC in an eStargz blob
	stargzMagic  = "STARGZ"
)

// chunkedPrefixes are the current and the former prefix of the annotations of zstd:chunked.
var chunkedPrefixes = []string{"io.github.containers.zstd-chunked.", "io.containers.zstd-chunked."}

// chunkedMagics are the possible last bytes of a zstd:chunked blob.
var chunkedMagics = []string{"GNUlInUx", "GnUlInUx"}

// maxTable limits a decompressed table of contents, in bytes.
const maxTable = 128 << 20

// checkLazy refuses annotations that make a node with lazy pulling run files that differ from the
// layers. containerd passes every annotation with snapshotterPrefix to its snapshotter. checkLazy
// accepts the annotation of eStargz, because CheckTOC compares its table of contents with the
// layer.
//
// checkLazy also accepts the SOCI annotation in the manifest of an image. It has no effect unless
// that SOCI index is in the same repository. The caller must ensure that the approved repository
// gets no unchecked SOCI index.
func checkLazy(what string, digest v1.Hash, annotations map[string]string) error {
	const snapshotterPrefix, sociPrefix = "containerd.io/snapshot/", "com.amazon.soci."
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if key == SOCIIndex && what == "manifest" {
			if _, err := v1.NewHash(annotations[key]); err != nil {
				return refuse("invalid annotation %[2]q of manifest %[1]s: %[3]q is not a digest", digest, key, annotations[key])
			}
			continue
		}
		if strings.HasPrefix(key, sociPrefix) || strings.HasPrefix(key, snapshotterPrefix) && key != stargzDigest {
			return refuse("%s %s has the annotation %q: nodes with lazy pulling would not use the scanned layers", what, digest, key)
		}
	}
	return nil
}

// CheckTOC verifies that the layer's tables of contents, if any, list exactly the entries of its
// archive. It checks the tables of contents that the annotations or the footer of the blob point
// to. A *RefusedError names the layer and the entry. The layer must have been fetched and not
// released.
func (l *Layer) CheckTOC() error {
	if l.store.isRecalled(l) {
		return nil // An earlier run verified the same blob with the same annotations.
	}
	blob, err := os.Open(l.store.blobPath(l.descriptor.Digest))
	if err != nil {
		return fmt.Errorf("opening layer %s: %w", l.descriptor.Digest, err)
	}
	defer blob.Close()
	info, err := blob.Stat()
	if err != nil {
		return fmt.Errorf("opening layer %s: %w", l.descriptor.Digest, err)
	}
	tables, err := tablesOf(blob, info.Size(), l.descriptor.Annotations)
	var machine *fs.PathError
	if errors.As(err, &machine) {
		return fmt.Errorf("reading layer %s: %w", l.descriptor.Digest, err)
	}
	if err != nil {
		return refuse("layer %s: %v", l.descriptor.Digest, err)
	}
	for _, t := range tables {
		if err := l.compare(t); err != nil {
			return err
		}
	}
	return nil
}

// table is a table of contents that was read from a blob.
type table struct {
	where string // the annotation or footer that points to the table of contents
	raw   []byte // the JSON of the table of contents
}

// compare returns a *RefusedError if a table of contents does not list exactly the entries of the
// layer's archive.
func (l *Layer) compare(t table) error {
	archive, err := l.store.openLayer(l.diffID)
	if err != nil {
		return err
	}
	defer archive.Close()
	var toc struct {
		Version int        `json:"version"`
		Entries []tocEntry `json:"entries"`
	}
	if err := decode(t.raw, tocShape, &toc); err != nil {
		return refuse("layer %s: parsing the table of contents of %s: %v", l.descriptor.Digest, t.where, err)
	}
	if toc.Version != 1 {
		return refuse("layer %s: the table of contents of %s has version %d, not 1", l.descriptor.Digest, t.where, toc.Version)
	}
	err = compareTOC(toc.Entries, io.NewSectionReader(archive, 0, 1<<62))
	var wrong *RefusedError
	if errors.As(err, &wrong) {
		return refuse("layer %s: the table of contents of %s differs from the archive, so nodes with lazy pulling would not run the scanned files: %s",
			l.descriptor.Digest, t.where, wrong.Reason)
	}
	if err != nil {
		return fmt.Errorf("layer %s: comparing its table of contents with the archive: %w", l.descriptor.Digest, err)
	}
	return nil
}

// tablesOf returns the tables of contents that the annotations and the footer of a blob point to.
func tablesOf(blob io.ReaderAt, size int64, annotations map[string]string) ([]table, error) {
	var out []table
	for _, prefix := range chunkedPrefixes {
		t, ok, err := annotatedTable(blob, size, prefix, annotations)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, t)
		}
	}
	tail := make([]byte, min(size, 64))
	if _, err := blob.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if offset, length, ok := stargzFooter(tail); ok {
		raw, err := stargzTOC(blob, offset, size-length)
		if err != nil {
			return nil, fmt.Errorf("reading the table of contents of the eStargz footer: %w", err)
		}
		out = append(out, table{"the eStargz footer", raw})
	}
	for _, raw := range chunkedFooters(blob, size, tail) {
		out = append(out, table{"the zstd:chunked footer", raw})
	}
	want, ok := annotations[stargzDigest]
	if !ok {
		return out, nil
	}
	i := slices.IndexFunc(out, func(t table) bool { return sha256Of(t.raw) == want })
	if i < 0 {
		return nil, fmt.Errorf("no table of contents has the digest %q of the annotation %q", want, stargzDigest)
	}
	out[i].where = fmt.Sprintf("annotation %q", stargzDigest)
	return out, nil
}

func sha256Of(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// annotatedTable reads the table of contents that the zstd:chunked annotations point to. Without
// these annotations it returns false.
func annotatedTable(blob io.ReaderAt, size int64, prefix string, annotations map[string]string) (table, bool, error) {
	position, ok := annotations[prefix+"manifest-position"]
	sum, summed := annotations[prefix+"manifest-checksum"]
	if !ok && !summed {
		return table{}, false, nil
	}
	where := fmt.Sprintf("annotation %q", prefix+"manifest-position")
	var numbers [4]int64
	fields := strings.Split(position, ":")
	for i := range numbers {
		n, err := int64(0), error(nil)
		if len(fields) == len(numbers) {
			n, err = strconv.ParseInt(fields[i], 10, 64)
		}
		if len(fields) != len(numbers) || err != nil || n < 0 {
			return table{}, false, fmt.Errorf("invalid %s: %q must have the form offset:length:length:1", where, position)
		}
		numbers[i] = n
	}
	offset, length := numbers[0], numbers[1]
	if numbers[3] != 1 || length > maxTable || offset > size || length > size-offset {
		return table{}, false, fmt.Errorf("invalid %s: %q is outside the %d bytes of the layer", where, position, size)
	}
	packed := make([]byte, length)
	if _, err := blob.ReadAt(packed, offset); err != nil && !errors.Is(err, io.EOF) {
		return table{}, false, err
	}
	if got := sha256Of(packed); got != sum {
		return table{}, false, fmt.Errorf("the table of contents of %s has digest %s, not %q", where, got, sum)
	}
	raw, err := unzstd(packed)
	if err != nil {
		return table{}, false, fmt.Errorf("decompressing the table of contents of %s: %w", where, err)
	}
	return table{where, raw}, true, nil
}

// stargzFooter parses the footer of an eStargz blob or of its predecessor format. The footer is an
// empty gzip member with the offset of the table of contents.
func stargzFooter(tail []byte) (offset, length int64, ok bool) {
	for _, size := range []int{51, 47} {
		if len(tail) < size {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(tail[len(tail)-size:]))
		if err != nil {
			continue
		}
		extra := z.Extra
		if size == 51 {
			if len(extra) < 4 || extra[0] != 'S' || extra[1] != 'G' {
				continue
			}
			extra = extra[4:]
		}
		if len(extra) != 16+len(stargzMagic) || string(extra[16:]) != stargzMagic {
			continue
		}
		// An invalid offset becomes -1, so that stargzTOC returns an error.
		if offset, err = strconv.ParseInt(string(extra[:16]), 16, 64); err != nil {
			offset = -1
		}
		return offset, int64(size), true
	}
	return 0, 0, false
}

// stargzTOC reads the table of contents of an eStargz blob. The table of contents is stored as a
// tar archive with one file.
func stargzTOC(blob io.ReaderAt, offset, end int64) ([]byte, error) {
	if offset < 0 || offset >= end {
		return nil, fmt.Errorf("offset %d is outside the layer", offset)
	}
	z, err := gzip.NewReader(io.NewSectionReader(blob, offset, end-offset))
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	tr := tar.NewReader(z)
	h, err := tr.Next()
	if err != nil {
		return nil, err
	}
	if h.Name != stargzTable || h.Size > maxTable {
		return nil, fmt.Errorf("expected the table of contents, but found file %q with %d bytes", h.Name, h.Size)
	}
	return io.ReadAll(tr)
}

// chunkedFooters reads the tables of contents that the footer of a zstd:chunked blob points to. The
// footer has 64 bytes, or 40 in an older version. Both lengths are tried. A footer whose table of
// contents is unreadable is ignored.
func chunkedFooters(blob io.ReaderAt, size int64, tail []byte) (tables [][]byte) {
	if len(tail) < 8 || !slices.Contains(chunkedMagics, string(tail[len(tail)-8:])) {
		return nil
	}
	for _, length := range []int{64, 40} {
		if len(tail) < length {
			continue
		}
		footer := tail[len(tail)-length:]
		offset, packed := binary.LittleEndian.Uint64(footer), binary.LittleEndian.Uint64(footer[8:])
		if packed > maxTable || offset > uint64(size) || packed > uint64(size)-offset {
			continue
		}
		in := make([]byte, packed)
		if _, err := blob.ReadAt(in, int64(offset)); err != nil && !errors.Is(err, io.EOF) {
			continue
		}
		if raw, err := unzstd(in); err == nil && len(raw) > 0 {
			tables = append(tables, raw)
		}
	}
	return tables
}

func unzstd(packed []byte) ([]byte, error) {
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	raw, err := io.ReadAll(io.LimitReader(z, maxTable+1))
	if err == nil && len(raw) > maxTable {
		err = fmt.Errorf("%w: the table of contents has more than %d bytes", ErrTooLarge, maxTable)
	}
	return raw, err
}

// tocEntry is an entry of a table of contents. An entry of type "chunk" is a further part of the
// preceding file. eStargz and zstd:chunked use the same field names.
type tocEntry struct {
	Type        string            `json:"type"`
	Name        string            `json:"name"`
	LinkName    string            `json:"linkName"`
	Mode        int64             `json:"mode"`
	Size        int64             `json:"size"`
	UID         int               `json:"uid"`
	GID         int               `json:"gid"`
	DevMajor    int64             `json:"devMajor"`
	DevMinor    int64             `json:"devMinor"`
	Xattrs      map[string][]byte `json:"xattrs"`
	Digest      string            `json:"digest"`
	ChunkType   string            `json:"chunkType"`
	ChunkOffset int64             `json:"chunkOffset"`
	ChunkSize   int64             `json:"chunkSize"`
	ChunkDigest string            `json:"chunkDigest"`
}

var tocShape = shape{"version": nil, "entries": {"type": nil, "name": nil, "linkName": nil, "mode": nil, "size": nil, "uid": nil, "gid": nil,
	"devMajor": nil, "devMinor": nil, "xattrs": nil, "digest": nil, "offset": nil, "endOffset": nil, "innerOffset": nil,
	"chunkType": nil, "chunkOffset": nil, "chunkSize": nil, "chunkDigest": nil}}

var tocTypes = map[byte]string{tar.TypeReg: "reg", tar.TypeLink: "hardlink", tar.TypeSymlink: "symlink", tar.TypeDir: "dir",
	tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeFifo: "fifo"}

const tocChunk = "chunk"

// compareTOC compares a table of contents with an archive, entry by entry. eStargz and zstd:chunked
// list the entries in the order of the archive. A difference is returned as a *RefusedError.
func compareTOC(entries []tocEntry, archive io.Reader) error {
	files := map[string]bool{}
	for tr := tar.NewReader(archive); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		if h.Typeflag == tar.TypeXGlobalHeader || name == "/"+stargzTable {
			continue
		}
		if len(entries) == 0 {
			return refuse("%q is missing in the table of contents", name)
		}
		if err := checkUnique(h, name, files); err != nil {
			return err
		}
		chunks := 1
		for chunks < len(entries) && entries[chunks].Type == tocChunk {
			chunks++
		}
		if what := entries[0].differs(h, name); what != "" {
			return refuse("the table of contents lists %q with a different %s", name, what)
		}
		if err := compareContent(entries[:chunks], h, tr); err != nil {
			return err
		}
		entries = entries[chunks:]
	}
	if len(entries) > 0 {
		return refuse("%q is in the table of contents, but not at this position in the archive", entries[0].Name)
	}
	return nil
}

// checkUnique refuses names that runtimes resolve differently in the archive and in the table of
// contents. If two files have the same name, a hard link to that name means the first file in the
// archive, but the last file in the table of contents. A table of contents can have hard links to
// folders. No runtime unpacks these from an archive.
func checkUnique(h *tar.Header, name string, files map[string]bool) error {
	switch {
	case h.Typeflag == tar.TypeDir:
		return nil
	case files[name]:
		return refuse("%q is listed more than once", name)
	case h.Typeflag == tar.TypeLink && !files[path.Clean("/"+h.Linkname)]:
		return refuse("%q is a hard link to %q, which is not an earlier file in the archive", name, h.Linkname)
	}
	files[name] = true
	return nil
}

// differs compares an entry of a table of contents with a tar header. It returns the first property
// that differs, or "".
func (e *tocEntry) differs(h *tar.Header, name string) string {
	isLink := h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeSymlink
	isDevice := h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock
	attributes := map[string][]byte{}
	for key, value := range h.PAXRecords {
		if key, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			attributes[key] = []byte(value)
		}
	}
	switch {
	case path.Clean("/"+e.Name) != name:
		return fmt.Sprintf("name, %q", e.Name)
	case e.Type != tocTypes[h.Typeflag]:
		return fmt.Sprintf("type, %q", e.Type)
	case isLink && e.LinkName != h.Linkname:
		return fmt.Sprintf("target, %q", e.LinkName)
	case h.Typeflag == tar.TypeReg && e.Size != h.Size:
		return fmt.Sprintf("size, %d", e.Size)
	case e.Mode&0o7777 != h.Mode&0o7777:
		return fmt.Sprintf("mode, %o", e.Mode)
	case e.UID != h.Uid || e.GID != h.Gid:
		return fmt.Sprintf("owner, %d:%d", e.UID, e.GID)
	case isDevice && (e.DevMajor != h.Devmajor || e.DevMinor != h.Devminor):
		return fmt.Sprintf("device, %d:%d", e.DevMajor, e.DevMinor)
	case !maps.EqualFunc(e.Xattrs, attributes, bytes.Equal):
		return "extended attribute"
	}
	return ""
}

// compareContent compares the digests of a file and of its chunks in the table of contents with the
// file's content. Either the file or each of its chunks must have a digest.
func compareContent(chunks []tocEntry, h *tar.Header, content io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		if len(chunks) > 1 {
			return refuse("%q is not a regular file, but the table of contents lists chunks of content for it", h.Name)
		}
		return nil
	}
	whole, proven, done := sha256.New(), true, int64(0)
	for i, c := range chunks {
		left := h.Size - done
		size := c.ChunkSize
		if size == 0 {
			size = left
		}
		last, empty := i == len(chunks)-1, size == 0 && len(chunks) > 1
		if c.ChunkOffset != done || size < 0 || size > left || empty || last && size != left {
			return refuse("%q has an invalid chunk of %d bytes at offset %d", h.Name, c.ChunkSize, c.ChunkOffset)
		}
		part, zeros := sha256.New(), onlyZeros(true)
		if _, err := io.CopyN(io.MultiWriter(whole, part, &zeros), content, size); err != nil {
			return err
		}
		done += size
		isZeros := c.ChunkType == "zeros"
		if isZeros && !bool(zeros) || c.ChunkDigest != "" && c.ChunkDigest != fmt.Sprintf("sha256:%x", part.Sum(nil)) {
			return refuse("the content of %q at offset %d does not match the digest in the table of contents", h.Name, c.ChunkOffset)
		}
		proven = proven && (isZeros || c.ChunkDigest != "" || size == 0)
	}
	switch digest := chunks[0].Digest; {
	case digest == "" && !proven:
		return refuse("%q has no digest in the table of contents", h.Name)
	case digest != "" && digest != fmt.Sprintf("sha256:%x", whole.Sum(nil)):
		return refuse("the content of %q does not match the digest in the table of contents", h.Name)
	}
	return nil
}

// onlyZeros is a writer that records whether all written bytes were zero.
type onlyZeros bool

// Write never fails.
func (z *onlyZeros) Write(p []byte) (int, error) {
	*z = *z && onlyZeros(bytes.Count(p, []byte{0}) == len(p))
	return len(p), nil
}
