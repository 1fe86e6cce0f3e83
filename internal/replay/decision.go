package replay

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// entry is one entry of a decision's list: its message, and its whole content except positions.
type entry struct{ message, content string }

// compareDecisions compares two decisions completely, except positions in the policy. It returns
// one difference for each list that is not equal. A nil decision has empty lists.
func compareDecisions(was, is *policy.Decision) []Difference {
	if was == nil {
		was = &policy.Decision{}
	}
	if is == nil {
		is = &policy.Decision{}
	}
	violation := func(v policy.Violation) string { return v.Message }
	out := []Difference{}
	out = append(out, compareEntries("violations", was.Violations, is.Violations, violation)...)
	out = append(out, compareEntries("warnings in detail", was.Warnings, is.Warnings, violation)...)
	out = append(out, compareEntries("excepted in detail", was.Excepted, is.Excepted, func(e policy.Excepted) string { return e.Message })...)
	out = append(out, compareEntries("not affected in detail", was.NotAffected, is.NotAffected, func(n policy.NotAffected) string { return n.Message })...)
	out = append(out, compareEntries("allowed", was.Allowed, is.Allowed, func(a policy.Allowed) string { return a.Finding.ID + " in " + a.Finding.Package.Name })...)
	out = append(out, compareEntries("provenance", was.Provenance, is.Provenance, func(p policy.ProvenanceMatch) string { return p.Rule })...)
	out = appendIf(out, Difference{"changes at any time", fmt.Sprint(was.TimeDependent), fmt.Sprint(is.TimeDependent)})
	return appendIf(out, Difference{"valid until", optional(was.Until), optional(is.Until)})
}

func optional(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return instant(t)
}

// compareEntries compares two lists as multisets: the order does not matter.
func compareEntries[T any](what string, was, is []T, message func(T) string) []Difference {
	before, after := entriesOf(was, message), entriesOf(is, message)
	gone, added := without(before, after), without(after, before)
	if len(gone) == 0 && len(added) == 0 {
		return nil
	}
	return []Difference{{what, summary(len(was), gone, "only in the record"), summary(len(is), added, "only in the replay")}}
}

func entriesOf[T any](all []T, message func(T) string) []entry {
	out := make([]entry, len(all))
	for i, one := range all {
		out[i] = entry{message(one), content(one)}
	}
	return out
}

// content returns v as JSON without positions. A position changes if a line is added to the policy
// file above it.
func content(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return err.Error()
	}
	dropPositions(tree)
	if data, err = json.Marshal(tree); err != nil {
		return err.Error()
	}
	return string(data)
}

func dropPositions(tree any) {
	switch t := tree.(type) {
	case map[string]any:
		delete(t, "position")
		for _, v := range t {
			dropPositions(v)
		}
	case []any:
		for _, v := range t {
			dropPositions(v)
		}
	}
}

// without returns the entries of all that are not in others. Repeated entries count as often as
// they occur.
func without(all, others []entry) []entry {
	left := map[string]int{}
	for _, e := range others {
		left[e.content]++
	}
	var out []entry
	for _, e := range all {
		if left[e.content]--; left[e.content] < 0 {
			out = append(out, e)
		}
	}
	return out
}

// summary describes one list: the number of its entries, and how many are only in this list. where
// says which list that is.
func summary(total int, only []entry, where string) string {
	if len(only) == 0 {
		return fmt.Sprintf("%d in total", total)
	}
	return fmt.Sprintf("%d in total, %d %s, such as %q", total, len(only), where, only[0].message)
}
