package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
)

func parsed(t *testing.T, data string) *Policy {
	t.Helper()
	p, err := Parse("p.yaml", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lines returns the problems of err as lines of text. err must be a *ParseError.
func lines(t *testing.T, err error) []string {
	t.Helper()
	var parseErr *ParseError
	if !errors.As(err, &parseErr) || len(parseErr.Problems) == 0 {
		t.Fatalf("not a ParseError with problems: %#v", err)
	}
	return strings.Split(err.Error(), "\n")
}

const exceptionFile = `version: 1
exceptions:
  - rule: no telnet
    package: pkg:deb/debian/telnetd
    reason: r
    owner: o
    ticket: SEC-1
    expires: 2026-07-01
`

func TestParseExceptionSection(t *testing.T) {
	p := parsed(t, minimal+`exceptions:
  maxLifetime: 90d
  folder: team/exceptions
  list:
    - {id: CVE-1, reason: r, owner: o, expires: 2026-07-01}
`)
	if p.ExceptionsMaxLifetime != 90*ruleDay || p.ExceptionsFolder != "team/exceptions" || len(p.Exceptions) != 1 {
		t.Errorf("%+v", p)
	}
	for section, want := range map[string]string{
		"{maxLifetime: 0d}":  `4:27: "maxLifetime": "0d" is not more than zero`,
		"{folder: ../other}": `4:22: "folder": "../other" is not the path of a folder below the policy's own folder, with slashes`,
		"{folder: /etc}":     `4:22: "folder": "/etc" is not the path of a folder below the policy's own folder, with slashes`,
		"{folder: .}":        `4:22: "folder": "." is not the path of a folder below the policy's own folder, with slashes`,
		"{list: {}}":         `4:20: "list" is a mapping: expected a list`,
		"{lists: []}":        `4:14: unknown key "lists" in "exceptions": did you mean "list"?`,
		"{maxlifetime: 1d}":  `4:14: unknown key "maxlifetime" in "exceptions": did you mean "maxLifetime"?`,
		"[{id: CVE-1, rule: a, reason: r, owner: o, expires: 2026-07-01}]": `4:14: an exception has 2 of the keys id, rule: expected exactly one`,
	} {
		if diff := cmp.Diff([]string{"p.yaml:" + want}, problems(t, minimal+"exceptions: "+section+"\n")); diff != "" {
			t.Errorf("%s: %s", section, diff)
		}
	}
}

func TestAddExceptions(t *testing.T) {
	p := parsed(t, minimal)
	alone := p.Digest
	if err := p.AddExceptions("x/a.yaml", []byte(exceptionFile)); err != nil {
		t.Fatal(err)
	}
	want := []Exception{{
		Position: Position{File: "x/a.yaml", Line: 3, Column: 5}, Rule: "no telnet", Package: "pkg:deb/debian/telnetd",
		Reason: "r", Owner: "o", Ticket: "SEC-1", Expires: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
	}}
	if diff := cmp.Diff(want, p.Exceptions); diff != "" {
		t.Error(diff)
	}
	files := []File{{"p.yaml", alone}, {"x/a.yaml", digest([]byte(exceptionFile))}}
	if diff := cmp.Diff(files, p.Files); diff != "" {
		t.Error(diff)
	}
	if want := digest([]byte(files[0].Digest + "\n" + files[1].Digest + "\n")); p.Digest != want {
		t.Errorf("digest %s, want %s", p.Digest, want)
	}

	before := p.Digest
	if err := p.AddExceptions("x/b.yaml", []byte("version: 1\nexceptions: []\n")); err != nil {
		t.Fatal(err)
	}
	if p.Digest == before || len(p.Files) != 3 {
		t.Errorf("a file without exceptions has no part in the digest: %+v", p.Files)
	}
}

func TestBadExceptionFileAddsNothing(t *testing.T) {
	const one = "{id: CVE-1, reason: r, owner: o, expires: 2026-07-01}"
	for name, tt := range map[string]struct{ file, data, want string }{
		"empty":      {"x.yaml", "", "x.yaml:1:1: the file is empty"},
		"no version": {"x.yaml", "exceptions: []\n", `x.yaml:1:1: the file has no "version", which is mandatory`},
		"no list":    {"x.yaml", "version: 1\n", `x.yaml:1:1: the file has no "exceptions", which is mandatory`},
		"version 2":  {"x.yaml", "version: 2\nexceptions: []\n", `x.yaml:1:10: "version": version 2 is not supported: expected 1`},
		"rules":      {"x.yaml", "version: 1\nexceptions: []\nrules: []\n", `x.yaml:3:1: unknown key "rules" in the file: expected one of version, exceptions`},
		"a lifetime": {"x.yaml", "version: 1\nexceptions: {maxLifetime: 900d}\n", `x.yaml:2:13: "exceptions" is a mapping: expected a list`},
		"one bad":    {"x.yaml", "version: 1\nexceptions: [" + one + ", {rule: a, reason: r, owner: o}]\n", `x.yaml:2:69: an exception has no "expires", which is mandatory`},
		"twice":      {"a.yaml", exceptionFile, "a.yaml:1:1: the file is already part of the policy"},
		"the policy": {"p.yaml", exceptionFile, "p.yaml:1:1: the file is already part of the policy"},
		"two files":  {"x.yaml", exceptionFile + "---\n" + exceptionFile, "x.yaml:9:1: a second document: expected one document in a file"},
	} {
		p := parsed(t, minimal)
		if err := p.AddExceptions("a.yaml", []byte(exceptionFile)); err != nil {
			t.Fatal(err)
		}
		before := asJSON(t, p)
		err := p.AddExceptions(tt.file, []byte(tt.data))
		if diff := cmp.Diff([]string{tt.want}, lines(t, err)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if asJSON(t, p) != before {
			t.Errorf("%s: the policy has changed", name)
		}
	}

	p := parsed(t, minimal)
	many := "version: 1\nexceptions:\n" + strings.Repeat(" - "+one+"\n", strict.MaxItems)
	if err := p.AddExceptions("a.yaml", []byte(many)); err != nil {
		t.Fatal(err)
	}
	err := p.AddExceptions("b.yaml", []byte(exceptionFile))
	if want := "b.yaml:1:1: the policy and this file have more than 10000 exceptions in total"; lines(t, err)[0] != want {
		t.Errorf("%v", err)
	}
	if err := (*Policy)(nil).AddExceptions("a.yaml", []byte(exceptionFile)); err == nil {
		t.Error("no error without a policy")
	}
}

func TestExceptionBeyondMaxLifetimeDoesNotApply(t *testing.T) {
	const limit = 90 * ruleDay
	p := blockAll(exceptionFor("CVE-1"))
	p.ExceptionsMaxLifetime = limit
	p.Exceptions[0].Position = at(7, 3)
	p.Exceptions[0].Expires = now.Add(limit)
	in := withFindings(finding("CVE-1", evidence.SeverityHigh))
	if err := p.Validate(now); err != nil {
		t.Error(err)
	}
	passed(t, p.Evaluate(in, now))

	p.Exceptions[0].Expires = now.Add(limit + time.Second)
	want := `p.yaml:7:3: the exception for "CVE-1" expires on 2026-09-13T12:00:01Z, more than 90d ahead of now`
	if diff := cmp.Diff([]string{want}, lines(t, p.Validate(now))); diff != "" {
		t.Error(diff)
	}
	d := p.Evaluate(in, now)
	denied(t, d, "vulnerability all", "exception exceptions.maxLifetime")
	if want := now.Add(time.Second); !d.Until.Equal(want) {
		t.Errorf("until %v, want %v", d.Until, want)
	}
	passed(t, p.Evaluate(in, now.Add(time.Second)))

	// An exception beyond maxLifetime denies every image, even if it covers nothing in the image.
	denied(t, p.Evaluate(cleanInput(), now), "exception exceptions.maxLifetime")

	p.ExceptionsMaxLifetime = 0
	p.Exceptions[0].Expires = now.AddDate(100, 0, 0)
	if err := p.Validate(now); err != nil {
		t.Error(err)
	}
	passed(t, p.Evaluate(in, now))
	if (*Policy)(nil).Validate(now) == nil {
		t.Error("a nil policy is valid")
	}
}

// ruleDecision returns the decision of a policy with these exceptions about one violation of the
// rule "no telnet" for each package. A nil package means a violation that is not about a package.
func ruleDecision(effect Effect, packages []*evidence.Package, exceptions ...Exception) Decision {
	in := cleanInput()
	e := newEvaluation(blockAll(exceptions...), &in, now)
	for _, pkg := range packages {
		e.reportRule(effect, Violation{Kind: "package", Rule: "no telnet", Message: "m"}, pkg)
	}
	e.evaluateExceptions()
	return e.Decision
}

func TestExceptionForRule(t *testing.T) {
	telnet := &evidence.Package{Name: "telnetd", PURL: "pkg:deb/debian/telnetd@1"}
	other := &evidence.Package{Name: "inetd", PURL: "pkg:deb/debian/inetd@1"}
	forRule := func(rule, pattern string) Exception {
		return Exception{Rule: rule, Package: pattern, Reason: "r", Owner: "o", Expires: now.Add(time.Hour)}
	}
	for name, tt := range map[string]struct {
		exception Exception
		packages  []*evidence.Package
		excepted  int
	}{
		"any package":      {forRule("no telnet", ""), []*evidence.Package{telnet, other, nil}, 3},
		"one package":      {forRule("no telnet", "pkg:deb/debian/telnetd"), []*evidence.Package{telnet, other}, 1},
		"about no package": {forRule("no telnet", "pkg:*"), []*evidence.Package{nil}, 0},
		"another rule":     {forRule("No telnet", ""), []*evidence.Package{telnet}, 0},
		"an id":            {exceptionFor("no telnet"), []*evidence.Package{telnet}, 0},
		"another image":    {Exception{Rule: "no telnet", Image: "elsewhere/*", Expires: now.Add(1)}, []*evidence.Package{telnet}, 0},
		"expired":          {Exception{Rule: "no telnet", Expires: now}, []*evidence.Package{telnet}, 0},
	} {
		d := ruleDecision(Block, tt.packages, tt.exception)
		if len(d.Excepted) != tt.excepted || len(d.Violations) != len(tt.packages)-tt.excepted {
			t.Errorf("%s: excepted %+v, violations %+v", name, d.Excepted, d.Violations)
		}
		if used := tt.excepted > 0; used == (len(d.Warnings) > 0) {
			t.Errorf("%s: warnings %+v", name, d.Warnings)
		}
	}

	warned := ruleDecision(Warn, []*evidence.Package{telnet}, forRule("no telnet", ""))
	if len(warned.Warnings) != 2 || len(warned.Excepted)+len(warned.Violations) != 0 {
		t.Errorf("%+v", warned)
	}
	gone := ruleDecision(Block, []*evidence.Package{telnet}, Exception{Rule: "no telnet", Expires: now})
	if len(gone.Violations) != 1 || len(gone.Violations[0].Expired) != 1 {
		t.Errorf("%+v", gone.Violations)
	}
	const want = `the exception for rule "no telnet" expired on 2026-06-15T12:00:00Z`
	if got := fmt.Sprint(gone.Warnings[0].Message); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestExceptionForARuleDoesNotCoverFindings checks that only an exception with the finding's id
// lets a finding pass. Otherwise one line would let all findings of a rule pass.
func TestExceptionForARuleDoesNotCoverFindings(t *testing.T) {
	d := blockAll(Exception{Rule: "all", Expires: now.Add(time.Hour)}).Evaluate(withFindings(finding("CVE-1", evidence.SeverityLow)), now)
	denied(t, d, "vulnerability all")
}

func FuzzAddExceptions(f *testing.F) {
	f.Add([]byte(exceptionFile))
	f.Add([]byte("version: 1\nexceptions: []\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := blockAll()
		err := p.AddExceptions("x.yaml", data)
		var parseErr *ParseError
		switch {
		case err == nil && (len(p.Files) != 2 || p.Digest == ""):
			t.Errorf("%+v", p)
		case err != nil && (!errors.As(err, &parseErr) || len(p.Exceptions) != 0 || len(p.Files) != 0):
			t.Errorf("%v: %+v", err, p)
		}
	})
}
