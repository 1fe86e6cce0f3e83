package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"io"
	"sync"
	_ "unsafe" // for go:linkname

	"github.com/google/licensecheck"
)

// LicenseTexts remembers which licenses license texts contain. Most texts of a rebuilt image are
// known, and then the license patterns need not be compiled. LicenseTexts is safe for concurrent use.
type LicenseTexts struct {
	patterns *Patterns
	load     func()

	mu    sync.Mutex
	known map[[sha256.Size]byte]licensecheck.Coverage
	isNew bool // true if known has texts that were not loaded
	err   error
}

// maxTexts is the maximum number of texts that are remembered. A full image has some hundred.
const maxTexts = 20_000

// maxMatches is the maximum number of matches of a text that is remembered. Ordinary texts have fewer,
// and a hostile text could have a match for every word.
const maxMatches = 64

// NewLicenseTexts returns the texts that load returns, as Encode encoded them. load is called when the
// texts are needed. If it returns nothing, no text is known.
func NewLicenseTexts(p *Patterns, load func() []byte) *LicenseTexts {
	t := &LicenseTexts{patterns: p, known: map[[sha256.Size]byte]licensecheck.Coverage{}}
	t.load = sync.OnceFunc(func() {
		data := load()
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(data) > 0 && gob.NewDecoder(bytes.NewReader(data)).Decode(&t.known) != nil {
			clear(t.known)
		}
	})
	return t
}

// IsEmpty reports whether no text is known.
func (t *LicenseTexts) IsEmpty() bool {
	t.load()
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.known) == 0
}

// Encode encodes the texts. It returns false if there is nothing that was not loaded.
func (t *LicenseTexts) Encode() ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isNew || t.err != nil || len(t.known) > maxTexts {
		return nil, false
	}
	var out bytes.Buffer
	if gob.NewEncoder(&out).Encode(t.known) != nil {
		return nil, false
	}
	t.isNew = false
	return out.Bytes(), true
}

// scan returns the licenses in a text. It compiles the license patterns if the text is not known.
func (t *LicenseTexts) scan(text []byte) licensecheck.Coverage {
	t.load()
	digest := sha256.Sum256(text)
	t.mu.Lock()
	found, ok := t.known[digest]
	t.mu.Unlock()
	if ok {
		return found
	}
	licenses, err := t.patterns.Licenses()
	if err == nil {
		found = licenses.Scan(text)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.err = err
		return found
	}
	if len(found.Match) > maxMatches {
		return found
	}
	if len(t.known) >= maxTexts {
		clear(t.known)
	}
	t.known[digest], t.isNew = found, true
	return found
}

// failed returns the error of compiling the license patterns, if it was tried.
func (t *LicenseTexts) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// in returns ctx with a license scanner that uses these texts, where syft looks for its scanner.
func (t *LicenseTexts) in(ctx context.Context) (context.Context, error) {
	s, err := newScanner(&scannerConfig{coverage: catalogConfig(Tool{}).Licenses.Coverage, scan: t.scan})
	if err != nil {
		return nil, err
	}
	return setScanner(ctx, s), nil
}

// The two functions below are syft's own. syft exports only a function that compiles all patterns at
// once, which costs more than cataloging a small image. The linker does not compare types, so
// TestScannerIsSyfts does, and TestLicensesAreSyfts compares the licenses.

// scannerConfig has the fields of syft's licenses.ScannerConfig, in the same order.
type scannerConfig struct {
	coverage float64
	scan     func([]byte) licensecheck.Coverage

	_ [8]uintptr // zero values for fields that a newer syft may add
}

// scanner stands for syft's interface licenses.Scanner, which has one method, too. Only syft calls it.
type scanner interface {
	FindEvidence(context.Context, io.Reader) (any, []byte, error)
}

//go:linkname newScanner github.com/anchore/syft/internal/licenses.NewScanner
func newScanner(*scannerConfig) (scanner, error)

//go:linkname setScanner github.com/anchore/syft/internal/licenses.SetContextLicenseScanner
func setScanner(context.Context, scanner) context.Context
