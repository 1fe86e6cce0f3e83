package versions

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"
)

var (
	gemSyntax  = regexp.MustCompile(`^[0-9]+(\.[0-9A-Za-z]+)*$`)
	gemSegment = regexp.MustCompile(`[0-9]+|[A-Za-z]+`)
)

// gemVersion is a version of RubyGems, see https://docs.ruby-lang.org/en/master/Gem/Version.html. A
// version with a hyphen is refused: it can be a prerelease, or name a platform.
type gemVersion []string

func newGemVersion(s string) (gemVersion, error) {
	if !gemSyntax.MatchString(s) {
		return nil, errors.New("expected a version such as 1.2.3 or 1.2.0.rc1")
	}
	var v gemVersion
	for _, segment := range gemSegment.FindAllString(s, -1) {
		// Remove zeros before the first letter and at the end, because they have no meaning.
		if !isDigit(segment[0]) && !slices.ContainsFunc(v, isText) {
			v = v.withoutZeros()
		}
		v = append(v, segment)
	}
	return v.withoutZeros(), nil
}

func isText(segment string) bool { return !isDigit(segment[0]) }

func (v gemVersion) withoutZeros() gemVersion {
	for len(v) > 0 && strings.Trim(v[len(v)-1], "0") == "" {
		v = v[:len(v)-1]
	}
	return v
}

// Compare returns a negative number if v is older than other. Text sorts before numbers, and a
// missing segment is a zero.
func (v gemVersion) Compare(other gemVersion) int {
	for i := range max(len(v), len(other)) {
		a, b := "0", "0"
		if i < len(v) {
			a = v[i]
		}
		if i < len(other) {
			b = other[i]
		}
		if c := compareGemSegments(a, b); c != 0 {
			return c
		}
	}
	return 0
}

func compareGemSegments(a, b string) int {
	switch numberA, numberB := isDigit(a[0]), isDigit(b[0]); {
	case numberA && numberB:
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	case numberA:
		return 1
	case numberB:
		return -1
	}
	return strings.Compare(a, b)
}

func compareGem(a, b string) (int, error) { return parsed("RubyGems", newGemVersion, a, b) }
