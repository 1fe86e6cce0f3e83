package policy

import (
	"strings"
	"testing"
)

// parseCustom reads the custom rules of a policy that has nothing else.
func parseCustom(source string) ([]CustomRule, error) {
	d := &decoder{file: "policy.yaml"}
	rules := []CustomRule{}
	if root := d.document([]byte(source)); root != nil {
		d.mapping(root, "the policy", optional("custom", d.custom([]byte(source), &rules)))
	}
	return rules, d.err()
}

// customRule makes one rule; when and message are written as literal blocks.
func customRule(t testing.TB, each Each, effect Effect, when, message string) *CustomRule {
	t.Helper()
	indented := func(s string) string { return "|-\n" + "      " + strings.ReplaceAll(s, "\n", "\n      ") + "\n" }
	source := "custom:\n  - name: a rule\n    each: " + string(each) + "\n    effect: " + effect.String() + "\n    when: " + indented(when)
	if message != "" {
		source += "    message: " + indented(message)
	}
	rules, err := parseCustom(source)
	if err != nil {
		t.Fatalf("%s\n%v", source, err)
	}
	return &rules[0]
}
