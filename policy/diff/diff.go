// Package diff compares two evaluations of an image: it reports what changed, and why an outcome is
// different.
package diff

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/explain"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// Snapshot is one evaluation of an image, to be compared with another.
type Snapshot struct {
	Input    evidence.Input  `json:"input"`
	Decision policy.Decision `json:"decision"`
	// Policy is the digest of the policies, see policy.Set.Digest.
	Policy string `json:"policy"`
	// At is the time of the evaluation.
	At time.Time `json:"at"`
}

// ChangeKind is the kind of a difference between two snapshots.
type ChangeKind string

// The kinds of change, in the order of the result of Snapshots.
const (
	ChangePolicy    ChangeKind = "policy changed"
	ChangeDatabase  ChangeKind = "database changed"
	ChangeImage     ChangeKind = "image changed"
	ChangeNew       ChangeKind = "new finding"
	ChangeGone      ChangeKind = "gone finding"
	ChangeExploited ChangeKind = "known to be exploited"
	ChangeException ChangeKind = "exception expired"
	ChangeGrace     ChangeKind = "grace ended"
	// ChangeOutcome is a changed result for a reason that is not listed above. For example, the
	// severity or score of a finding has changed.
	ChangeOutcome ChangeKind = "decided differently"
)

var changeKinds = []ChangeKind{
	ChangePolicy, ChangeDatabase, ChangeImage, ChangeNew, ChangeGone, ChangeExploited, ChangeException, ChangeGrace, ChangeOutcome,
}

// Change is one difference between two snapshots.
type Change struct {
	Kind     ChangeKind `json:"kind"`
	Platform string     `json:"platform,omitempty"`
	// Message describes the change in one sentence, without a full stop at the end. It may quote
	// text from the image: sanitize it before printing.
	Message string `json:"message"`
	// Finding is the later finding, or the earlier one if it is gone.
	Finding *evidence.Finding `json:"finding,omitempty"`
	// Exception is the exception that expired.
	Exception *policy.Exception `json:"exception,omitempty"`
}

// Snapshots returns the changes from one snapshot to a later one. They are sorted by kind and then
// in the order of the Decision. The result is nil if nothing has changed.
//
// Two findings are the same if they have an id or alias in common and are in a package of the same
// name and type on the same platform. The version does not matter.
func Snapshots(before, after Snapshot) []Change {
	var c changes
	if before.Policy != after.Policy {
		c.add(Change{Kind: ChangePolicy}, "the policy has changed from %s to %s", before.Policy, after.Policy)
	}
	if a, b := before.Input.Database, after.Input.Database; a.Digest != b.Digest || !a.Built.Equal(b.Built) {
		c.add(Change{Kind: ChangeDatabase}, "the vulnerability database built on %s has been replaced by one built on %s",
			wording.Time(a.Built), wording.Time(b.Built))
	}
	if a, b := before.Input.Image.Digest, after.Input.Image.Digest; a != b {
		c.add(Change{Kind: ChangeImage}, "the image has changed from %s to %s", a, b)
	}

	earlier, later := newEntries(&before.Decision), newEntries(&after.Decision)
	for i := range later.all {
		now := &later.all[i]
		if later.find(now) != now {
			continue // the same finding in another version of the package, with a less strict result
		}
		switch was := earlier.find(now); {
		case was != nil:
			c.compare(was, now, after.At)
		case now.Finding != nil:
			c.add(Change{Kind: ChangeNew, Platform: now.Platform, Finding: now.Finding},
				"%s is new and %s", findingName(now.Finding), now.Outcome)
		}
	}
	for i := range earlier.all {
		was := &earlier.all[i]
		if was.Finding != nil && earlier.find(was) == was && later.find(was) == nil {
			c.add(Change{Kind: ChangeGone, Platform: was.Platform, Finding: was.Finding},
				"%s is gone and was %s", findingName(was.Finding), was.Outcome)
		}
	}
	slices.SortStableFunc(c, func(a, b Change) int {
		return cmp.Compare(slices.Index(changeKinds, a.Kind), slices.Index(changeKinds, b.Kind))
	})
	return c
}

// changes collects the result of Snapshots.
type changes []Change

func (c *changes) add(change Change, format string, args ...any) {
	change.Message = fmt.Sprintf(format, args...)
	*c = append(*c, change)
}

// compare adds the changes of an entry that is in both snapshots. For a changed outcome it reports
// one reason. It always reports a vulnerability that is newly known to be exploited.
func (c *changes) compare(was, now *explain.Explanation, at time.Time) {
	change := Change{Platform: now.Platform, Finding: now.Finding}
	name := fmt.Sprintf("the result of rule %q", now.Rule)
	exploited := false
	if now.Finding != nil {
		name = findingName(now.Finding)
		exploited = now.Finding.KEV != nil && was.Finding.KEV == nil
	}
	if exploited {
		change.Kind = ChangeExploited
		c.add(change, "%s is now known to be exploited and %s", name, now.Outcome)
	}
	switch {
	case was.Outcome == now.Outcome:
	case was.Exception != nil && !at.Before(was.Exception.Expires):
		change.Kind, change.Exception = ChangeException, was.Exception
		c.add(change, "the exception for %s expired on %s: %s is now %s",
			was.Exception.Subject(), wording.Time(was.Exception.Expires), name, now.Outcome)
	case now.Outcome == explain.Blocked && !was.Blocks.IsZero() && !at.Before(was.Blocks):
		change.Kind = ChangeGrace
		c.add(change, "the grace period of %s ended on %s", name, wording.Time(was.Blocks))
	case !exploited:
		change.Kind = ChangeOutcome
		c.add(change, "%s was %s and is now %s", name, was.Outcome, now.Outcome)
	}
}

func findingName(f *evidence.Finding) string {
	return f.ID + " in " + wording.Joined(f.Package.Name, f.Package.Version)
}

// entries is an index of the entries of one decision. It finds the entry that corresponds to an
// entry of another decision.
type entries struct {
	all   []explain.Explanation
	first map[entryKey]int // the index in all of the strictest entry with this key
}

type entryKey struct{ platform, id, packageType, packageName, message string }

func newEntries(d *policy.Decision) *entries {
	j := &entries{all: explain.All(d), first: make(map[entryKey]int)}
	for i := range j.all {
		for _, k := range entryKeys(&j.all[i]) {
			if _, ok := j.first[k]; !ok {
				j.first[k] = i
			}
		}
	}
	return j
}

// find returns the strictest entry in j about the same finding or violation as e, or nil if j has
// none.
func (j *entries) find(e *explain.Explanation) *explain.Explanation {
	found := len(j.all)
	for _, k := range entryKeys(e) {
		if i, ok := j.first[k]; ok {
			found = min(found, i)
		}
	}
	if found == len(j.all) {
		return nil
	}
	return &j.all[found]
}

func entryKeys(e *explain.Explanation) []entryKey {
	if e.Finding == nil {
		return []entryKey{{platform: e.Platform, id: e.Rule, message: e.Message}}
	}
	var keys []entryKey
	for _, id := range e.Finding.IDs() {
		keys = append(keys, entryKey{platform: e.Platform, id: id, packageType: e.Finding.Package.Type, packageName: e.Finding.Package.Name, message: "finding"})
	}
	return keys
}
