package policy

import (
	"fmt"

	"github.com/imagegate/imagegate/internal/names"
	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// UnmatchedImages sets what happens to an image that no scope of a policy matches.
type UnmatchedImages string

const (
	// UnmatchedAllow evaluates such an image with the policy without scopes.
	UnmatchedAllow UnmatchedImages = ""
	// UnmatchedDeny denies such an image.
	UnmatchedDeny UnmatchedImages = "deny"
)

// allowWritten is the spelling of UnmatchedAllow in a file.
const allowWritten = "allow"

func (d *decoder) unmatchedImages(p *Policy) strict.Reader {
	return strict.Scalar(d.Decoder, &p.UnmatchedImages, "allow or deny", func(s string) (UnmatchedImages, error) {
		switch s {
		case allowWritten:
			return UnmatchedAllow, nil
		case string(UnmatchedDeny):
			return UnmatchedDeny, nil
		}
		return "", fmt.Errorf("%q is neither allow nor deny", s)
	}, "!!str")
}

// unmatched denies an image that no scope of the policy matches, if the policy says so.
func (e *evaluation) unmatched() {
	if e.policy.UnmatchedImages != UnmatchedDeny || e.policy.matched {
		return
	}
	e.report(Block, Violation{
		Kind: KindScope, Rule: "unmatchedImages",
		Message: fmt.Sprintf("no scope below images matches %s, and the policy denies unmatched images", wording.Quote(names.Canonical(e.in.Image.Repository))),
	})
}
