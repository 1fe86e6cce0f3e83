package catalog

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/anchore/syft/syft/file"

	"github.com/imagegate/imagegate/policy/evidence"
)

// maxParsed is the maximum number of bytes that a cataloger may read of most files. Text parsers
// need several times the size of a file in memory, and a layer of a few MB can decompress to a
// thousand times its size. Without a limit this would exhaust memory. Real lock files have a few
// MB.
const maxParsed = 32 << 20

// errParsed is the error for a cataloger that reads beyond maxParsed. Its text must not contain the
// text of a machine fault; see machineFaults.
var errParsed = fmt.Errorf("not parsed: the file has more than %d bytes", maxParsed)

// streamed matches archives and databases: files that catalogers read in pieces or copy to disk.
var streamed = regexp.MustCompile(`(?i)(\.(jar|war|ear|par|sar|nar|kar|jpi|hpi|rar|far|zap|lpkg|zip|tar|t?gz|t?bz2?|tbr|t?xz|t?lz4|t?sz|t?zstd?|br|` +
	`rpm|deb|apk|whl|egg|ko|sqlite|db|gguf|safetensors)|/Packages|/vmlinu[xz][^/]*|/bzImage[^/]*|/kernel[^/]*)$`)

// text matches names of files that catalogers parse as a whole, even if they are executables. An
// executable with any other name is read in pieces.
var text = regexp.MustCompile(`(?i)(\.(rockspec|json|lock|yaml|yml|toml|xml|txt|mod|gemspec|opam|pl|py|hcl|cfg|plist|app|reg|resolved|` +
	`freeze|lockfile|php|list|control|pom|nix|drv|props|config)|opam|/(DESCRIPTION|METADATA|PKG-INFO|RECORD|CONTENTS|status|installed|release|manifest))$`)

// executables are the media types of executable files. Catalogers read these files in pieces.
var executables = []string{"application/x-executable", "application/x-sharedlib", "application/x-elf", "application/x-object",
	"application/x-pie-executable", "application/x-coredump", "application/x-mach-binary", "application/vnd.microsoft.portable-executable"}

// largeFiles limits how much of a file catalogers read, and records the files that were larger.
type largeFiles struct {
	mu    sync.Mutex
	found map[evidence.Location]bool
}

// bound returns a reader of a file's content that fails with errParsed after maxParsed bytes, and
// records the files that reach this limit. Archives, databases and executables have no limit.
func (l *largeFiles) bound(at file.Location, content io.ReadCloser, mimeType func() string) io.ReadCloser {
	if streamed.MatchString(at.RealPath) {
		return content
	}
	allowed := sync.OnceValue(func() bool {
		if !text.MatchString(at.RealPath) && !text.MatchString(at.AccessPath) && slices.Contains(executables, mimeType()) {
			return true
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.found == nil {
			l.found = map[evidence.Location]bool{}
		}
		l.found[evidence.Location{Path: at.RealPath, Layer: at.FileSystemID}] = true
		return false
	})
	b := bounded{ReadCloser: content, left: maxParsed, allowed: allowed}
	if all, ok := content.(sizedProgram); ok {
		return &boundedProgram{bounded: b, all: all}
	}
	return &b
}

// unknowns adds the files that were too large to the unknowns that catalogers reported, and sorts
// the result. This is needed because some catalogers treat a read error as the end of the file.
func (l *largeFiles) unknowns(listed []evidence.Unknown) []evidence.Unknown {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := range l.found {
		if !slices.ContainsFunc(listed, func(u evidence.Unknown) bool {
			return u.Location == at && strings.Contains(u.Reason, errParsed.Error())
		}) {
			listed = append(listed, evidence.Unknown{Location: at, Reason: errParsed.Error()})
		}
	}
	slices.SortFunc(listed, compareUnknowns)
	return listed
}

// bounded is a file that can be read only up to a size limit, unless allowed returns true.
type bounded struct {
	io.ReadCloser
	left    int64
	allowed func() bool // reports whether reading beyond the limit is allowed
}

// Read returns errParsed beyond the limit.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left >= 0 || errors.Is(err, io.EOF) && n == 0 {
		return n, err
	}
	if !b.allowed() {
		return 0, errParsed
	}
	return n, err
}

// sizedProgram has all methods that syft needs to read a program in pieces. If one is missing, syft
// reads the whole program into memory.
type sizedProgram interface {
	program
	Size() int64
}

// boundedProgram is a bounded file with random access. Only sequential reads are limited.
type boundedProgram struct {
	bounded
	all sizedProgram
}

// ReadAt reads from the file without a limit.
func (b *boundedProgram) ReadAt(p []byte, off int64) (int, error) { return b.all.ReadAt(p, off) }

// Size returns the size of the file.
func (b *boundedProgram) Size() int64 { return b.all.Size() }

// Seek sets the offset and resets the limit for sequential reads.
func (b *boundedProgram) Seek(offset int64, whence int) (int64, error) {
	b.left = maxParsed
	return b.all.Seek(offset, whence)
}
