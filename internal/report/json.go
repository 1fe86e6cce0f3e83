package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/imagegate/imagegate/policy/evidence"
)

// MaxJSON is the maximum size of a JSON report in bytes. A report with 10,000 findings has about 20
// MiB, so the limit leaves ample room.
const MaxJSON = 256 << 20

// JSON writes the whole report, indented and with a final line break. Strings are written without
// loss, except that invalid UTF-8 becomes U+FFFD. Characters that could control a terminal or a CI
// log are written as \u escapes.
//
// If the report contradicts itself, JSON returns an error before it writes anything.
func JSON(w io.Writer, r Report) error {
	if r.Schema == "" {
		r.Schema = Schema
	}
	if err := r.validate(); err != nil {
		return fmt.Errorf("writing the JSON report: %w", err)
	}
	if err := WriteJSON(w, r); err != nil {
		return fmt.Errorf("writing the JSON report: %w", err)
	}
	return nil
}

// WriteJSON writes any value in the same form as [JSON]: indented, with a final line break, and
// with \u escapes for characters that could control a terminal or a CI log.
func WriteJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(EscapeJSON(data), '\n'))
	return err
}

// EscapeJSON writes unprintable characters and CI command marks as \u escapes. They occur only
// inside strings, so the JSON value stays the same. encoding/json escapes only ASCII control
// characters, but U+009B also begins a terminal sequence, just as ESC does.
func EscapeJSON(data []byte) []byte {
	out := make([]byte, 0, len(data)+len(data)/64)
	for i := 0; i < len(data); {
		if c := data[i]; c < utf8.RuneSelf {
			if c == 0x7f || c == '#' && bytes.HasPrefix(data[i+1:], []byte("#")) {
				out = fmt.Appendf(out, `\u%04x`, c)
			} else {
				out = append(out, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case unicode.IsPrint(r):
			out = append(out, data[i:i+size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += size
	}
	return out
}

// ReadJSON reads a report that JSON wrote. It refuses unknown or repeated fields, another schema, a
// report that contradicts itself, more than MaxJSON bytes, and data after the report. With an
// error, it returns the zero Report, which is not a pass.
func ReadJSON(r io.Reader) (Report, error) {
	report, err := readJSON(r, MaxJSON)
	if err != nil {
		return Report{}, fmt.Errorf("reading the JSON report: %w", err)
	}
	return report, nil
}

func readJSON(r io.Reader, limit int64) (Report, error) {
	var report Report
	if err := readStrict(r, limit, &report); err != nil {
		return Report{}, err
	}
	return report, report.validate()
}

// ReadInput reads evidence from a JSON document that is not part of a report. It is as strict as
// ReadJSON.
func ReadInput(r io.Reader) (evidence.Input, error) {
	var in evidence.Input
	if err := readStrict(r, MaxJSON, &in); err != nil {
		return evidence.Input{}, fmt.Errorf("reading the JSON evidence: %w", err)
	}
	return in, nil
}

// readStrict decodes one JSON value of at most limit bytes. Anything after the value is an error.
func readStrict(r io.Reader, limit int64, to any) error {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return err
	}
	if int64(len(data)) > limit {
		return fmt.Errorf("longer than %d bytes", limit)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(to); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data follows the report")
	}
	return checkRepeated(data)
}

// checkRepeated returns an error for an object with two keys that encoding/json maps to the same
// field. encoding/json would use the last key and other readers the first, so one report could mean
// both a pass and a denial. data must be valid JSON of bounded depth, which the decoder has already
// checked.
func checkRepeated(data []byte) error {
	type object struct {
		keys    map[string]bool // nil for an array
		wantKey bool
	}
	var stack []object
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if len(stack) > 0 {
			if top := &stack[len(stack)-1]; top.keys != nil {
				if top.wantKey {
					key, folded := token.(string), foldKey(token.(string))
					if top.keys[folded] {
						return fmt.Errorf("field %q is repeated", key)
					}
					top.keys[folded], top.wantKey = true, false
					continue
				}
				top.wantKey = true
			}
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, object{keys: map[string]bool{}, wantKey: true})
		case json.Delim('['):
			stack = append(stack, object{})
		}
	}
}

// foldKey maps keys that differ only in case to the same string. Like encoding/json, it replaces
// each rune by the smallest rune that folds to it.
func foldKey(key string) string {
	folded := []rune(key)
	for i, r := range folded {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		folded[i] = least
	}
	return string(folded)
}
