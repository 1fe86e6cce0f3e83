package audit

import "unicode/utf8"

// maxShortText is the maximum length of a text in a shortened record, in bytes.
const maxShortText = 200

// shorten makes a record shorter: it halves the longest list or, if all lists are empty, cuts long
// texts. It returns false if nothing is left to shorten.
func shorten(r *Run) bool {
	lists := []struct {
		length int
		cut    func(n int)
	}{
		{len(r.Exceptions), func(n int) { r.Exceptions = r.Exceptions[:n] }},
		{len(r.Rules), func(n int) { r.Rules = r.Rules[:n] }},
		{len(r.Policy.Files), func(n int) { r.Policy.Files = r.Policy.Files[:n] }},
		{len(r.Image.Platforms), func(n int) { r.Image.Platforms = r.Image.Platforms[:n] }},
		{statements(r.Destinations), func(int) { r.Destinations = withoutStatements(r.Destinations) }},
		{len(r.Destinations), func(n int) { r.Destinations = r.Destinations[:n] }},
		{len(r.Requested), func(n int) { r.Requested = r.Requested[:n] }},
	}
	longest := 0
	for i := range lists {
		if lists[i].length > lists[longest].length {
			longest = i
		}
	}
	if n := lists[longest].length; n > 0 {
		lists[longest].cut(n / 2)
		r.Omitted += n - n/2
		if longest == 4 {
			r.Omitted += n / 2
		}
		return true
	}
	return cutTexts(r)
}

func statements(all []Destination) (n int) {
	for _, d := range all {
		n += len(d.Statements)
	}
	return n
}

// withoutStatements returns a copy of the destinations without statements. It does not change all,
// because the full record may still be needed.
func withoutStatements(all []Destination) []Destination {
	out := make([]Destination, len(all))
	for i, d := range all {
		d.Statements = nil
		out[i] = d
	}
	return out
}

// cutTexts cuts every text that is longer than maxShortText. It returns false if there is none.
func cutTexts(r *Run) (changed bool) {
	texts := []*string{&r.Why, &r.Actor.User, &r.Actor.Host, &r.Actor.Login, &r.Actor.Job, &r.Actor.Commit, &r.Image.Reference, &r.Image.Repository, &r.Policy.File, &r.Database.Source}
	if r.Error != nil {
		copied := *r.Error
		r.Error = &copied
		texts = append(texts, &r.Error.Message)
	}
	if r.Override != nil {
		copied := *r.Override
		r.Override = &copied
		texts = append(texts, &r.Override.Reason)
	}
	for _, text := range texts {
		if len(*text) > maxShortText {
			at := maxShortText - len("...")
			for !utf8.RuneStart((*text)[at]) {
				at--
			}
			*text = (*text)[:at] + "..."
			changed = true
		}
	}
	return changed
}
