package report

import (
	"cmp"
	"slices"

	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Remedy says what to do about a group of violations.
type Remedy struct {
	// Violations are indexes into the decision's list of violations.
	Violations []int `json:"violations"`
	// Do is a command or a line for a file, or a sentence if there is neither.
	Do string `json:"do"`
	// Paste means that Do is a command or a line for a file, exactly as it has to be entered.
	Paste bool `json:"paste,omitempty"`
	// Exceptions are items for the policy's list of exceptions, one line of YAML each. They let the
	// violations pass once reason and owner are filled in. The list is empty if exceptions cannot
	// cover the violations.
	Exceptions []string `json:"exceptions,omitempty"`
}

// Remedies returns what to do about each violation of r. Remedies for causes come first. Do and
// Exceptions may quote text from the image: sanitize them before printing.
func Remedies(r Report) []Remedy {
	if r.Decision == nil {
		return nil
	}
	m := newAdvisor(r, merge(r.Decision.Violations))
	var out []Remedy
	known, suggested := map[string]int{}, map[string]bool{}
	for _, i := range byRank(r.Decision.Violations) {
		v := &r.Decision.Violations[i]
		do := m.Do(v)
		at, ok := known[do.Text]
		if !ok {
			at = len(out)
			known[do.Text] = at
			out = append(out, Remedy{Do: do.Text, Paste: do.Paste})
		}
		out[at].Violations = append(out[at].Violations, i)
		if item := m.Exception(v); item != "" && !suggested[do.Text+"\n"+item] {
			suggested[do.Text+"\n"+item] = true
			out[at].Exceptions = append(out[at].Exceptions, item)
		}
	}
	return out
}

// byRank returns the indexes of the violations in the order of the report: causes come before the
// violations that may follow from them.
func byRank(violations []policy.Violation) []int {
	indexes := make([]int, len(violations))
	for i := range indexes {
		indexes[i] = i
	}
	slices.SortStableFunc(indexes, func(a, b int) int {
		return cmp.Compare(kindRank(violations[a].Kind), kindRank(violations[b].Kind))
	})
	return indexes
}

// newAdvisor returns an advisor for the violations of a report. blocking has the same violations as
// items.
func newAdvisor(r Report, blocking []Item) *remedy.Advisor {
	upgrade := upgrades(newLayers(r.Input.Platforms), blocking)
	return &remedy.Advisor{
		At: cmp.Or(r.EvaluatedAt, r.referenceTime()), MaxLifetime: r.Policy.ExceptionsMaxLifetime,
		PolicyFile: r.Policy.File, Input: &r.Input,
		Upgrade: func(f *evidence.Finding) remedy.Instruction { return upgrade[packageKey(f.Package)] },
	}
}

// upgrades returns the upgrade instruction for each blocking package that has a fix, by packageKey.
// If the text report upgrades several packages with one command, each of them gets this command, so
// that all formats suggest the same commands.
func upgrades(l layers, blocking []Item) map[string]remedy.Instruction {
	out := map[string]remedy.Instruction{}
	fixable, _, _ := splitByFix(blocking)
	for _, g := range byPackage(fixable) {
		out[packageKey(g.pkg)] = remedy.Upgrade(g.pkg, g.upgradeTo())
	}
	byOwner := l.byOwner(fixable)
	for _, o := range owners {
		for _, b := range batches(byOwner[o]) {
			b.addCommand(out)
		}
	}
	return out
}

// addCommand records the command of the batch for each package that the command upgrades.
func (b *batch) addCommand(upgrade map[string]remedy.Instruction) {
	for _, do := range b.upgradeAll() {
		for _, i := range b.issues() {
			if pkg := i.Finding.Package; do.Paste && !remedy.IsStdlib(pkg) && remedy.IsPackageName(pkg.Type, pkg.Name) {
				upgrade[packageKey(pkg)] = do
			}
		}
	}
}
