package versions

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Upgrade returns the lowest version that fixes every vulnerability of an installed package. fixes
// has the fixed versions of each vulnerability. Several fixed versions of one vulnerability are for
// different release lines, such as 1.25.13 and 1.26.6. Then Upgrade uses the fixed version of the
// installed release line.
//
// Versions of a type without known rules are compared if all of them are dotted numbers, which
// every ecosystem orders alike. Upgrade returns an error if the versions cannot be compared, or if
// a vulnerability has no fixed version.
func Upgrade(purlType, installed string, fixes [][]string) (string, error) {
	if len(fixes) == 0 {
		return "", errors.New("a vulnerability has no fixed version")
	}
	lists := make([]line, len(fixes))
	for i, versions := range fixes {
		l, err := sorted(purlType, versions)
		if err != nil {
			return "", err
		}
		lists[i] = l
	}
	best, err := start(purlType, installed, lists)
	if err != nil {
		return "", err
	}
	numbers := lineNumbers(lists)
	// Check the lists in turn until all of them accept the same version. A higher version can
	// belong to a newer release line, where another vulnerability was fixed later. The loop ends,
	// because every change of the version picks a higher version from the lists.
	for unchanged, i := 0, 0; unchanged < len(lists); i = (i + 1) % len(lists) {
		next, err := lists[i].fixed(purlType, best, numbers)
		if err != nil {
			return "", err
		}
		unchanged++
		if next != best {
			best, unchanged = next, 0
		}
	}
	return best, nil
}

// Highest returns the highest of several versions. It returns an error if versions is empty or if
// the versions cannot be compared.
func Highest(purlType string, versions []string) (string, error) {
	l, err := sorted(purlType, versions)
	if err != nil {
		return "", err
	}
	return l[len(l)-1], nil
}

// line has the fixed versions of one vulnerability, the lowest first.
type line []string

func sorted(purlType string, versions []string) (line, error) {
	if len(versions) == 0 {
		return nil, errors.New("the vulnerability has no fixed version")
	}
	l := slices.Clone(versions)
	var failed error
	slices.SortStableFunc(l, func(a, b string) int {
		c, err := order(purlType, a, b)
		if err != nil {
			failed = err
		}
		return c
	})
	return slices.Compact(l), failed
}

// start returns the version to begin the search with. For each vulnerability, it takes the lowest
// fixed version above the installed version, and returns the highest of these versions. If the
// installed version cannot be compared, the release line is unknown, and start takes the highest
// fixed version instead, because only the newest line is safe. If all fixed versions of a
// vulnerability are at or below the installed version, start returns an error: these fixes belong
// to other release lines.
func start(purlType, installed string, lists []line) (string, error) {
	best := ""
	for _, l := range lists {
		pick, older := l[len(l)-1], false
		for _, v := range l {
			c, err := order(purlType, v, installed)
			if older = err == nil && c <= 0; err == nil && c > 0 {
				pick = v
				break
			}
		}
		if older {
			return "", fmt.Errorf("no fixed version is above the installed version %s", installed)
		}
		if best == "" {
			best = pick
			continue
		}
		switch c, err := order(purlType, pick, best); {
		case err != nil:
			return "", err
		case c > 0:
			best = pick
		}
	}
	return best, nil
}

// lineNumbers returns how many leading numbers of a version identify its release line: one more
// than two fixes of the same vulnerability have in common. With 1.25.13 and 1.26.6 it is two,
// because these fixes show that 1.25 and 1.26 are separate release lines.
func lineNumbers(lists []line) int {
	n := 0
	for _, l := range lists {
		for i := 1; i < len(l); i++ {
			n = max(n, shared(l[i-1], l[i])+1)
		}
	}
	return n
}

// fixed returns the lowest version from at on that has the fix. A version between two fixes has the
// lower one only if both are of the same release line: numbers leading numbers are equal. Any other
// version counts as affected, because its line may have got the fix later or never.
func (l line) fixed(purlType, at string, numbers int) (string, error) {
	lower := ""
	for _, v := range l {
		switch c, err := order(purlType, at, v); {
		case err != nil:
			return "", err
		case c == 0:
			return at, nil
		case c > 0:
			lower = v
		case lower != "" && shared(at, lower) >= numbers:
			return at, nil
		default:
			return v, nil
		}
	}
	return at, nil
}

// order compares versions by the rules of the type. If that fails, it compares them as dotted
// numbers.
func order(purlType, a, b string) (int, error) {
	if a == b {
		return 0, nil
	}
	c, err := Compare(purlType, a, b)
	if err == nil {
		return c, nil
	}
	one, okA := dotted(a)
	two, okB := dotted(b)
	if !okA || !okB {
		return 0, err
	}
	return gemVersion(one).withoutZeros().Compare(gemVersion(two).withoutZeros()), nil
}

var (
	dottedSyntax = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)*$`)
	number       = regexp.MustCompile(`[0-9]+`)
)

// dotted splits "1.20.3" or "v1.20.3" into its numbers.
func dotted(version string) ([]string, bool) {
	if len(version) > maxVersion || !dottedSyntax.MatchString(version) {
		return nil, false
	}
	return strings.Split(strings.TrimPrefix(version, "v"), "."), true
}

// shared returns how many leading numbers of the two versions are equal.
func shared(a, b string) int {
	one, two := number.FindAllString(a, -1), number.FindAllString(b, -1)
	n := 0
	for n < len(one) && n < len(two) && one[n] == two[n] {
		n++
	}
	return n
}
