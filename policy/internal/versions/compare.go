// Package versions compares versions of packages by the rules of their ecosystem.
//
// [Compare] takes the type of a package URL, such as "deb" or "npm". It returns an error if the
// type or one of the versions cannot be compared; a caller must not treat that as "new enough".
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

// comparators compare a package's version with the minimum of a policy, by the type in its purl. A
// negative result means older. Versions of other types cannot be compared.
var comparators = map[string]func(version, least string) (int, error){
	"apk":      compareAPK,
	"cargo":    compareSemantic,
	"composer": compareSemantic,
	"deb":      compareDebian,
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

// Types lists the supported types for messages.
func Types() string {
	return strings.Join(slices.Sorted(maps.Keys(comparators)), ", ")
}

// Supported reports whether versions of a purl's type can be compared.
func Supported(purlType string) bool { return comparators[purlType] != nil }

// Compare compares by the rules of the type's ecosystem. It returns an error if a version
// cannot be compared.
func Compare(purlType, version, least string) (int, error) {
	compare, ok := comparators[purlType]
	if !ok {
		return 0, fmt.Errorf("cannot compare versions of package type %q", purlType)
	}
	for _, v := range []string{version, least} {
		if err := Check(v); err != nil {
			return 0, err
		}
	}
	return compare(version, least)
}

const maxVersion = 256 // characters

// The libraries keep numbers in an int, and not all of them detect an overflow.
var hugeNumber = regexp.MustCompile(`[0-9]{19}`)

// Check returns an error if v is not usable as a version: empty, too long, or with a number or a
// character that the libraries cannot handle.
func Check(v string) error {
	switch {
	case v == "":
		return errors.New("there is no version")
	case len(v) > maxVersion:
		return fmt.Errorf("a version is longer than %d characters", maxVersion)
	case hugeNumber.MatchString(v):
		return fmt.Errorf("%q has too large a number in it", v)
	case strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("%q has a character in it that no version has", v)
	}
	return nil
}

// withoutEpoch removes the epoch of a version if the minimum has none. A version with an epoch is
// newer than any version without one, so every version with an epoch would pass. Without it, no
// older version passes.
func withoutEpoch(version, least string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok && !strings.Contains(least, ":") {
		return rest
	}
	return version
}

func compareDebian(version, least string) (int, error) {
	a, err := deb.NewVersion(withoutEpoch(version, least))
	if err != nil {
		return 0, notComparable(version, "Debian", err)
	}
	b, err := deb.NewVersion(least)
	if err != nil {
		return 0, notComparable(least, "Debian", err)
	}
	return a.Compare(b), nil
}

// apkVersion is the syntax that apk accepts, see apk-package(5). The library accepts more.
var apkVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*(-r[0-9]+)?$`)

func compareAPK(version, least string) (int, error) {
	for _, v := range []string{version, least} {
		if !apkVersion.MatchString(v) {
			return 0, notComparable(v, "Alpine", errors.New("want one such as 1.2.3_rc1-r4"))
		}
	}
	a, err := apk.NewVersion(version)
	if err != nil {
		return 0, notComparable(version, "Alpine", err)
	}
	b, err := apk.NewVersion(least)
	if err != nil {
		return 0, notComparable(least, "Alpine", err)
	}
	return a.Compare(b), nil
}

func comparePython(version, least string) (int, error) {
	a, err := pep440.Parse(version)
	if err != nil {
		return 0, notComparable(version, "Python", err)
	}
	b, err := pep440.Parse(least)
	if err != nil {
		return 0, notComparable(least, "Python", err)
	}
	return a.Compare(b), nil
}

// compareMaven accepts only versions that begin with a digit. For Maven, every text is a version,
// even "unknown".
func compareMaven(version, least string) (int, error) {
	for _, v := range []string{version, least} {
		if !isDigit(v[0]) {
			return 0, notComparable(v, "Maven", errors.New("does not begin with a digit"))
		}
	}
	a, err := maven.NewVersion(version)
	if err != nil {
		return 0, notComparable(version, "Maven", err)
	}
	b, err := maven.NewVersion(least)
	if err != nil {
		return 0, notComparable(least, "Maven", err)
	}
	return a.Compare(b), nil
}

// compareGo compares versions of modules and of the standard library, such as "go1.22.1".
func compareGo(version, least string) (int, error) {
	return compareSemantic(strings.TrimPrefix(version, "go"), strings.TrimPrefix(least, "go"))
}

func compareSemantic(version, least string) (int, error) {
	a, err := semver.NewVersion(version)
	if err != nil {
		return 0, notComparable(version, "semantic", err)
	}
	b, err := semver.NewVersion(least)
	if err != nil {
		return 0, notComparable(least, "semantic", err)
	}
	return a.Compare(b), nil
}

func notComparable(version, scheme string, err error) error {
	return fmt.Errorf("%q is not a valid %s version: %w", version, scheme, err)
}

// compareRPM compares epoch, version and release. If the minimum has no release, any release
// passes.
func compareRPM(version, least string) (int, error) {
	a, err := newRPMVersion(withoutEpoch(version, least))
	if err != nil {
		return 0, notComparable(version, "RPM", err)
	}
	b, err := newRPMVersion(least)
	if err != nil {
		return 0, notComparable(least, "RPM", err)
	}
	c := cmp.Or(cmp.Compare(a.epoch, b.epoch), compareRPMSegments(a.version, b.version))
	if c == 0 && b.release != "" {
		c = compareRPMSegments(a.release, b.release)
	}
	return c, nil
}

type rpmVersion struct {
	epoch            int
	version, release string
}

func newRPMVersion(s string) (rpmVersion, error) {
	var v rpmVersion
	if epoch, rest, ok := strings.Cut(s, ":"); ok {
		n, err := strconv.Atoi(epoch)
		if err != nil || n < 0 {
			return v, fmt.Errorf("%q is not an epoch", epoch)
		}
		v.epoch, s = n, rest
	}
	v.version, v.release, _ = strings.Cut(s, "-")
	if v.version == "" || !isAlphanumeric(v.version[0]) || strings.ContainsAny(v.release, "-:") || strings.Contains(v.version, ":") {
		return v, errors.New("want [epoch:]version[-release]")
	}
	return v, nil
}

// compareRPMSegments is rpmvercmp, see
// https://github.com/rpm-software-management/rpm/blob/rpm-4.19.1-release/rpmio/rpmvercmp.c.
func compareRPMSegments(a, b string) int {
	separator := func(r rune) bool { return r != '~' && r != '^' && (r >= 0x80 || !isAlphanumeric(byte(r))) }
	for {
		a, b = strings.TrimLeftFunc(a, separator), strings.TrimLeftFunc(b, separator)
		// "~" sorts before everything, even the end. "^" sorts after the end and before everything
		// else.
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

// cutSegment splits s after its leading digits or its leading letters.
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
