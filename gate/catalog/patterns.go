package catalog

import (
	"fmt"
	"sync"

	"github.com/google/licensecheck"

	"github.com/imagegate/imagegate/gate/secrets"
)

// Patterns holds the compiled patterns for licenses and credentials. Compiling the license patterns
// takes one to two seconds, so a process should share one value. The zero value compiles the
// patterns when they are needed. Patterns is safe for concurrent use.
type Patterns struct {
	licenses struct {
		once    sync.Once
		scanner *licensecheck.Scanner
		err     error
	}
	secrets struct {
		once     sync.Once
		detector *secrets.Detector
		err      error
	}
}

// Licenses returns the scanner for license texts.
func (p *Patterns) Licenses() (*licensecheck.Scanner, error) {
	l := &p.licenses
	l.once.Do(func() { l.scanner, l.err = licensecheck.NewScanner(licensecheck.BuiltinLicenses()) })
	if l.err != nil {
		return nil, fmt.Errorf("compiling license patterns: %w", l.err)
	}
	return l.scanner, nil
}

// Secrets returns the detector of credentials.
func (p *Patterns) Secrets() (*secrets.Detector, error) {
	p.secrets.once.Do(func() { p.secrets.detector, p.secrets.err = secrets.New() })
	return p.secrets.detector, p.secrets.err
}
