package gate

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/anchore/syft/syft/file"

	"github.com/imagegate/imagegate/policy"
)

// maxParsed bounds how much of one file a cataloger may read from the beginning on.
// Parsers of text read a file whole and make many times its size of it, so that a
// layer of a few MB, which inflates a thousandfold, would take all memory. Real lock
// files have a few MB.
const maxParsed = 32 << 20

// errParsed is what a cataloger is told that reads more. It must not read like a fault
// of the machine, see machineFaults.
var errParsed = fmt.Errorf("more than %d bytes: not parsed", maxParsed)

// streamed matches the files that catalogers read in pieces, or copy to disk: archives
// and databases.
var streamed = regexp.MustCompile(`(?i)(\.(jar|war|ear|par|sar|nar|kar|jpi|hpi|rar|far|zap|lpkg|zip|tar|t?gz|t?bz2?|tbr|t?xz|t?lz4|t?sz|t?zstd?|br|` +
	`rpm|deb|apk|whl|egg|ko|sqlite|db|gguf|safetensors)|/Packages|/vmlinu[xz][^/]*|/bzImage[^/]*|/kernel[^/]*)$`)

// text matches the names of files that are parsed whole, whatever is in them. A file
// of another name that is an executable is searched in pieces.
var text = regexp.MustCompile(`(?i)(\.(rockspec|json|lock|yaml|yml|toml|xml|txt|mod|gemspec|opam|pl|py|hcl|cfg|plist|app|reg|resolved|` +
	`freeze|lockfile|php|list|control|pom|nix|drv|props|config)|opam|/(DESCRIPTION|METADATA|PKG-INFO|RECORD|CONTENTS|status|installed|release|manifest))$`)

// executables are the media types of files that are searched in pieces.
var executables = []string{"application/x-executable", "application/x-sharedlib", "application/x-elf", "application/x-object",
	"application/x-pie-executable", "application/x-coredump", "application/x-mach-binary", "application/vnd.microsoft.portable-executable"}

// largeFiles bounds what catalogers read, and keeps what they did not.
type largeFiles struct {
	mu    sync.Mutex
	found map[policy.Location]bool
}

// bound bounds the reading of a file.
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
			l.found = map[policy.Location]bool{}
		}
		l.found[policy.Location{Path: at.RealPath, Layer: at.FileSystemID}] = true
		return false
	})
	b := bounded{ReadCloser: content, left: maxParsed, allowed: allowed}
	if all, ok := content.(sizedProgram); ok {
		return &boundedProgram{bounded: b, all: all}
	}
	return &b
}

// unknowns adds the files that were not read to what the catalogers said themselves:
// some take a file that cannot be read to its end for one that has ended.
func (l *largeFiles) unknowns(said []policy.Unknown) []policy.Unknown {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := range l.found {
		if !slices.ContainsFunc(said, func(u policy.Unknown) bool { return u.Location == at && strings.Contains(u.Reason, errParsed.Error()) }) {
			said = append(said, policy.Unknown{Location: at, Reason: errParsed.Error()})
		}
	}
	slices.SortFunc(said, compareUnknowns)
	return said
}

// bounded is a file of which only the beginning can be read.
type bounded struct {
	io.ReadCloser
	left    int64
	allowed func() bool // to read on
}

// Read fails behind the bound.
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

// sizedProgram is what syft asks of a program; without any of it, it reads the program
// whole.
type sizedProgram interface {
	program
	Size() int64
}

// boundedProgram bounds only reading from the beginning on.
type boundedProgram struct {
	bounded
	all sizedProgram
}

// ReadAt reads a piece.
func (b *boundedProgram) ReadAt(p []byte, off int64) (int, error) { return b.all.ReadAt(p, off) }

// Size is the file's.
func (b *boundedProgram) Size() int64 { return b.all.Size() }

// Seek begins again.
func (b *boundedProgram) Seek(offset int64, whence int) (int64, error) {
	b.left = maxParsed
	return b.all.Seek(offset, whence)
}
