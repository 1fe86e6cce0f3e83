// Package versions compares versions of packages by the rules of their ecosystem.
//
// All functions take the type of a package URL, such as "deb" or "npm". [Compare] orders two
// versions, [CompareMinimum] compares a version with a minimum that a person wrote, and [Upgrade]
// finds the version that fixes several vulnerabilities. They return an error if a version cannot be
// compared; a caller must not treat that as "new enough".
package versions

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	pep440 "github.com/aquasecurity/go-pep440-version"
	apk "github.com/knqyf263/go-apk-version"
	deb "github.com/knqyf263/go-deb-version"
	maven "github.com/masahiro331/go-mvn-version"
)

// comparators compare versions by the type in a purl. A negative result means that a is older than
// b. Versions of other types cannot be compared.
var comparators = map[string]func(a, b string) (int, error){
	"apk":      compareAPK,
	"cargo":    compareSemantic,
	"composer": compareSemantic,
	"deb":      compareDebian,
	"gem":      compareGem,
	"golang":   compareGo,
	"hex":      compareSemantic,
	"maven":    compareMaven,
	"npm":      compareSemantic,
	"nuget":    compareSemantic,
	"pub":      compareSemantic,
	"pypi":     comparePython,
	"rpm":      compareRPM,
	"swift":    compareSemantic,
}

// Types returns the supported purl types for messages, sorted and separated by commas.
func Types() string {
	return strings.Join(slices.Sorted(maps.Keys(comparators)), ", ")
}

// Supported reports whether versions of this purl type can be compared.
func Supported(purlType string) bool { return comparators[purlType] != nil }

// Compare compares two versions by the rules of the type's ecosystem. The result is negative if a
// is older than b. It returns an error if a version cannot be compared.
func Compare(purlType, a, b string) (int, error) {
	compare, ok := comparators[purlType]
	if !ok {
		return 0, fmt.Errorf("cannot compare versions of package type %q", purlType)
	}
	for _, v := range []string{a, b} {
		if err := Check(v); err != nil {
			return 0, err
		}
	}
	return compare(a, b)
}

// CompareMinimum compares a version with a minimum in a policy. Unlike Compare, it ignores the
// epoch of the version if the minimum has none. Otherwise, every version with an epoch would be
// newer than such a minimum. In the same way, an RPM minimum without a release accepts any release.
func CompareMinimum(purlType, version, least string) (int, error) {
	if purlType == "deb" || purlType == "rpm" {
		version = withoutEpoch(version, least)
	}
	if v, release, ok := strings.Cut(version, "-"); ok && purlType == "rpm" && v != "" && !strings.ContainsAny(release, "-:") && !strings.Contains(least, "-") {
		version = v
	}
	return Compare(purlType, version, least)
}

const maxVersion = 256 // in characters

// Refuse numbers of 19 or more digits: the libraries keep numbers in an int, and not all of them
// detect an overflow.
var hugeNumber = regexp.MustCompile(`[0-9]{19}`)

// Check returns an error if v is not usable as a version: empty, too long, or with a number or a
// character that the libraries cannot handle.
func Check(v string) error {
	switch {
	case v == "":
		return errors.New("the version is missing")
	case len(v) > maxVersion:
		return fmt.Errorf("the version is longer than %d characters", maxVersion)
	case hugeNumber.MatchString(v):
		return fmt.Errorf("the version %q contains a number that is too large", v)
	case strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("the version %q contains an invalid character", v)
	}
	return nil
}

// withoutEpoch removes the epoch of a version if the minimum has none.
func withoutEpoch(version, least string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok && !strings.Contains(least, ":") {
		return rest
	}
	return version
}

// parsed compares two versions that a library parses. scheme names the version scheme in errors.
func parsed[V interface{ Compare(V) int }](scheme string, parse func(string) (V, error), a, b string) (int, error) {
	one, err := parse(a)
	if err != nil {
		return 0, notComparable(a, scheme, err)
	}
	two, err := parse(b)
	if err != nil {
		return 0, notComparable(b, scheme, err)
	}
	return one.Compare(two), nil
}

// debianVersion is a deb.Version with a method Compare on the value, as parsed requires. The
// library's type has this method only on the pointer.
type debianVersion struct{ deb.Version }

func newDebianVersion(s string) (debianVersion, error) {
	v, err := deb.NewVersion(s)
	return debianVersion{v}, err
}

// Compare returns a negative number if v is older than other.
func (v debianVersion) Compare(other debianVersion) int { return v.Version.Compare(other.Version) }

func compareDebian(a, b string) (int, error) { return parsed("Debian", newDebianVersion, a, b) }

