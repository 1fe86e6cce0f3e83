package trust

import "fmt"

// Format says in which form signatures and statements are stored. The zero
// value is Legacy, which works in every registry and with every consumer.
type Format uint8

const (
	// Legacy is cosign's layout of tags: sha256-<hex>.sig holds signed
	// documents, sha256-<hex>.att DSSE envelopes.
	// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
	Legacy Format = iota
	// Bundle is sigstore bundles, each a referrer of the digest; a signature is
	// a statement too.
	// https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
	Bundle
	// Both is one beside the other. Some consumers pass over the first as soon
	// as they see the second.
	Both
)

// ParseFormat reads "legacy", "bundle" or "both".
func ParseFormat(s string) (Format, error) {
	for _, f := range []Format{Legacy, Bundle, Both} {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("unknown signature format %q: want legacy, bundle or both", s)
}

// String returns what ParseFormat reads.
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

func (f Format) check() error {
	if f > Both {
		return fmt.Errorf("unknown signature %s", f)
	}
	return nil
}

func (f Format) legacy() bool { return f == Legacy || f == Both }
func (f Format) bundle() bool { return f == Bundle || f == Both }
