package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/names"
)

// Image is the name of a repository with all its equivalent spellings, such as
// docker.io/library/nginx and nginx.
type Image struct {
	local     bool
	spellings []string
}

// NewImage returns all spellings of a repository name.
func NewImage(repository string) Image {
	canonical := names.Canonical(repository)
	return Image{local: names.IsLocal(canonical), spellings: names.Spellings(canonical)}
}

// ImagePattern matches repositories. An image outside a registry matches only a pattern that begins
// with its transport, such as "oci:*", or the pattern "*". A pattern for a repository does not
// match a local folder of the same name.
type ImagePattern struct {
	any, local bool
	glob       Glob
}

// NewImagePattern converts a pattern to its canonical form and compiles it.
func NewImagePattern(pattern string) ImagePattern {
	pattern = names.Pattern(pattern)
	return ImagePattern{any: pattern == "*", local: names.IsLocal(pattern), glob: NewGlob(pattern)}
}

// Match reports whether the pattern matches one of the spellings of n.
func (p ImagePattern) Match(n Image) bool {
	return p.any || p.local == n.local && slices.ContainsFunc(n.spellings, p.glob.Match)
}

// CoversImages reports whether a pattern matches everything that the pattern other matches. A star
// in other is compared as a character.
func CoversImages(pattern, other string) bool {
	p, other := NewImagePattern(pattern), names.Pattern(other)
	return p.any || p.local == names.IsLocal(other) && p.glob.Match(other)
}

// AnyReference reports whether a reference matches one of the patterns, either as written or
// with both in canonical form.
func AnyReference(patterns []string, reference string) bool {
	bare := withoutTag(reference)
	tag, n := reference[len(bare):], NewImage(bare)
	return Any(patterns, reference) || slices.ContainsFunc(patterns, func(pattern string) bool {
		p := NewImagePattern(pattern)
		return p.local == n.local && slices.ContainsFunc(n.spellings, func(s string) bool { return p.glob.Match(s + tag) })
	})
}

// Advice returns a warning about a pattern with a tag, a digest or a spelling that is not
// canonical, or "". owner names the part of the policy that contains the pattern, for the message.
func Advice(owner, pattern string) string {
	bare, canonical := withoutTag(pattern), names.Pattern(withoutTag(pattern))
	switch {
	case bare != pattern:
		return fmt.Sprintf("%s has a tag or digest in its pattern %q, but only the repository is compared: write %q", owner, pattern, canonical)
	case canonical != pattern:
		return fmt.Sprintf("%s has the pattern %q, whose canonical form is %q: write that form", owner, pattern, canonical)
	}
	return ""
}

// withoutTag removes a tag or digest from a pattern. A pattern with a tag or digest would match no
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
