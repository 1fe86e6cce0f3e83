package trust

import (
	"slices"
	"time"
)

// orphanAge is the minimum age, relative to a new statement, of evidence that is removed because no
// statement lists it. Another run may be about to list younger evidence.
const orphanAge = time.Hour

// merging is the result of merge.
type merging struct {
	all      []claimed // the whole list
	replaced []claimed // old attachments that are not in all
	outdone  []claimed // wanted attachments that are not in all, because newer ones exist
}

// merge adds the wanted attachments to a list. Attachments by others are kept. For our own
// statements, it keeps the newest of each kind, subject and key, with the evidence that it lists
// and the statements that belong to it. A statement with a time after horizon counts as the oldest,
// because the clock of its signer was wrong.
func merge(have, want []claimed, horizon time.Time) merging {
	all := slices.Clone(have)
	for _, w := range want {
		if !slices.ContainsFunc(all, w.repeats) {
			all = append(all, w)
		}
	}
	kept := make([]bool, len(all))
	for i := range all {
		kept[i] = !isOutdone(all, want, i, horizon) && !isCrowdedOut(all, i, horizon)
	}
	keepEvidence(all, kept, latest(want))
	var m merging
	for i, c := range all {
		isNew := i >= len(have)
		switch {
		case kept[i]:
			m.all = append(m.all, c)
		case isNew:
			m.outdone = append(m.outdone, c)
		default:
			m.replaced = append(m.replaced, c)
		}
	}
	for _, w := range want {
		if slices.ContainsFunc(m.replaced, w.repeats) {
			m.outdone = append(m.outdone, w)
		}
	}
	return m
}

// repeats reports whether both attachments have the same content.
func (c claimed) repeats(o claimed) bool {
	return c.claim.isOurs() && c.claim.kind == o.claim.kind && c.claim.says == o.claim.says || c.entry.equal(o.entry)
}

// rivals reports whether only one of two attachments can be kept.
func (c claimed) rivals(o claimed) bool {
	return c.claim.isOurs() && c.claim.about == o.claim.about && c.claim.kind == o.claim.kind && c.claim.place.Key == o.claim.place.Key
}

// isOutdone reports whether all has a newer attachment than all[i]. Without times, a wanted
// attachment is newer than a stored one; otherwise the later in the list is newer. Statements with
// the same time are all kept.
func isOutdone(all, want []claimed, i int, horizon time.Time) bool {
	c := all[i]
	if c.claim.place.Evidence || c.claim.place.Of != "" {
		return false
	}
	rank := func(c claimed) int { return slices.IndexFunc(want, c.repeats) }
	for j, o := range all {
		if i == j || !c.rivals(o) || c.repeats(o) {
			continue
		}
		if at, other := c.madeAt(horizon), o.madeAt(horizon); at.IsZero() || other.IsZero() {
			mine, theirs := rank(c), rank(o)
			if theirs > mine || theirs == mine && j > i {
				return true
			}
		} else if other.After(at) {
			return true
		}
	}
	return false
}

// keepEvidence sets kept for the attachments that are kept only as long as other statements.
func keepEvidence(all []claimed, kept []bool, now time.Time) {
	digests, lists, listed := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, c := range all {
		if !c.claim.isOurs() {
			continue
		}
		if kept[i] {
			digests[c.claim.digest()] = true
		}
		for _, digest := range c.claim.place.Lists {
			listed[digest] = true
			lists[digest] = lists[digest] || kept[i]
		}
	}
	for i, c := range all {
		switch place := c.claim.place; {
		case place.Of != "":
			kept[i] = digests[place.Of]
		case place.Evidence && listed[c.claim.digest()]:
			kept[i] = lists[c.claim.digest()]
		case place.Evidence && !place.At.IsZero():
			kept[i] = now.Sub(place.At) < orphanAge
		}
	}
}

// madeAt returns the time of a statement. A time after horizon is replaced by a very old time.
func (c claimed) madeAt(horizon time.Time) time.Time {
	at := c.claim.place.At
	if !horizon.IsZero() && at.After(horizon) {
		return time.Unix(0, 0)
	}
	return at
}

// Limits for the number of keys about one subject: in one group, and in total.
const (
	maxOfGroup   = 8
	maxOfSubject = 32
)

// isCrowdedOut reports whether so many newer statements exist that all[i] exceeds the limits.
func isCrowdedOut(all []claimed, i int, horizon time.Time) bool {
	c := all[i]
	if c.claim.place.Group == "" {
		return false
	}
	inGroup, inAll := map[string]bool{}, map[string]bool{} // keys of newer statements
	for _, o := range all {
		if o.claim.kind != c.claim.kind || o.claim.about != c.claim.about || !o.madeAt(horizon).After(c.madeAt(horizon)) {
			continue
		}
		inAll[o.claim.place.Key] = true
		if o.claim.place.Group == c.claim.place.Group {
			inGroup[o.claim.place.Key] = true
		}
	}
	return len(inGroup) >= maxOfGroup || len(inAll) >= maxOfSubject
}

// latest returns the time of the newest wanted statement.
func latest(want []claimed) time.Time {
	var out time.Time
	for _, w := range want {
		if w.claim.place.At.After(out) {
			out = w.claim.place.At
		}
	}
	return out
}

// entries returns the attachments without their identity keys.
func entries(list []claimed) []entry {
	out := make([]entry, len(list))
	for i, c := range list {
		out[i] = c.entry
	}
	return out
}

func containsAll(have []entry, want []claimed) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, w.equal) {
			return false
		}
	}
	return true
}

func containsAny(have []entry, of []claimed) bool {
	return slices.ContainsFunc(of, func(c claimed) bool { return slices.ContainsFunc(have, c.equal) })
}
