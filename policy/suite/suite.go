// Package suite reads and checks test suites for policies. Each case of a suite has evidence and
// the decision that the policies must make about it.
//
// [Parse] reads a suite strictly, and [Case.Check] compares a decision with the expected one. The
// caller reads the policies and the files with evidence that a suite names.
package suite

import (
	"errors"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// formatVersion is the version of the file format of suites.
const formatVersion = 1

// Suite is a file of test cases for policies. It shows which decisions change when a policy is
// edited.
type Suite struct {
	File string
	// Policies lists the policy files that are evaluated together. Their paths are as in the file:
	// relative to the folder of the suite. The list is never empty.
	Policies []string
	// Cases lists the cases, each with a unique name. It is never empty.
	Cases []Case
}

// Case is evidence, the time of the evaluation, and the expected decision. Exactly one of Evidence
// and EvidenceFile is set.
type Case struct {
	Position policy.Position
	Name     string
	Now      time.Time
	// Evidence is the evidence in the suite itself. Missing parts have defaults that pass most
	// policies, see Parse.
	Evidence *evidence.Input
	// EvidenceFile names a file with an Input, or with a report that contains one. The path is as
	// in the file: relative to the folder of the suite.
	EvidenceFile string
	Expect       Expectation
}

// Expectation is the expected content of a decision. A nil list is not compared. An empty list
// means that the decision's list must be empty.
type Expectation struct {
	Passed bool
	// Exactly requires that the compared lists of the decision have no other entries.
	Exactly     bool
	Violations  []Expected
	Warnings    []Expected
	Excepted    []Expected
	NotAffected []Expected
}

// Expected is one expected entry in a list of a decision. Empty fields are not compared.
type Expected struct {
	Position policy.Position
	// Rule is the name of the rule that decides. Mandatory.
	Rule string
	// ID is the finding's id or an alias. Letter case is ignored.
	ID string
	// Package is a pattern for the package's purl, compared part by part, as in an exception.
	Package  string
	Platform string
}

// Parse reads the suite in data. file is the name for positions; the file is not opened. The
// format is as strict as the format of a policy:
//
//	version: 1
//	policies: [policy.yaml]
//	cases:
//	  - name: a critical finding blocks
//	    now: 2026-06-15
//	    evidence:
//	      platforms:
//	        - findings:
//	            - {id: CVE-2024-0001, severity: critical, package: {name: lodash, type: npm, purl: pkg:npm/lodash@4.17.20}}
//	    expect:
//	      passed: false
//	      violations: [{rule: no critical, id: CVE-2024-0001}]
//
// Evidence is the name of a file, or a mapping of an Input under the names of its JSON form.
// Missing parts of the mapping have defaults: a digest, a database built at "now" with the
// providers kev and epss, and one platform, linux/amd64. The platform has Debian 12, a
// configuration with a user other than root, the packages of the findings and one more, all under
// MIT. Values in the file are used unchanged, including an empty list.
//
// The error is a *policy.ParseError that lists all problems. The suite is then nil.
func Parse(file string, data []byte) (*Suite, error) {
	d := &decoder{strict.NewDecoder(file, "")}
	s := &Suite{File: file}
	if root := d.Document(data); root != nil {
		d.Mapping(root, "the suite",
			strict.Mandatory("version", d.Version(formatVersion)),
			strict.Mandatory("policies", d.Texts(&s.Policies, func(string) error { return nil }, "no image can pass without a policy")),
			strict.Mandatory("cases", d.cases(&s.Cases)),
		)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (d *decoder) cases(to *[]Case) strict.Reader {
	lines := map[string]int{}
	items := d.List(strict.MaxItems, func(n *yaml.Node) {
		c := Case{Position: d.position(n)}
		var evidence, key *yaml.Node
		d.Mapping(n, "a case",
			strict.Mandatory("name", d.Unique(&c.Name, "case", lines)),
			strict.Mandatory("now", d.Date(&c.Now)),
			strict.Mandatory("evidence", func(k, value *yaml.Node) { key, evidence = k, value }),
			strict.Mandatory("expect", d.expectation(&c.Expect)),
		)
		if evidence != nil { // the defaults of the evidence depend on the time of the case
			d.caseEvidence(&c, key, evidence)
		}
		*to = append(*to, c)
	})
	return d.NotEmpty(items, "a suite has at least one case")
}

func (d *decoder) caseEvidence(c *Case, key, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		c.Evidence = d.evidence(key, n, c.Now)
	case yaml.ScalarNode:
		d.Text(&c.EvidenceFile)(key, n)
	default:
		d.WrongType(n, strict.Quoted(key), "the name of a file or a mapping")
	}
}

func (d *decoder) expectation(to *Expectation) strict.Reader {
	return func(key, n *yaml.Node) {
		d.Mapping(n, strict.Quoted(key),
			strict.Mandatory("passed", d.truth(&to.Passed)),
			strict.Optional("exactly", d.Yes(&to.Exactly)),
			strict.Optional("violations", d.expected(&to.Violations)),
			strict.Optional("warnings", d.expected(&to.Warnings)),
			strict.Optional("excepted", d.expected(&to.Excepted)),
			strict.Optional("notAffected", d.expected(&to.NotAffected)),
		)
		switch {
		case n.Kind != yaml.MappingNode:
		case to.Passed && len(to.Violations) > 0:
			d.Problem(n, "a decision with violations does not pass")
		case !to.Passed && to.Violations != nil && len(to.Violations) == 0:
			d.Problem(n, "a decision without violations passes")
		}
	}
}

// expected returns a reader of a list of expectations. An empty list is valid.
func (d *decoder) expected(to *[]Expected) strict.Reader {
	return func(key, value *yaml.Node) {
		*to = []Expected{}
		d.List(strict.MaxItems, func(n *yaml.Node) {
			e := Expected{Position: d.position(n)}
			d.Mapping(n, "an expectation",
				strict.Mandatory("rule", d.Text(&e.Rule)),
				strict.Optional("id", d.CheckedText(&e.ID, match.CheckID)),
				strict.Optional("package", d.CheckedText(&e.Package, match.CheckPURLPattern)),
				strict.Optional("platform", d.Text(&e.Platform)),
			)
			*to = append(*to, e)
		})(key, value)
	}
}

// truth returns a reader of the values true and false.
func (d *decoder) truth(to *bool) strict.Reader {
	return strict.Scalar(d.Decoder, to, "true or false", func(s string) (bool, error) {
		switch s {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, errors.New("expected true or false")
	}, "!!bool")
}

// decoder reads the parts of a suite.
type decoder struct{ *strict.Decoder }

func (d *decoder) position(n *yaml.Node) policy.Position { return policy.Position(d.Position(n)) }

// err returns a *policy.ParseError with all problems, or nil.
func (d *decoder) err() error {
	var problems []policy.Problem
	for _, p := range d.Problems() {
		problems = append(problems, policy.Problem{Position: policy.Position(p.Position), Message: p.Message})
	}
	if problems == nil {
		return nil
	}
	return &policy.ParseError{Problems: problems}
}
