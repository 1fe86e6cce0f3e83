package gate

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/anchore/syft/syft/file"
)

// .NET programs that are a single file have this in them:
// https://github.com/dotnet/runtime/blob/v8.0.0/src/native/corehost/apphost/bundle_marker.cpp
var bundleMarker = sha256.Sum256([]byte(".net core bundle\n"))

// bundleEnd is what is looked for. Unlike the first bytes of the marker, those
// of this part are rare in programs.
var bundleEnd = bundleMarker[13:]

// maxBundleSearch is how large a program may be to be searched here. syft does
// not search all of one that is larger than twice as much, and says so.
const maxBundleSearch = 256 << 20

// noBundle marks the location of a program without the marker, for the one
// cataloger that looks for it.
const noBundle = "imagegate:no-bundle"

// isBundleSearch recognises that cataloger by what it asks for.
func isBundleSearch(types []string) bool {
	return len(types) == 2 && types[0] == "application/x-executable" && types[1] == "application/x-sharedlib"
}

// searchBundles marks those programs that hold no bundle. syft would read each
// of them into one piece of memory; a quarter of all that a catalog allocates
// was that. Which programs it looks at, and what it says of those that it cannot
// read, stays as it is.
func (r *quickResolver) searchBundles(programs []file.Location) []file.Location {
	buf := make([]byte, 256<<10)
	for i, p := range programs {
		if rc, err := r.Resolver.FileContentsByLocation(p); err == nil {
			if !mayHold(rc, buf) {
				programs[i] = p.WithAnnotation(noBundle, "true")
			}
			_ = rc.Close() // of something that was read, or will be read again
		}
	}
	return programs
}

// mayHold reports whether the marker is in what r has, or could be.
func mayHold(r io.Reader, buf []byte) bool {
	kept := 0 // of the piece before
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

// FileContentsByLocation opens a file, of which only the beginning can be parsed;
// see maxParsed.
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

// program is what syft reads programs by.
type program interface {
	io.ReadCloser
	io.ReaderAt
	io.Seeker
}

// searched is a program with nothing to be found in it. Its headers are there
// to be checked as ever.
type searched struct{ program }

// Size bounds the search, and nothing else.
func (searched) Size() int64 { return 1 }
