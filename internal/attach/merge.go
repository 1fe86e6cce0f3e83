package attach

import (
	"slices"
	"time"
)

// orphanAge protects evidence that no statement lists: it is removed only if it is this much older
// than the new statement. Another run may be about to list younger evidence.
const orphanAge = time.Hour

// mergeResult is the result of merge.
type mergeResult struct {
	all        []keyed // all attachments to keep or add
	replaced   []keyed // stored attachments that are not in all
	superseded []keyed // wanted attachments that are not in all, because newer ones exist
}

// merge adds the wanted attachments to an attachment list. Attachments by other signers are kept.
// Among imagegate's own statements with the same kind, subject and key, only the newest is kept,
// together with the evidence that it lists and the statements that belong to it. A statement with a
// time after horizon counts as the oldest, because the clock of its signer was wrong.
func merge(have, want []keyed, horizon time.Time) mergeResult {
	all := slices.Clone(have)
	for _, w := range want {
		if !slices.ContainsFunc(all, w.hasSameContent) {
			all = append(all, w)
		}
	}
	kept := make([]bool, len(all))
	for i := range all {
		kept[i] = !isSuperseded(all, want, i, horizon) && !exceedsLimits(all, i, horizon)
	}
	keepEvidence(all, kept, latest(want))
	var m mergeResult
	for i, c := range all {
		isNew := i >= len(have)
		switch {
		case kept[i]:
			m.all = append(m.all, c)
		case isNew:
			m.superseded = append(m.superseded, c)
		default:
			m.replaced = append(m.replaced, c)
		}
	}
	for _, w := range want {
		if slices.ContainsFunc(m.replaced, w.hasSameContent) {
			m.superseded = append(m.superseded, w)
		}
	}
	return m
}

// hasSameContent reports whether c and o have the same content. Two statements of imagegate have
// the same content if their payloads are equal, whatever their envelopes.
func (c keyed) hasSameContent(o keyed) bool {
	return c.key.isOurs() && c.key.kind == o.key.kind && c.key.content == o.key.content || c.attachment.equal(o.attachment)
}

// competesWith reports whether c and o are attachments of imagegate with the same kind, subject and
// Retention.Key, so that only one of them can be kept.
func (c keyed) competesWith(o keyed) bool {
	return c.key.isOurs() && c.key.subject == o.key.subject && c.key.kind == o.key.kind && c.key.retention.Key == o.key.retention.Key
}

// isSuperseded reports whether all contains a newer attachment that competes with all[i]. If one of
// the two has no time, a wanted attachment counts as newer than a stored one, and a later element
// of all as newer than an earlier one. Statements with the same time are all kept.
func isSuperseded(all, want []keyed, i int, horizon time.Time) bool {
	c := all[i]
	if c.key.retention.Evidence || c.key.retention.BelongsTo != "" {
		return false
	}
	rank := func(c keyed) int { return slices.IndexFunc(want, c.hasSameContent) }
	for j, o := range all {
		if i == j || !c.competesWith(o) || c.hasSameContent(o) {
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

// keepEvidence decides about attachments that are kept only as long as another statement: evidence,
// and statements that belong to another statement. It sets kept[i] if all[i] must be kept.
func keepEvidence(all []keyed, kept []bool, now time.Time) {
	digests, lists, listed := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, c := range all {
		if !c.key.isOurs() {
			continue
		}
		if kept[i] {
			digests[c.key.digest()] = true
		}
		for _, digest := range c.key.retention.Lists {
			listed[digest] = true
			lists[digest] = lists[digest] || kept[i]
		}
	}
	for i, c := range all {
		switch r := c.key.retention; {
		case r.BelongsTo != "":
			kept[i] = digests[r.BelongsTo]
		case r.Evidence && listed[c.key.digest()]:
			kept[i] = lists[c.key.digest()]
		case r.Evidence && !r.At.IsZero():
			kept[i] = now.Sub(r.At) < orphanAge
		}
	}
}

// madeAt returns the time of a statement. If the time is after horizon, madeAt returns 1970
// instead, so that the statement counts as the oldest.
func (c keyed) madeAt(horizon time.Time) time.Time {
	at := c.key.retention.At
	if !horizon.IsZero() && at.After(horizon) {
		return time.Unix(0, 0)
	}
	return at
}

// Limits for the number of different Retention.Key values of statements with one type and subject:
// maxOfGroup in one group, maxOfSubject in all groups together. The oldest statements are removed
// first.
const (
	maxOfGroup   = 8
	maxOfSubject = 32
)

// exceedsLimits reports whether the newer statements alone already reach a limit, so that all[i]
// must be removed.
func exceedsLimits(all []keyed, i int, horizon time.Time) bool {
	c := all[i]
	if c.key.retention.Group == "" {
		return false
	}
	inGroup, inAll := map[string]bool{}, map[string]bool{} // Retention.Key values of newer statements
	for _, o := range all {
		if o.key.kind != c.key.kind || o.key.subject != c.key.subject || !o.madeAt(horizon).After(c.madeAt(horizon)) {
			continue
		}
		inAll[o.key.retention.Key] = true
		if o.key.retention.Group == c.key.retention.Group {
			inGroup[o.key.retention.Key] = true
		}
	}
	return len(inGroup) >= maxOfGroup || len(inAll) >= maxOfSubject
}

// latest returns the time of the newest attachment in want, or the zero time if none has a time.
func latest(want []keyed) time.Time {
	var out time.Time
	for _, w := range want {
		if w.key.retention.At.After(out) {
			out = w.key.retention.At
		}
	}
	return out
}

// withoutKeys returns the attachments without their identity keys.
func withoutKeys(list []keyed) []attachment {
	out := make([]attachment, len(list))
	for i, c := range list {
		out[i] = c.attachment
	}
	return out
}

func containsAll(have []attachment, want []keyed) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, w.equal) {
			return false
		}
	}
	return true
}

func containsAnyOf(have []attachment, of []keyed) bool {
	return slices.ContainsFunc(of, func(c keyed) bool { return slices.ContainsFunc(have, c.equal) })
}
