package policy

import (
	"errors"
	"time"

	"gopkg.in/yaml.v3"
)

// Suite is a file of cases that say what policies decide, so that whoever
// changes a policy sees what else changes.
type Suite struct {
	File string
	// Policies are the files of the policies that judge together, as they are
	// written: relative to the folder of the suite. At least one.
	Policies []string
	// Cases are at least one, each with a name of its own.
	Cases []Case
}

// Case is evidence, the instant as of which it is judged, and what must come
// out. Exactly one of Evidence and EvidenceFile is set.
type Case struct {
	Position Position
	Name     string
	Now      time.Time
	// Evidence stands in the suite itself; what it leaves out is that of an
	// image to which few policies object, see ParseSuite.
	Evidence *Input
	// EvidenceFile names a file with an Input, or with a report that holds one,
	// as it is written: relative to the folder of the suite.
	EvidenceFile string
	Expect       Expectation
}

// Expectation is what a decision must say. Of a list that is nil nothing is
// expected, and the empty list expects that the decision's is empty.
type Expectation struct {
	Passed bool
	// Exactly: the lists that are not nil have nothing else in them.
	Exactly     bool
	Violations  []Expected
	Warnings    []Expected
	Excepted    []Expected
	NotAffected []Expected
}

// Expected is one thing that a list of a decision must hold; what is empty is
// not compared.
type Expected struct {
	Position Position
	// Rule is the name of the rule that decides. Mandatory.
	Rule string
	// ID is the finding's id or an alias, in any letter case.
	ID string
	// Package is a pattern over the package's purl, compared part by part as
	// that of an exception.
	Package  string
	Platform string
}

// ParseSuite reads the suite in data; file is its name in positions and nothing
// is opened. The format is as strict as that of a policy:
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
// Evidence is the name of a file, or a mapping of an Input under the names of its
// JSON form. What the mapping leaves out is stood in for: a digest, a database as
// new as now with the providers kev and epss, one platform linux/amd64 of Debian
// 12 with a configuration that is not root's, and as packages those of the
// findings and one more, all under MIT. What is written stands, the empty list
// too.
//
// The error is a *ParseError that lists all problems; the suite is nil with it.
func ParseSuite(file string, data []byte) (*Suite, error) {
	d := &decoder{file: file}
	s := &Suite{File: file}
	if root := d.document(data); root != nil {
		d.mapping(root, "the suite",
			mandatory("version", d.version()),
			mandatory("policies", d.texts(&s.Policies, func(string) error { return nil }, "nothing passes without a policy")),
			mandatory("cases", d.cases(&s.Cases)),
		)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (d *decoder) cases(to *[]Case) reader {
	lines := map[string]int{}
	items := d.list(maxItems, func(n *yaml.Node) {
		c := Case{Position: d.position(n)}
		var evidence, key *yaml.Node
		d.mapping(n, "a case",
			mandatory("name", d.unique(&c.Name, "case", lines)),
			mandatory("now", d.date(&c.Now)),
			mandatory("evidence", func(k, value *yaml.Node) { key, evidence = k, value }),
			mandatory("expect", d.expectation(&c.Expect)),
		)
		if evidence != nil { // only now is it known what the time is
			d.caseEvidence(&c, key, evidence)
		}
		*to = append(*to, c)
	})
	return d.notEmpty(items, "a suite has at least one case")
}

func (d *decoder) caseEvidence(c *Case, key, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		c.Evidence = d.evidence(key, n, c.Now)
	case yaml.ScalarNode:
		d.text(&c.EvidenceFile)(key, n)
	default:
		d.wrongType(n, quoted(key), "the name of a file or a mapping")
	}
}

func (d *decoder) expectation(to *Expectation) reader {
	return func(key, n *yaml.Node) {
		d.mapping(n, quoted(key),
			mandatory("passed", d.truth(&to.Passed)),
			optional("exactly", d.yes(&to.Exactly)),
			optional("violations", d.expected(&to.Violations)),
			optional("warnings", d.expected(&to.Warnings)),
			optional("excepted", d.expected(&to.Excepted)),
			optional("notAffected", d.expected(&to.NotAffected)),
		)
		switch {
		case n.Kind != yaml.MappingNode:
		case to.Passed && len(to.Violations) > 0:
			d.problem(n, "what has violations does not pass")
		case !to.Passed && to.Violations != nil && len(to.Violations) == 0:
			d.problem(n, "what has no violations passes")
		}
	}
}

// expected reads a list that may be empty.
func (d *decoder) expected(to *[]Expected) reader {
	return func(key, value *yaml.Node) {
		*to = []Expected{}
		d.list(maxItems, func(n *yaml.Node) {
			e := Expected{Position: d.position(n)}
			d.mapping(n, "an expectation",
				mandatory("rule", d.text(&e.Rule)),
				optional("id", d.checkedText(&e.ID, checkID)),
				optional("package", d.checkedText(&e.Package, checkPURLPattern)),
				optional("platform", d.text(&e.Platform)),
			)
			*to = append(*to, e)
		})(key, value)
	}
}

// truth reads true or false.
func (d *decoder) truth(to *bool) reader {
	return scalar(d, to, "true or false", func(s string) (bool, error) {
		switch s {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, errors.New("want true or false")
	}, "!!bool")
}
