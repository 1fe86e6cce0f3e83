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
// MiB.
const MaxJSON = 256 << 20

// JSON writes the whole report, indented and with a final line break. Strings are written without
// loss, except that invalid UTF-8 becomes U+FFFD. Characters that could control a terminal or a CI
// log are written as \u escapes.
//
// JSON returns an error for a report that contradicts itself, before it writes anything.
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

// WriteJSON writes any value in the form that [JSON] uses for reports: indented, with a final line
// break, and with \u escapes for characters that could control a terminal or a CI log.
func WriteJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(EscapeJSON(data), '\n'))
	return err
}

// EscapeJSON returns JSON in which unprintable characters and CI command marks are \u escapes. They
// occur only inside strings, so the value stays the same. The encoder escapes only ASCII control
// characters, but U+009B starts a terminal sequence just as ESC does.
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

// ReadJSON reads a report that JSON wrote. It returns an error and the zero Report, which is not a
// pass, for unknown or repeated fields, another schema, a report that contradicts itself, more than
// MaxJSON bytes, or data after the report.
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

// ReadInput reads the evidence of a report from JSON of its own, as strictly as ReadJSON.
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
// field. encoding/json uses the last key, other readers may use the first, and "passed" must not
// mean two things. The data must be valid JSON of bounded depth, as the decoder guarantees.
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

// foldKey maps keys that differ only in case to the same string, as encoding/json does: it replaces
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
