package policy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/policy/internal/match"
)

const (
	formatVersion = 1
	maxItems      = 10_000 // rules, and exceptions
	maxScopes     = 1000   // each scope is compiled to a policy
	maxCVSS       = 10
)

// Parse reads the policy in data. file is the name for positions; the file is not opened. The
// format is strict: one YAML document in UTF-8 of at most 1 MiB, without unknown or repeated keys,
// anchors, aliases, merge keys or tags. Every value must have the type of its key.
//
// The error is a *ParseError that lists all problems. The policy is then nil.
func Parse(file string, data []byte) (*Policy, error) {
	d := &decoder{file: file, empty: ": no image can pass without a policy"}
	p := &Policy{
		File:       file,
		Digest:     digest(data),
		Rules:      []Rule{},
		Database:   DatabaseRule{MaxAge: DefaultMaxAge},
		Exceptions: []Exception{},
	}
	if root := d.document(data); root != nil {
		d.policy(p, root)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return p, nil
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func (d *decoder) version() reader {
	var version int
	return scalar(d, &version, "a whole number", func(s string) (int, error) {
		v, err := parseCount(s)
		if err == nil && v != formatVersion {
			err = fmt.Errorf("version %d is not supported: want %d", v, formatVersion)
		}
		return v, err
	}, "!!int")
}

func (d *decoder) database(r *DatabaseRule) reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		d.mapping(n, quoted(key),
			optional("maxAge", d.duration(&r.MaxAge)),
			optional("origins", d.texts(&r.Origins, func(string) error { return nil }, "list at least one origin")),
			optional("minAdvisories", d.positive(&r.MinAdvisories)),
		)
	}
}

func (d *decoder) distribution(r *DistributionRule) reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		d.mapping(n, quoted(key),
			optional("endOfLife", d.effect(&r.EndOfLife)),
			optional("notCovered", d.effects(&r.NotCovered)),
			optional("allow", d.texts(&r.Allow, checkDistribution, "no image would be allowed")),
			optional("notAllowed", d.effect(&r.NotAllowed)),
		)
	}
}

func (d *decoder) sbom(r *SBOMRule) reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		d.mapping(n, quoted(key),
			optional("unknowns", d.effects(&r.Unknowns)),
			optional("minPackages", d.count(&r.MinPackages)),
		)
	}
}

func (d *decoder) rules(to *[]Rule, lines map[string]int) reader {
	items := d.list(maxItems, func(n *yaml.Node) {
		r := Rule{Position: d.position(n)}
		d.mapping(n, "a rule",
			mandatory("name", d.unique(&r.Name, "rule", lines)),
			optional("effect", d.effect(&r.Effect)),
			optional("severity", d.threshold(&r.Severity)),
			optional("fix", d.fix(&r.Fix)),
			optional("kev", d.yes(&r.KEV)),
			optional("epss", d.epss(&r.EPSS)),
			optional("cvss", d.number(&r.CVSS, maxCVSS)),
			optional("package", d.packageCondition(&r.Package)),
			optional("ids", d.ids(&r.IDs)),
			optional("grace", d.duration(&r.Grace)),
		)
		if r.Effect == Warn && r.Grace > 0 {
			d.problem(n, "a rule that only warns has no grace: it never blocks")
		}
		*to = append(*to, r)
	})
	return d.notEmpty(items, "a policy has at least one rule")
}

func (d *decoder) epss(to *EPSSThreshold) reader {
	return func(key, n *yaml.Node) {
		d.mapping(n, quoted(key),
			optional("score", d.number(&to.Score, 1)),
			optional("percentile", d.number(&to.Percentile, 1)),
		)
		if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
			d.problem(n, "%q is empty: want score or percentile", key.Value)
		}
	}
}

func (d *decoder) packageCondition(to *PackageCondition) reader {
	return func(key, n *yaml.Node) {
		d.mapping(n, quoted(key),
			optional("type", d.text(&to.Type)),
			optional("name", d.text(&to.Name)),
			optional("purl", d.checkedText(&to.PURL, match.CheckPURLPattern)),
		)
		if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
			d.problem(n, "%q is empty: want type, name or purl", key.Value)
		}
	}
}

func (d *decoder) ids(to *[]string) reader {
	return d.texts(to, checkID, "leave it out to match all")
}

// exceptionSection reads a list, or a mapping that contains the list and other keys.
func (d *decoder) exceptionSection(p *Policy) reader {
	list := d.exceptions(&p.Exceptions)
	return func(key, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			list(key, n)
			return
		}
		d.mapping(n, quoted(key),
			optional("maxLifetime", d.duration(&p.ExceptionsMaxLifetime)),
			optional("folder", d.checkedText(&p.ExceptionsFolder, checkFolder)),
			optional("list", list),
		)
	}
}

