package strict

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/suggest"
)

// Mapping reads a mapping that may have only these fields, and records a problem for every other
// key. what names the mapping in messages.
func (d *Decoder) Mapping(n *yaml.Node, what string, fields ...Field) {
	if n.Kind != yaml.MappingNode {
		d.WrongType(n, what, "a mapping")
		return
	}
	lines := make(map[string]int, len(fields))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode || isMerge(key) {
			continue // refuse has already reported this key
		}
		if key.Kind != yaml.ScalarNode {
			d.Problem(key, "%s is not a key: expected text", typeName(key))
			continue
		}
		if line, ok := lines[key.Value]; ok {
			d.Problem(key, "duplicate key %q, first on line %d", key.Value, line)
			continue
		}
		lines[key.Value] = key.Line
		at := slices.IndexFunc(fields, func(f Field) bool { return f.Name == key.Value })
		if at < 0 {
			d.unknownKey(key, what, fields)
			continue
		}
		if value.Kind == yaml.AliasNode {
			continue
		}
		fields[at].Read(key, value)
	}
	for _, f := range fields {
		if _, ok := lines[f.Name]; f.Mandatory && !ok {
			d.Problem(n, "%s has no %q, which is mandatory", what, f.Name)
		}
	}
}

func (d *Decoder) unknownKey(key *yaml.Node, what string, fields []Field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	if near := suggest.Nearest(key.Value, names); near != "" {
		d.Problem(key, "unknown key %q in %s: did you mean %q?", key.Value, what, near)
		return
	}
	d.Problem(key, "unknown key %q in %s: expected one of %s", key.Value, what, strings.Join(names, ", "))
}

// List reads a list of at most limit items.
func (d *Decoder) List(limit int, item func(*yaml.Node)) Reader {
	return func(key, value *yaml.Node) {
		if value.Kind != yaml.SequenceNode {
			d.WrongType(value, Quoted(key), "a list")
			return
		}
		for i, n := range value.Content {
			if i == limit {
				d.Problem(n, "%q has more than %d items", key.Value, limit)
				return
			}
			if n.Kind != yaml.AliasNode {
				item(n)
			}
		}
	}
}

// Scalar returns a Reader for a scalar with one of these YAML tags, such as "!!str". It stores the
// value that parse returns in to. want describes the expected value in messages.
func Scalar[T any](d *Decoder, to *T, want string, parse func(string) (T, error), tags ...string) Reader {
	return func(key, value *yaml.Node) {
		if value.Kind != yaml.ScalarNode || !slices.Contains(tags, value.ShortTag()) {
			d.WrongType(value, Quoted(key), want)
			return
		}
		v, err := parse(value.Value)
		if err != nil {
			d.Problem(value, "%q: %v", key.Value, err)
			return
		}
		*to = v
	}
}

// Text returns a Reader for one line of text that is not blank. It removes the surrounding white
// space.
func (d *Decoder) Text(to *string) Reader {
	return d.CheckedText(to, func(string) error { return nil })
}

// CheckedText is like Text, and records the error of check as a problem.
func (d *Decoder) CheckedText(to *string, check func(string) error) Reader {
	return Scalar(d, to, "text", func(s string) (string, error) {
		s, err := Line(s)
		if err != nil {
			return "", err
		}
		return s, check(s)
	}, "!!str")
}

// Line returns s without the surrounding white space. It returns an error if s is blank, or
// contains a line break or another control character.
func Line(s string) (string, error) {
	s, err := notBlank(s)
	if err == nil && strings.ContainsFunc(s, isControl) {
		err = errors.New("contains a line break or a control character")
	}
	return s, err
}

// Prose returns a Reader for text that is not blank and may have several lines.
func (d *Decoder) Prose(to *string) Reader {
	return Scalar(d, to, "text", notBlank, "!!str")
}

// Count returns a Reader for a whole number that is 0 or more.
func (d *Decoder) Count(to *int) Reader {
	return Scalar(d, to, "a whole number", ParseCount, "!!int")
}

// Texts returns a Reader for a list of at least one text. Every text must pass check. hint is the
// advice in the message about an empty list.
func (d *Decoder) Texts(to *[]string, check func(string) error, hint string) Reader {
	return func(key, value *yaml.Node) {
		items := d.List(MaxItems, func(n *yaml.Node) {
			var s string
			d.CheckedText(&s, check)(key, n)
			*to = append(*to, s)
		})
		d.NotEmpty(items, hint)(key, value)
	}
}

// NotEmpty returns a Reader that calls read, and records a problem with the hint if the list is
// empty.
func (d *Decoder) NotEmpty(read Reader, hint string) Reader {
	return func(key, value *yaml.Node) {
		read(key, value)
		if value.Kind == yaml.SequenceNode && len(value.Content) == 0 {
			d.Problem(value, "%q is empty: %s", key.Value, hint)
		}
	}
}

// Number returns a Reader for a decimal number that is above 0 and at most most.
func (d *Decoder) Number(to *float64, most float64) Reader {
	return Scalar(d, to, "a number", func(s string) (float64, error) {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !decimal.MatchString(s) || n <= 0 || n > most {
			return 0, fmt.Errorf("%q is not a plain decimal number above 0 and at most %v", s, most)
		}
		return n, nil
	}, "!!float", "!!int")
}

var decimal = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`)

// Yes returns a Reader for a key whose only valid value is true. The value false is refused: it
// would repeat the default, and could be mistaken for the opposite rule.
func (d *Decoder) Yes(to *bool) Reader {
	return Scalar(d, to, "true", func(s string) (bool, error) {
		if s != "true" {
			return false, fmt.Errorf("%q can only be true: omit the key instead", s)
		}
		return true, nil
	}, "!!bool")
}

func notBlank(s string) (string, error) {
	if s = strings.TrimSpace(s); s == "" {
		return "", errors.New("is blank")
	}
	return s, nil
}

func isControl(r rune) bool { return r < 0x20 || 0x7f <= r && r < 0xa0 }

// ParseCount parses a whole number of plain decimal digits. It refuses "010", because YAML 1.1
// reads it as 8 and people read it as 10.
func ParseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("%q is not a plain whole number, zero or more", s)
	}
	return n, nil
}

// Quoted returns the name of a key in quotes, for messages.
func Quoted(key *yaml.Node) string { return strconv.Quote(key.Value) }

// WrongType records that the value n has the wrong type. what names its key, and want the expected
// type.
func (d *Decoder) WrongType(n *yaml.Node, what, want string) {
	if n.Kind == yaml.AliasNode {
		return
	}
	hint := ""
	if want == "text" && n.Kind == yaml.ScalarNode && !isNull(n) {
		hint = " in quotes"
	}
	d.Problem(n, "%s is %s: expected %s%s", what, typeName(n), want, hint)
}

// typeName returns the name of a node's type in the words of YAML authors.
func typeName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!bool":
		return "a boolean"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}
