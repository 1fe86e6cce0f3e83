package strict

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Version returns a Reader for the version of a file format, which must be want.
func (d *Decoder) Version(want int) Reader {
	var version int
	return Scalar(d, &version, "a whole number", func(s string) (int, error) {
		v, err := ParseCount(s)
		if err == nil && v != want {
			err = fmt.Errorf("version %d is not supported: expected %d", v, want)
		}
		return v, err
	}, "!!int")
}

// Unique returns a Reader for text that must be unique among all values read with the same map
// lines. lines maps each value to its line in the file.
func (d *Decoder) Unique(to *string, what string, lines map[string]int) Reader {
	read := d.Text(to)
	return func(key, value *yaml.Node) {
		read(key, value)
		if *to == "" {
			return // the reader has already reported a problem
		}
		if line, ok := lines[*to]; ok {
			d.Problem(value, "another %s on line %d is named %q", what, line, *to)
			return
		}
		lines[*to] = value.Line
	}
}

// ExactlyOne records a problem unless the mapping n has exactly one of these keys.
func (d *Decoder) ExactlyOne(n *yaml.Node, what string, names ...string) {
	if n.Kind != yaml.MappingNode {
		return
	}
	found := 0
	for i := 0; i < len(n.Content); i += 2 {
		if slices.Contains(names, n.Content[i].Value) {
			found++
		}
	}
	if found != 1 {
		d.Problem(n, "%s has %d of the keys %s: expected exactly one", what, found, strings.Join(names, ", "))
	}
}

// Positive returns a Reader for a whole number that is 1 or more.
func (d *Decoder) Positive(to *int) Reader {
	return Scalar(d, to, "a whole number", func(s string) (int, error) {
		n, err := ParseCount(s)
		if err == nil && n == 0 {
			err = fmt.Errorf("%q is not more than zero", s)
		}
		return n, err
	}, "!!int")
}

// ParseDecimal parses a decimal number that is zero or more. It refuses signs and exponents.
func ParseDecimal(s string) (float64, error) {
	if !decimal.MatchString(s) {
		return 0, fmt.Errorf("%q is not a plain decimal number", s)
	}
	return strconv.ParseFloat(s, 64)
}

// Duration returns a Reader for a duration above zero: the syntax of time.ParseDuration, with
// optional weeks and days before it.
func (d *Decoder) Duration(to *time.Duration) Reader {
	return Scalar(d, to, "a duration with a unit, such as 5d", ParseDuration, "!!str")
}

// Date returns a Reader for an RFC 3339 time, or a date, which means 00:00 UTC of that day.
func (d *Decoder) Date(to *time.Time) Reader {
	return Scalar(d, to, "a date, such as 2026-12-31", parseDate, "!!str", "!!timestamp")
}

const day = 24 * time.Hour

// Weeks and days have at most four digits each, so that their sum cannot overflow a duration.
var weeksAndDays = regexp.MustCompile(`^(?:([0-9]{1,4})w)?(?:([0-9]{1,4})d)?(.*)$`)

// ParseDuration parses the duration syntax of policies: the syntax of time.ParseDuration, with
// optional weeks and days before it, as in "1w2d12h". A day has 24 hours. The duration must be more
// than zero.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration: expected a value such as 36h, 5d or 1w2d", s)
	m := weeksAndDays.FindStringSubmatch(s)
	if m == nil {
		return 0, bad
	}
	weeks, _ := strconv.Atoi(m[1]) // at most four digits each, so Atoi cannot fail; an absent number is 0
	days, _ := strconv.Atoi(m[2])
	total := time.Duration(7*weeks+days) * day
	if rest := m[3]; rest != "" || m[0] == "" {
		d, err := time.ParseDuration(rest)
		behind := m[1] != "" || m[2] != ""
		if err != nil || behind && (strings.ContainsAny(rest[:1], "+-") || rest == "0") {
			return 0, bad
		}
		if d > math.MaxInt64-total {
			return 0, fmt.Errorf("%q is too long", s)
		}
		total += d
	}
	if total <= 0 {
		return 0, fmt.Errorf("%q is not more than zero", s)
	}
	return total, nil
}

// parseDate parses an RFC 3339 time, or a date, which means 00:00 UTC of that day.
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date: expected a value such as 2026-12-31 or 2026-12-31T12:00:00Z", s)
}