func (d *decoder) exceptions(to *[]Exception) reader {
	return d.list(maxItems, func(n *yaml.Node) {
		e := Exception{Position: d.position(n)}
		d.mapping(n, "an exception",
			optional("id", d.checkedText(&e.ID, checkID)),
			optional("rule", d.text(&e.Rule)),
			optional("package", d.checkedText(&e.Package, match.CheckPURLPattern)),
			optional("path", d.checkedText(&e.Path, checkPathPattern)),
			optional("image", d.text(&e.Image)),
			mandatory("reason", d.prose(&e.Reason)),
			mandatory("owner", d.text(&e.Owner)),
			optional("ticket", d.text(&e.Ticket)),
			mandatory("expires", d.date(&e.Expires)),
		)
		d.exactlyOne(n, "an exception", "id", "rule")
		if e.Path != "" && !slices.Contains(pathRules, e.Rule) {
			d.problem(n, "an exception with a path applies only to the rules %s", strings.Join(pathRules, " and "))
		}
		*to = append(*to, e)
	})
}

// exactlyOne records a problem if a mapping has none or several of these keys.
func (d *decoder) exactlyOne(n *yaml.Node, what string, names ...string) {
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
		d.problem(n, "%s has %d of the keys %s: want exactly one", what, found, strings.Join(names, ", "))
	}
}

func checkFolder(s string) error {
	if s == "." || !fs.ValidPath(s) {
		return fmt.Errorf("%q is not a folder below the policy's own, with slashes", s)
	}
	return nil
}

// unique reads text that must be unique among all values read with the same lines.
func (d *decoder) unique(to *string, what string, lines map[string]int) reader {
	read := d.text(to)
	return func(key, value *yaml.Node) {
		read(key, value)
		if *to == "" {
			return // already reported by read
		}
		if line, ok := lines[*to]; ok {
			d.problem(value, "another %s on line %d is named %q", what, line, *to)
			return
		}
		if what == "rule" && slices.Contains(builtInRules, *to) {
			d.problem(value, "%q is the name of a built-in rule, which exceptions refer to", *to)
			return
		}
		lines[*to] = value.Line
	}
}

func (d *decoder) effect(to *Effect) reader {
	return scalar(d, to, "block or warn", func(s string) (e Effect, err error) {
		return e, e.UnmarshalText([]byte(s))
	}, "!!str")
}

func (d *decoder) threshold(to *Severity) reader {
	return scalar(d, to, "a severity", func(s string) (Severity, error) {
		severity, err := ParseSeverity(s)
		if err == nil && severity == SeverityUnknown {
			err = errors.New(`"unknown" is not a minimum: findings of unknown severity match every minimum; omit the key to match all`)
		}
		return severity, err
	}, "!!str")
}

func (d *decoder) fix(to *Fixable) reader {
	return scalar(d, to, "available or unavailable", func(s string) (Fixable, error) {
		switch f := Fixable(s); f {
		case FixableYes, FixableNo:
			return f, nil
		}
		return "", fmt.Errorf("unknown fix condition %q: want %s or %s", s, FixableYes, FixableNo)
	}, "!!str")
}

func (d *decoder) baseline(to *Inheritance) reader {
	return scalar(d, to, "approved", func(s string) (Inheritance, error) {
		if s != string(InheritApproved) {
			return "", fmt.Errorf("unknown baseline %q: want %s", s, InheritApproved)
		}
		return InheritApproved, nil
	}, "!!str")
}

func (d *decoder) duration(to *time.Duration) reader {
	return scalar(d, to, "a duration with a unit, such as 5d", ParseDuration, "!!str")
}

func (d *decoder) date(to *time.Time) reader {
	return scalar(d, to, "a date, such as 2026-12-31", parseDate, "!!str", "!!timestamp")
}

const day = 24 * time.Hour

// Four digits each keep weeks and days far below an overflow.
var weeksAndDays = regexp.MustCompile(`^(?:([0-9]{1,4})w)?(?:([0-9]{1,4})d)?(.*)$`)

// ParseDuration reads the duration syntax of policies: the syntax of time.ParseDuration, with
// optional weeks and days before it, as in "1w2d12h". A day has 24 hours. The duration must be more
// than zero.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration: want one such as 36h, 5d or 1w2d", s)
	m := weeksAndDays.FindStringSubmatch(s)
	if m == nil {
		return 0, bad
	}
	weeks, _ := strconv.Atoi(m[1]) // at most four digits; an absent number is 0
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

func formatDuration(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.String()
}

// parseDate reads an RFC 3339 time, or a date, which means 00:00 UTC of that day.
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date: want one such as 2026-12-31 or 2026-12-31T12:00:00Z", s)
}

func checkID(s string) error {
	if strings.ContainsAny(s, "* \t") {
		return fmt.Errorf("%q is not the id of one vulnerability", s)
	}
	return nil
}
