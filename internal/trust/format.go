package trust

import "fmt"

// Format is the signature format: how signatures and statements are stored. The zero value is
// Legacy, which works with every registry and every verifier.
type Format uint8

const (
	// Legacy is cosign's layout of tags: sha256-<hex>.sig holds signed documents, and
	// sha256-<hex>.att holds DSSE envelopes.
	// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
	Legacy Format = iota
	// Bundle stores Sigstore bundles, each as a referrer of the digest. In this format, a signature
	// is also a statement.
	// https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
	Bundle
	// Both stores both formats. Some verifiers ignore the legacy format if there are bundles.
	Both
)

// ParseFormat parses "legacy", "bundle" or "both".
func ParseFormat(s string) (Format, error) {
	for _, f := range []Format{Legacy, Bundle, Both} {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("unknown signature format %q: expected legacy, bundle or both", s)
}

// String returns the name that ParseFormat accepts.
func (f Format) String() string {
	switch f {
	case Legacy:
		return "legacy"
	case Bundle:
		return "bundle"
	case Both:
		return "both"
	}
	return fmt.Sprintf("format(%d)", uint8(f))
}

// Check returns an error if the format is not one of the constants.
func (f Format) Check() error {
	if f > Both {
		return fmt.Errorf("unknown signature %s", f)
	}
	return nil
}

// HasLegacy reports whether f is Legacy or Both.
func (f Format) HasLegacy() bool { return f == Legacy || f == Both }

// HasBundle reports whether f is Bundle or Both.
func (f Format) HasBundle() bool { return f == Bundle || f == Both }
