package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/names"
)

// imageName is a repository in all equal spellings, to be matched with patterns.
type imageName struct {
	local     bool
	spellings []string
}

func newImageName(repository string) imageName {
	canonical := names.Canonical(repository)
	return imageName{local: names.IsLocal(canonical), spellings: names.Spellings(canonical)}
}

// imagePattern matches repositories. An image outside a registry matches only a pattern that begins
// with its transport, such as "oci:*", or the pattern "*". A folder with the name of a repository
// is not that repository.
type imagePattern struct {
	any, local bool
	glob       glob
}

func newImagePattern(pattern string) imagePattern {
	pattern = names.Pattern(pattern)
	return imagePattern{any: pattern == "*", local: names.IsLocal(pattern), glob: newGlob(pattern)}
}

func (p imagePattern) match(n imageName) bool {
	return p.any || p.local == n.local && slices.ContainsFunc(n.spellings, p.glob.match)
}

// coversImages reports whether a pattern matches everything that other matches. A star in other is
// compared as a character.
func coversImages(pattern, other string) bool {
	p, other := newImagePattern(pattern), names.Pattern(other)
	return p.any || p.local == names.IsLocal(other) && p.glob.match(other)
}

// matchesReference reports whether a reference matches one of the patterns, either as written or
// with both in canonical form.
func matchesReference(patterns []string, reference string) bool {
	bare := withoutTag(reference)
	tag, n := reference[len(bare):], newImageName(bare)
	return matchesAny(patterns, reference) || slices.ContainsFunc(patterns, func(pattern string) bool {
		p := newImagePattern(pattern)
		return p.local == n.local && slices.ContainsFunc(n.spellings, func(s string) bool { return p.glob.match(s + tag) })
	})
}

// lintPattern returns a warning about a pattern, or "". owner names the part of the policy that has
// the pattern.
func lintPattern(owner, pattern string) string {
	bare, canonical := withoutTag(pattern), names.Pattern(withoutTag(pattern))
	switch {
	case bare != pattern:
		return fmt.Sprintf("%s has a tag or digest in its pattern %q, which is compared with the repository alone: write %q", owner, pattern, canonical)
	case canonical != pattern:
		return fmt.Sprintf("%s has the pattern %q, which means %q: write that", owner, pattern, canonical)
	}
	return ""
}

// withoutTag removes a tag or digest from a pattern. With one, the pattern would match no
// repository.
func withoutTag(pattern string) string {
	start := strings.LastIndexByte(pattern, '/') + 1
	if transport, _, _ := strings.Cut(pattern, ":"); names.IsLocal(pattern) {
		start = max(start, len(transport)+1)
	}
	if i := strings.IndexAny(pattern[start:], ":@"); i >= 0 {
		return pattern[:start+i]
	}
	return pattern
}

// UnmatchedImages is the treatment of an image that no scope of a policy matches.
type UnmatchedImages string

const (
	// UnmatchedAllow judges the image against the policy without scopes.
	UnmatchedAllow UnmatchedImages = ""
	// UnmatchedDeny denies the image.
	UnmatchedDeny UnmatchedImages = "deny"
)

// allowWritten is the spelling of UnmatchedAllow in a file.
const allowWritten = "allow"

func (d *decoder) unmatchedImages(p *Policy) reader {
	return scalar(d, &p.UnmatchedImages, "allow or deny", func(s string) (UnmatchedImages, error) {
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
func (e *evaluation) unmatched(image Image) {
	if e.policy.UnmatchedImages != UnmatchedDeny || e.policy.matched {
		return
	}
	e.report(Block, Violation{
		Kind: KindScope, Rule: "unmatchedImages",
		Message: fmt.Sprintf("no scope below images matches %s, and the policy denies images that none matches", quoteShort(names.Canonical(image.Repository))),
	})
}

// lintUnmatched reports a policy that denies every image because it has no scopes.
func (p *Policy) lintUnmatched() []Problem {
	if p.UnmatchedImages != UnmatchedDeny || len(p.Images) > 0 {
		return nil
	}
	return []Problem{{Position{File: p.File}, `"unmatchedImages: deny" denies every image: there are no "images"`}}
}
