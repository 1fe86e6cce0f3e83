package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/policy/evidence"
)

// strictness returns the rank of the result of a rule for a finding: 0 for no match up to 3 for a
// rule that could not be evaluated. That result is the strictest, because no exception covers it.
func strictness(r *CustomRule, in *evidence.Input, f evidence.Finding) int {
	matched, _, err := r.compiled().Matches(in, &in.Platforms[0], &f, now)
	switch {
	case err != nil:
		return 3
	case matched && r.Effect == Block:
		return 2
	case matched:
		return 1
	}
	return 0
}

// checkSeverities checks that raising the severity of a finding never makes the result of a rule
// less strict. It returns which ranks of strictness occurred.
func checkSeverities(t *testing.T, r *CustomRule, in *evidence.Input, f evidence.Finding) (outcomes [4]bool) {
	t.Helper()
	before := 0
	for _, s := range []evidence.Severity{
		evidence.SeverityNegligible, evidence.SeverityLow, evidence.SeverityMedium, evidence.SeverityHigh, evidence.SeverityCritical, evidence.SeverityUnknown,
	} {
		f.Severity = s
		after := strictness(r, in, f)
		if after < before {
			t.Errorf("%s, message %s: raising the severity to %s takes it from %d to %d", r.When, r.Message, s, before, after)
		}
		outcomes[after] = true
		before = after
	}
	return outcomes
}

// TestRaisingASeverityLosesNoMatch checks with random rules that a match at one severity is also a
// match at every higher severity.
func TestRaisingASeverityLosesNoMatch(t *testing.T) {
	in := customInput()
	var met [4]int
	for seed := range uint64(300) {
		g := expressions{rand.New(rand.NewPCG(seed, 1))}
		message := ""
		if g.IntN(2) == 0 {
			message = g.condition(1) + ` ? "x" : string(1 / 0)`
		}
		r := customRule(t, EachFinding, Effect(g.IntN(2)), g.condition(3), message)
		f := evidence.Finding{ID: "CVE-2026-1", Package: evidence.Package{Name: "bash"}}
		if g.IntN(2) == 0 {
			f.EPSS = &evidence.EPSS{Score: 0.6}
		}
		for outcome, reached := range checkSeverities(t, r, in, f) {
			if reached {
				met[outcome]++
			}
		}
	}
	for outcome, times := range met {
		if times < 20 {
			t.Errorf("outcome %d: %d times", outcome, times)
		}
	}
}

// expressions generates random CEL expressions.
type expressions struct{ *rand.Rand }

func (g expressions) condition(depth int) string {
	if depth > 0 {
		a, b := g.condition(depth-1), g.condition(depth-1)
		switch g.IntN(6) {
		case 0:
			return "(" + a + " && " + b + ")"
		case 1:
			return "(" + a + " || " + b + ")"
		case 2:
			return "!(" + a + ")"
		case 3:
			return "(" + a + " ? " + b + " : " + g.condition(depth-1) + ")"
		case 4:
			return "[finding].exists(f, f.severity == " + g.severity() + " && " + a + ")"
		}
	}
	switch g.IntN(7) {
	case 0:
		return `has(finding.epss)`
	case 1:
		return `finding.epss.score > 0.5`
	case 2:
		return `finding.package.name == "bash"`
	case 3:
		return "1 / (finding.severity == " + g.severity() + " ? 0 : 1) == 1"
	case 4:
		return "finding.severity in [" + g.severity() + ", " + g.severity() + "]"
	}
	return "finding.severity " + []string{"<", "<=", ">", ">=", "==", "!="}[g.IntN(6)] + " " + g.severity()
}

func (g expressions) severity() string {
	return "severity." + evidence.Severity(g.IntN(int(evidence.SeverityCritical)+1)).String()
}

// FuzzCustomRule parses a rule with any expression. If Parse refuses the rule, the error must have
// a position inside the file. If Parse accepts the rule, it must give the same result each time,
// and must not be less strict for a worse finding.
func FuzzCustomRule(f *testing.F) {
	for _, when := range []string{
		`pkg.name == "telnetd"`, `finding.severity >= severity.high`, `platform.packages.exists(p, p.licenses.all(l, l != ""))`,
		`platform.config.labels.filter(k, k > "a")[0] == "owner"`, `1 / 0 == 1`, `"%s".format([platform.config.labels]) == ""`,
		`[finding, finding][0].severity == severity.low`, `now - platform.distribution.endOfLife > duration("1h")`,
		`image.digest.split(":").join("").replace("a", "bb").reverse() == "x"`, `platform.packages + platform.packages == []`,
		`type(finding.severity) == string`, `string(b"\xff") == ""`, `finding.package.locations[-1].path == ""`, `pkg == null`,
		`platform.packages.map(p, p.locations)[0].exists_one(l, true)`, `"a\x00b" == r'\'`, `(`, ``, "\n\t nam", `{`, `a.b.c(d)[e]`,
		`finding.epss.score < 1.0 / 0.0`, `int(9223372036854775807) + 1 == 0`, `string(platform.packages) == ""`, `bool(pkg)`,
		`severity.low`, `severity == 1`, `.finding.id == .platform.platform`, `optional.none()`, `@x`, `cel.bind(x, 1, x == 1)`,
	} {
		for each := range uint8(3) {
			f.Add(each, when, `string(1)`)
		}
	}
	f.Fuzz(func(t *testing.T, each uint8, when, message string) {
		rule := map[string]string{
			"name": "a rule", "effect": "warn", "when": when, "message": message,
			"each": []string{"finding", "package", "platform"}[each%3],
		}
		source, err := yaml.Marshal(map[string]any{"custom": []any{rule}})
		if err != nil {
			return // YAML cannot represent this text
		}
		rules, err := parseCustom(string(source))
		if err != nil {
			checkPlaces(t, string(source), err)
			return
		}
		if len(rules) == 0 {
			t.Fatalf("no rule and no problem:\n%s", source)
		}
		r, in := &rules[0], customInput()
		for range 2 {
			if diff := cmp.Diff(messagesOf(r, in), messagesOf(r, in)); diff != "" {
				t.Errorf("the second evaluation gives another result: %s", diff)
			}
		}
		if r.Each == EachFinding {
			checkSeverities(t, r, in, evidence.Finding{ID: "CVE-2026-1", Package: evidence.Package{Name: "bash"}, EPSS: &evidence.EPSS{Score: 0.6}})
		}
	})
}

// messagesOf returns the messages of a rule about packages or platforms.
func messagesOf(r *CustomRule, in *evidence.Input) (messages []string) {
	r.compiled().Evaluate(in, &in.Platforms[0], now, func(_ *evidence.Package, message string, err error) {
		messages = append(messages, fmt.Sprint(message, err != nil))
	})
	return messages
}

// checkPlaces checks that the position of every problem is inside the file.
func checkPlaces(t *testing.T, source string, err error) {
	t.Helper()
	var problems *ParseError
	if !errors.As(err, &problems) {
		t.Fatalf("%T: %v", err, err)
	}
	lines := strings.Split(source, "\n")
	for _, p := range problems.Problems {
		at := p.Position
		if at.Line < 1 || at.Line > len(lines) || at.Column < 1 || at.Column > len([]rune(lines[at.Line-1]))+1 {
			t.Errorf("%s\n%s", fmt.Sprint(p), source)
		}
		if p.Message == "" || strings.ContainsFunc(p.Message, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", p.Message)
		}
	}
}
