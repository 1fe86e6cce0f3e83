package audit

import "unicode/utf8"

// maxShortText is the maximum length of a text in bytes, after a record was shortened.
const maxShortText = 200

// shorten makes a record shorter, and returns false if it cannot. It halves the longest list, or
// cuts long texts when all lists are empty.
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

// withoutStatements returns a copy: the record may still be needed in full.
func withoutStatements(all []Destination) []Destination {
	out := make([]Destination, len(all))
	for i, d := range all {
		d.Statements = nil
		out[i] = d
	}
	return out
}

// cutTexts cuts the texts that can be long, and returns false if none is.
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
