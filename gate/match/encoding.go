package match

import (
	"bytes"
	"encoding/gob"
	"reflect"
)

// Encode encodes a result for a cache. It returns false if the decoded copy would differ from the
// result.
func Encode(r *Result) ([]byte, bool) {
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(r); err != nil {
		return nil, false
	}
	again, err := Decode(out.Bytes())
	return out.Bytes(), err == nil && reflect.DeepEqual(r, again)
}

// Decode decodes a result that Encode encoded.
func Decode(data []byte) (*Result, error) {
	r := &Result{}
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(r); err != nil {
		return nil, err
	}
	// gob decodes an empty list as nil. Reports distinguish both.
	r.Findings, r.Unmatched, r.Unknowns, r.Suppressed = listed(r.Findings), listed(r.Unmatched), listed(r.Unknowns), listed(r.Suppressed)
	for i := range r.Findings {
		r.Findings[i].Matched = listed(r.Findings[i].Matched)
	}
	for i := range r.Suppressed {
		r.Suppressed[i].Finding.Matched = listed(r.Suppressed[i].Finding.Matched)
	}
	return r, nil
}

// listed returns an empty list instead of nil.
func listed[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}
