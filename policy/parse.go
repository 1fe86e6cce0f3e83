package policy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/builtin"
	"github.com/imagegate/imagegate/policy/internal/exceptions"
	"github.com/imagegate/imagegate/policy/internal/indexed"
	"github.com/imagegate/imagegate/policy/internal/match"
)

const (
	formatVersion = 1
	maxScopes     = 1000 // a limit, because each scope is compiled to a policy
	maxCVSS       = indexed.MaxCVSS
)

// ParseDuration reads a duration in the syntax of policies, which extends time.ParseDuration with
// optional weeks and days before it, as in "1w2d12h". The duration must be more than zero.
func ParseDuration(s string) (time.Duration, error) { return strict.ParseDuration(s) }

// Parse reads the policy in data. file is the name for positions; the file is not opened. The
// format is strict: one YAML document in UTF-8 of at most 1 MiB, without unknown or repeated keys,
// anchors, aliases, merge keys or tags. Every value must have the type of its key.
//
// The error is a *ParseError that lists all problems. The policy is then nil.
func Parse(file string, data []byte) (*Policy, error) {
	d := newDecoder(file, ": no image can pass without a policy")
	p := &Policy{
		File:       file,
		Digest:     digest(data),
		Rules:      []Rule{},
		Database:   DatabaseRule{MaxAge: DefaultMaxAge},
		Exceptions: []Exception{},
	}
	if root := d.Document(data); root != nil {
		d.policy(p, root)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return p, nil
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func (d *decoder) database(r *DatabaseRule) strict.Reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		d.Mapping(n, strict.Quoted(key),
			strict.Optional("maxAge", d.Duration(&r.MaxAge)),
			strict.Optional("origins", d.Texts(&r.Origins, func(string) error { return nil }, "list at least one origin")),
			strict.Optional("minAdvisories", d.Positive(&r.MinAdvisories)),
		)
	}
}

func (d *decoder) distribution(r *DistributionRule) strict.Reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		d.Mapping(n, strict.Quoted(key),
			strict.Optional("endOfLife", d.effect(&r.EndOfLife)),
			strict.Optional("notCovered", d.effects(&r.NotCovered)),
			strict.Optional("allow", d.Texts(&r.Allow, checkDistribution, "no image would be allowed")),
			strict.Optional("notAllowed", d.effect(&r.NotAllowed)),
		)
	}
}

func (d *decoder) sbom(r *SBOMRule) strict.Reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		d.Mapping(n, strict.Quoted(key),
			strict.Optional("unknowns", d.effects(&r.Unknowns)),
			strict.Optional("minPackages", d.Count(&r.MinPackages)),
		)
	}
}

func (d *decoder) rules(to *[]Rule, lines map[string]int) strict.Reader {
	items := d.List(strict.MaxItems, func(n *yaml.Node) {
		r := Rule{Position: d.position(n)}
		d.Mapping(n, "a rule",
			strict.Mandatory("name", d.ruleName(&r.Name, lines)),
			strict.Optional("effect", d.effect(&r.Effect)),
			strict.Optional("severity", d.threshold(&r.Severity)),
			strict.Optional("fix", d.fix(&r.Fix)),
			strict.Optional("kev", d.Yes(&r.KEV)),
			strict.Optional("epss", d.epss(&r.EPSS)),
			strict.Optional("cvss", d.Number(&r.CVSS, maxCVSS)),
			strict.Optional("package", d.packageCondition(&r.Package)),
			strict.Optional("ids", d.ids(&r.IDs)),
			strict.Optional("grace", d.Duration(&r.Grace)),
		)
		if r.Effect == Warn && r.Grace > 0 {
			d.Problem(n, "a rule that only warns cannot have a grace period: it never blocks")
		}
		*to = append(*to, r)
	})
	return d.NotEmpty(items, "a policy has at least one rule")
}

func (d *decoder) epss(to *EPSSThreshold) strict.Reader {
	return func(key, n *yaml.Node) {
		d.Mapping(n, strict.Quoted(key),
			strict.Optional("score", d.Number(&to.Score, 1)),
			strict.Optional("percentile", d.Number(&to.Percentile, 1)),
		)
		if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
			d.Problem(n, "%q is empty: expected score or percentile", key.Value)
		}
	}
}

