package catalog

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/anchore/syft/syft/file"
)

// bundleMarker is a byte sequence in every .NET program that is a single file:
// https://github.com/dotnet/runtime/blob/v8.0.0/src/native/corehost/apphost/bundle_marker.cpp
var bundleMarker = sha256.Sum256([]byte(".net core bundle\n"))

// bundleEnd is the end of the bundle marker. Searching for bundleEnd is faster than for the whole
// marker, because its first bytes are rare in programs.
var bundleEnd = bundleMarker[13:]

// maxBundleSearch is the maximum size of a program that imagegate searches for a .NET bundle, in
// bytes. syft searches larger programs itself, up to twice that size, and reports still larger ones
// as unknown.
const maxBundleSearch = 256 << 20

// noBundle is an annotation for the location of a program without a .NET bundle marker. Only syft's
// cataloger of .NET bundles gets locations with this annotation.
const noBundle = "imagegate:no-bundle"

// isBundleSearch reports whether a search for files of these media types comes from syft's
// cataloger of .NET bundles. Only the media types identify the cataloger.
func isBundleSearch(types []string) bool {
	return len(types) == 2 && types[0] == "application/x-executable" && types[1] == "application/x-sharedlib"
}

// searchBundles annotates the programs that contain no .NET bundle. syft would read each of these
// programs into one buffer, which was a quarter of all memory that cataloging allocated. The
// results of syft do not change: it still gets every program, and the errors for unreadable ones.
func (r *quickResolver) searchBundles(programs []file.Location) []file.Location {
	buf := make([]byte, 256<<10)
	for i, p := range programs {
		if rc, err := r.Resolver.FileContentsByLocation(p); err == nil {
			if !r.search(rc, buf) {
				programs[i] = p.WithAnnotation(noBundle, "true")
			}
			_ = rc.Close() // A close error is harmless: the file is only read, and syft reports a read error later.
		}
	}
	return programs
}

// searchable is a file that keeps the result of a search.
type searchable interface {
	Search(find func(io.Reader) bool) bool
}

// search reports whether a program may contain the .NET bundle marker.
func (r *quickResolver) search(content io.Reader, buf []byte) bool {
	find := func(in io.Reader) bool { return mayHold(in, buf) }
	if kept, ok := content.(searchable); ok {
		return kept.Search(find)
	}
	return find(content)
}

// mayHold reports whether r may contain the .NET bundle marker. If r is too large or unreadable,
// mayHold returns true, because it cannot rule out the marker. buf is the read buffer.
func mayHold(r io.Reader, buf []byte) bool {
	kept := 0 // bytes kept from the end of the previous piece, where a marker may begin
	for total := 0; ; {
		n, err := io.ReadFull(r, buf[kept:])
		if total += n; total > maxBundleSearch || bytes.Contains(buf[:kept+n], bundleEnd) {
			return true
		}
		if err != nil {
			return !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
		}
		kept = copy(buf, buf[len(buf)-len(bundleEnd)+1:])
	}
}

// FileContentsByLocation opens a file. For most files, catalogers can read only the first maxParsed
// bytes.
func (r *quickResolver) FileContentsByLocation(l file.Location) (io.ReadCloser, error) {
	rc, err := r.Resolver.FileContentsByLocation(l)
	if err == nil && isRelease(l) {
		return rewriteRelease(rc), nil
	}
	if err == nil && r.large != nil {
		rc = r.large.bound(l, rc, func() string { return r.mimeType(l) })
	}
	if _, ok := l.Annotations[noBundle]; !ok || err != nil {
		return rc, err
	}
	if all, ok := rc.(program); ok {
		return searched{all}, nil
	}
	return rc, nil
}

func (r *quickResolver) mimeType(l file.Location) string {
	metadata, err := r.FileMetadataByLocation(l)
	if err != nil {
		return ""
	}
	return metadata.MIMEType
}

// program has the methods that syft needs to read a program.
type program interface {
	io.ReadCloser
	io.ReaderAt
	io.Seeker
}

// searched is a program that was searched and contains no .NET bundle. syft can still read its
// headers.
type searched struct{ program }

// Size returns 1, so that syft searches only one byte for a bundle. syft does not use Size for
// anything else.
func (searched) Size() int64 { return 1 }
