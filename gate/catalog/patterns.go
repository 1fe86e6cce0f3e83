package catalog

import (
	"context"
	"fmt"
	"sync"

	"github.com/anchore/syft/syft"

	"github.com/imagegate/imagegate/gate/secrets"
)

// Patterns holds the compiled patterns for licenses and credentials. Compiling the license patterns
// takes one to two seconds, so a process should share one value. The zero value compiles the
// patterns when they are needed. Patterns is safe for concurrent use.
type Patterns struct {
	licenses struct {
		once   sync.Once
		values context.Context // a context with the license patterns, as syft expects them
		err    error
	}
	secrets struct {
		once     sync.Once
		detector *secrets.Detector
		err      error
	}
}

// Compile compiles the license patterns. Further calls return the result of the first call.
func (p *Patterns) Compile(ctx context.Context) error {
	l := &p.licenses
	l.once.Do(func() {
		l.values, l.err = syft.SetContextLicenseScanner(context.WithoutCancel(ctx), catalogConfig(Tool{}).Licenses)
	})
	if l.err != nil {
		return fmt.Errorf("compiling license patterns: %w", l.err)
	}
	return nil
}

// Secrets returns the detector of credentials.
func (p *Patterns) Secrets() (*secrets.Detector, error) {
	p.secrets.once.Do(func() { p.secrets.detector, p.secrets.err = secrets.New() })
	return p.secrets.detector, p.secrets.err
}

// licensed returns ctx with the compiled license patterns, where syft looks for them. It compiles
// the patterns if necessary.
func (p *Patterns) licensed(ctx context.Context) (context.Context, error) {
	if err := p.Compile(ctx); err != nil {
		return nil, err
	}
	return valuesOf{ctx, p.licenses.values}, nil
}

// valuesOf is a context that also has the values of another context.
type valuesOf struct {
	context.Context
	more context.Context
}

// Value looks up the key in the context first, then in more.
func (c valuesOf) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.more.Value(key)
}