func (d *decoder) packageCondition(to *PackageCondition) strict.Reader {
	return func(key, n *yaml.Node) {
		d.Mapping(n, strict.Quoted(key),
			strict.Optional("type", d.Text(&to.Type)),
			strict.Optional("name", d.Text(&to.Name)),
			strict.Optional("purl", d.CheckedText(&to.PURL, match.CheckPURLPattern)),
		)
		if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
			d.Problem(n, "%q is empty: expected type, name or purl", key.Value)
		}
	}
}

func (d *decoder) ids(to *[]string) strict.Reader {
	return d.Texts(to, match.CheckID, "omit the key to match all")
}

// exceptionSection reads the value of exceptions: a list, or a mapping with the key list and other
// keys.
func (d *decoder) exceptionSection(p *Policy) strict.Reader {
	list := d.exceptions(&p.Exceptions)
	return func(key, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			list(key, n)
			return
		}
		d.Mapping(n, strict.Quoted(key),
			strict.Optional("maxLifetime", d.Duration(&p.ExceptionsMaxLifetime)),
			strict.Optional("folder", d.CheckedText(&p.ExceptionsFolder, checkFolder)),
			strict.Optional("list", list),
		)
	}
}

func (d *decoder) exceptions(to *[]Exception) strict.Reader {
	return d.List(strict.MaxItems, func(n *yaml.Node) {
		e := Exception{Position: d.position(n)}
		d.Mapping(n, "an exception",
			strict.Optional("id", d.CheckedText(&e.ID, match.CheckID)),
			strict.Optional("rule", d.Text(&e.Rule)),
			strict.Optional("package", d.CheckedText(&e.Package, match.CheckPURLPattern)),
			strict.Optional("path", d.CheckedText(&e.Path, exceptions.CheckPath)),
			strict.Optional("image", d.Text(&e.Image)),
			strict.Mandatory("reason", d.Prose(&e.Reason)),
			strict.Mandatory("owner", d.Text(&e.Owner)),
			strict.Optional("ticket", d.Text(&e.Ticket)),
			strict.Mandatory("expires", d.Date(&e.Expires)),
		)
		d.ExactlyOne(n, "an exception", "id", "rule")
		if e.Path != "" && !slices.Contains(builtin.Paths, e.Rule) {
			d.Problem(n, "an exception with a path applies only to the rules %s", strings.Join(builtin.Paths, " and "))
		}
		*to = append(*to, e)
	})
}

func checkFolder(s string) error {
	if s == "." || !fs.ValidPath(s) {
		return fmt.Errorf("%q is not the path of a folder below the policy's own folder, with slashes", s)
	}
	return nil
}

// ruleName reads the name of a rule. The name must be unique among all rules in names.
func (d *decoder) ruleName(to *string, names map[string]int) strict.Reader {
	read := d.Unique(to, "rule", names)
	return func(key, value *yaml.Node) {
		read(key, value)
		if slices.Contains(builtin.Excepted, *to) {
			d.Problem(value, "%q is the name of a built-in rule: choose another name", *to)
			delete(names, *to)
		}
	}
}

func (d *decoder) effect(to *Effect) strict.Reader {
	return strict.Scalar(d.Decoder, to, "block or warn", func(s string) (e Effect, err error) {
		return e, e.UnmarshalText([]byte(s))
	}, "!!str")
}

func (d *decoder) threshold(to *evidence.Severity) strict.Reader {
	return strict.Scalar(d.Decoder, to, "a severity", func(s string) (evidence.Severity, error) {
		severity, err := evidence.ParseSeverity(s)
		if err == nil && severity == evidence.SeverityUnknown {
			err = errors.New(`"unknown" is not a minimum: findings of unknown severity match every minimum; omit the key to match all`)
		}
		return severity, err
	}, "!!str")
}

func (d *decoder) fix(to *Fixable) strict.Reader {
	return strict.Scalar(d.Decoder, to, "available or unavailable", func(s string) (Fixable, error) {
		switch f := Fixable(s); f {
		case FixableYes, FixableNo:
			return f, nil
		}
		return "", fmt.Errorf("unknown fix condition %q: expected %s or %s", s, FixableYes, FixableNo)
	}, "!!str")
}

func (d *decoder) baseline(to *Inheritance) strict.Reader {
	return strict.Scalar(d.Decoder, to, "approved", func(s string) (Inheritance, error) {
		if s != string(InheritApproved) {
			return "", fmt.Errorf("unknown baseline %q: expected %s", s, InheritApproved)
		}
		return InheritApproved, nil
	}, "!!str")
}
