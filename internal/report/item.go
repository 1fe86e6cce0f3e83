package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Status is the effect of the policies on an [Item]. Reports list the statuses in this order.
type Status uint8

// The possible statuses of an item.
const (
	// Blocking denies the image.
	Blocking Status = iota
	// Warning does not deny the image: the rule only warns, a grace period has not ended, or the
	// approved image has the finding too.
	Warning
	// Excepted means that the item would block, but an exception of the policy covers it.
	Excepted
	// NotAffected means that the item would block or warn, but a VEX statement removes it.
	NotAffected
)

// statusNames are the names of the statuses in machine-readable formats.
var statusNames = [...]string{"blocking", "warning", "excepted", "notAffected"}

// String returns "blocking", "warning", "excepted" or "notAffected".
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Item is one problem in the form that every format lists and counts. The same violation on several
// platforms, or at several paths, is one item.
type Item struct {
	// Violation is the violation on the first of Platforms.
	policy.Violation
	Status Status
	// Platforms are the platforms that have the problem. The list is empty if the problem concerns
	// the whole image.
	Platforms []string
	// Places are the places of the affected package on all platforms, each path once.
	Places []evidence.Location
	// Exception covers the item if Status is Excepted.
	Exception *policy.Exception
	// Statement removes the item if Status is NotAffected.
	Statement *evidence.VEXStatement
}

// Items returns everything that the policies reported: blocking items, then warnings, then items
// that exceptions or VEX statements cover, each in the order of the decision. It does not return
// findings that no rule matched. It returns nothing without a decision. Violations of different
// statuses are never merged.
func (r Report) Items() []Item {
	if r.Decision == nil {
		return nil
	}
	var excepted, removed joiner
	for i := range r.Decision.Excepted {
		e := &r.Decision.Excepted[i]
		one := excepted.add(e.Violation, e.Exception.Position.String())
		one.Status, one.Exception = Excepted, &e.Exception
	}
	for i := range r.Decision.NotAffected {
		n := &r.Decision.NotAffected[i]
		one := removed.add(n.Violation, fmt.Sprintf("%q", []string{n.Statement.Author, n.Statement.Document, string(n.Statement.Status), n.Statement.Justification}))
		one.Status, one.Statement = NotAffected, &n.Statement
	}
	warnings := merge(r.Decision.Warnings)
	for i := range warnings {
		warnings[i].Status = Warning
	}
	return slices.Concat(merge(r.Decision.Violations), warnings, excepted.items, removed.items)
}

// Counts are the numbers of items of each status.
type Counts struct {
	Blocking, Warnings, Excepted, NotAffected int
	// Packages is the number of packages, in one version each, with blocking findings.
	Packages int
}

// Counts returns the number of items of each status, which every format prints.
func (r Report) Counts() Counts { return CountItems(r.Items()) }

// CountItems counts items by status.
func CountItems(items []Item) Counts {
	var c Counts
	packages := map[string]bool{}
	for i := range items {
		switch items[i].Status {
		case Blocking:
			c.Blocking++
			if f := items[i].Finding; f != nil {
				packages[packageKey(f.Package)] = true
			}
		case Warning:
			c.Warnings++
		case Excepted:
			c.Excepted++
		case NotAffected:
			c.NotAffected++
		}
	}
	c.Packages = len(packages)
	return c
}

// Subject returns the package that the item is about, or nil if it is not about a package.
func (i *Item) Subject() *evidence.Package {
	switch {
	case i.Finding != nil:
		return &i.Finding.Package
	case i.Package != nil:
		return i.Package
	case i.Unmatched != nil:
		return i.Unmatched.Package
	}
	return nil
}

// changingMessages are the kinds of violations whose messages contain dates, counts or digests of
// one build. Fingerprint does not use these messages.
var changingMessages = []policy.Kind{policy.KindDatabase, policy.KindDistribution, policy.KindCoverage, policy.KindSBOM, policy.KindEvidence, policy.KindImage}

// Fingerprint returns 64 hexadecimal digits that identify the problem in the images of a
// repository. The fingerprint stays the same for another tag, digest, platform or package version,
// so that a tracking system keeps one entry for the problem. Several items can share a fingerprint,
// for example if an image has two versions of a package. The strings in more can distinguish them.
func (i *Item) Fingerprint(repository string, more ...string) string {
	parts := []string{repository, string(i.Kind), i.Rule}
	if i.Finding != nil {
		parts = append(parts, i.Finding.ID)
	}
	switch p := i.Subject(); {
	case p != nil && p.PURL != "":
		parts = append(parts, remedy.Unversioned(p.PURL))
	case p != nil:
		parts = append(parts, p.Type, p.Name)
	case i.Unknown != nil:
		parts = append(parts, i.Unknown.Path)
	case i.Check != "":
		parts = append(parts, i.Check)
	case i.Unmatched != nil:
		parts = append(parts, i.Unmatched.Type, string(i.Unmatched.Reason))
	case slices.Contains(changingMessages, i.Kind):
		// For these kinds, the rule alone identifies the problem.
	default:
		parts = append(parts, i.Message)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", append(parts, more...)))
	return hex.EncodeToString(sum[:])
}

// joiner merges violations that differ only in platform and paths. Items stay in the order of their
// first violation.
type joiner struct {
	items []Item
	index map[string]int
	seen  []seen
}

// seen has the platforms and paths that an item already lists.
type seen struct{ platforms, paths map[string]bool }

// add adds v to its item, which may be new, and returns the item. The pointer is valid until the
// next call. Violations with different values of more are never merged.
func (j *joiner) add(v policy.Violation, more string) *Item {
	key := more + issueKey(v)
	at, ok := j.index[key]
	if !ok {
		if j.index == nil {
			j.index = map[string]int{}
		}
		at = len(j.items)
		j.index[key] = at
		// Clone the slice: appending to it must not change the report's own slice.
		v.Expired = slices.Clone(v.Expired)
		j.items = append(j.items, Item{Violation: v})
		j.seen = append(j.seen, seen{map[string]bool{}, map[string]bool{}})
	}
	one, had := &j.items[at], j.seen[at]
	if ok {
		for _, e := range v.Expired {
			if !slices.Contains(one.Expired, e) {
				one.Expired = append(one.Expired, e)
			}
		}
	}
	if v.Platform != "" && !had.platforms[v.Platform] {
		had.platforms[v.Platform] = true
		one.Platforms = append(one.Platforms, v.Platform)
	}
	if v.Finding != nil {
		for _, l := range v.Finding.Package.Found {
			if l.Path != "" && !had.paths[l.Path] {
				had.paths[l.Path] = true
				one.Places = append(one.Places, l)
			}
		}
	}
	return one
}

// merge merges violations into blocking items.
func merge(violations []policy.Violation) []Item {
	var j joiner
	for _, v := range violations {
		j.add(v, "")
	}
	return j.items
}

// issueKey returns the same key for violations that differ only in platform and paths.
func issueKey(v policy.Violation) string {
	parts := []string{string(v.Kind), v.Rule, v.Position.String(), v.Scope, v.Blocks.String()}
	if f := v.Finding; f != nil {
		parts = append(parts, f.ID, f.Severity.String(), strconv.FormatBool(f.KEV != nil),
			packageKey(f.Package), string(f.FixState), fixVersions(*f))
	} else {
		parts = append(parts, v.Message)
	}
	return fmt.Sprintf("%q", parts)
}

// packageKey returns a key for a package. It omits the package URL, whose qualifiers name the
// architecture.
func packageKey(p evidence.Package) string {
	return fmt.Sprintf("%q", []string{p.Name, p.Version, p.Type})
}