// apkVersion matches the versions that apk accepts, see apk-package(5). The library accepts more.
var apkVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*(-r[0-9]+)?$`)

func compareAPK(a, b string) (int, error) {
	for _, v := range []string{a, b} {
		if !apkVersion.MatchString(v) {
			return 0, notComparable(v, "Alpine", errors.New("expected a version such as 1.2.3_rc1-r4"))
		}
	}
	return parsed("Alpine", apk.NewVersion, a, b)
}

func comparePython(a, b string) (int, error) { return parsed("Python", pep440.Parse, a, b) }

// compareMaven accepts only versions that begin with a digit. For Maven, every text is a version,
// even "unknown".
func compareMaven(a, b string) (int, error) {
	for _, v := range []string{a, b} {
		if !isDigit(v[0]) {
			return 0, notComparable(v, "Maven", errors.New("the version does not begin with a digit"))
		}
	}
	return parsed("Maven", maven.NewVersion, a, b)
}

// compareGo compares versions of modules and of the standard library, such as "go1.22.1".
func compareGo(a, b string) (int, error) {
	return compareSemantic(strings.TrimPrefix(a, "go"), strings.TrimPrefix(b, "go"))
}

func compareSemantic(a, b string) (int, error) { return parsed("semantic", semver.NewVersion, a, b) }

func notComparable(version, scheme string, err error) error {
	return fmt.Errorf("%q is not a valid %s version: %w", version, scheme, err)
}

// compareRPM compares the epoch, the version and the release of RPM packages.
func compareRPM(a, b string) (int, error) { return parsed("RPM", newRPMVersion, a, b) }

type rpmVersion struct {
	epoch            int
	version, release string
}

func newRPMVersion(s string) (rpmVersion, error) {
	var v rpmVersion
	if epoch, rest, ok := strings.Cut(s, ":"); ok {
		n, err := strconv.Atoi(epoch)
		if err != nil || n < 0 {
			return v, fmt.Errorf("the epoch %q is not a number", epoch)
		}
		v.epoch, s = n, rest
	}
	v.version, v.release, _ = strings.Cut(s, "-")
	if v.version == "" || !isAlphanumeric(v.version[0]) || strings.ContainsAny(v.release, "-:") || strings.Contains(v.version, ":") {
		return v, errors.New("expected [epoch:]version[-release]")
	}
	return v, nil
}

// Compare returns a negative number if v is older than other.
func (v rpmVersion) Compare(other rpmVersion) int {
	return cmp.Or(cmp.Compare(v.epoch, other.epoch), compareRPMSegments(v.version, other.version), compareRPMSegments(v.release, other.release))
}

// compareRPMSegments compares versions as the function rpmvercmp of RPM does, see
// https://github.com/rpm-software-management/rpm/blob/rpm-4.19.1-release/rpmio/rpmvercmp.c.
func compareRPMSegments(a, b string) int {
	separator := func(r rune) bool { return r != '~' && r != '^' && (r >= 0x80 || !isAlphanumeric(byte(r))) }
	for {
		a, b = strings.TrimLeftFunc(a, separator), strings.TrimLeftFunc(b, separator)
		// "~" sorts before everything, even the end of the version. "^" sorts after the end and
		// before everything else.
		switch tildeA, tildeB := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~"); {
		case tildeA && tildeB:
			a, b = a[1:], b[1:]
			continue
		case tildeA:
			return -1
		case tildeB:
			return 1
		}
		if a == "" || b == "" {
			return cmp.Compare(len(a), len(b))
		}
		switch caretA, caretB := strings.HasPrefix(a, "^"), strings.HasPrefix(b, "^"); {
		case caretA && caretB:
			a, b = a[1:], b[1:]
			continue
		case caretA:
			return -1
		case caretB:
			return 1
		}
		numeric := isDigit(a[0])
		if numeric != isDigit(b[0]) {
			if numeric {
				return 1
			}
			return -1
		}
		var one, two string
		one, a = cutSegment(a, numeric)
		two, b = cutSegment(b, numeric)
		if numeric {
			one, two = strings.TrimLeft(one, "0"), strings.TrimLeft(two, "0")
			if c := cmp.Compare(len(one), len(two)); c != 0 {
				return c
			}
		}
		if c := strings.Compare(one, two); c != 0 {
			return c
		}
	}
}

// cutSegment splits s after its leading digits if numeric is true, and after its leading letters
// otherwise.
func cutSegment(s string, numeric bool) (segment, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool {
		return r >= 0x80 || !isAlphanumeric(byte(r)) || isDigit(byte(r)) != numeric
	})
	if end < 0 {
		return s, ""
	}
	return s[:end], s[end:]
}

func isDigit(c byte) bool        { return '0' <= c && c <= '9' }
func isAlphanumeric(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
