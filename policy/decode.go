package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/suggest"
)

// Limits of a policy file. A file beyond one of them is refused.
const (
	maxFileSize = 1 << 20
	maxDepth    = 20
	maxProblems = 1000
)

// decoder reads a tree of YAML nodes strictly and collects every problem instead of stopping at the
// first. It uses yaml.v3 only for the tree. The decoder of yaml.v3 loses KnownFields inside a
// custom unmarshaller, converts 1 to "1", and reports errors without a column.
type decoder struct {
	file     string
	source   []byte // the data that document reads
	empty    string // text to add to the message for an empty file
	problems []Problem
}

// reader reads the value of one key. key is used for names and positions.
type reader func(key, value *yaml.Node)

// field is one key of a mapping.
type field struct {
	name      string
	mandatory bool
	read      reader
}

func mandatory(name string, read reader) field { return field{name, true, read} }
func optional(name string, read reader) field  { return field{name, false, read} }

func (d *decoder) position(n *yaml.Node) Position {
	return Position{File: d.file, Line: n.Line, Column: n.Column}
}

func (d *decoder) problem(n *yaml.Node, format string, args ...any) {
	d.problemAt(d.position(n), format, args...)
}

func (d *decoder) problemAt(at Position, format string, args ...any) {
	d.problems = append(d.problems, Problem{Position: at, Message: fmt.Sprintf(format, args...)})
}

// err returns a *ParseError with all problems, or nil.
func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	sortProblems(d.problems)
	if more := len(d.problems) - maxProblems; more > 0 {
		last := d.problems[maxProblems].Position
		d.problems = d.problems[:maxProblems]
		d.problemAt(last, "%d more problems from here on", more)
	}
	return &ParseError{Problems: d.problems}
}

// document returns the root of the only document in data, or nil if a problem prevents reading it.
func (d *decoder) document(data []byte) *yaml.Node {
	d.source = data
	start := Position{File: d.file, Line: 1, Column: 1}
	if len(data) > maxFileSize {
		d.problemAt(start, "larger than %d bytes", maxFileSize)
		return nil
	}
	if at, ok := invalidUTF8(data); !ok {
		at.File = d.file
		d.problemAt(at, "not UTF-8 text")
		return nil
	}

	in := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	switch err := in.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.problemAt(start, "the file is empty%s", d.empty)
		return nil
	case err != nil:
		d.syntax(data, err)
		return nil
	}
	switch err := in.Decode(&next); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntax(data, err)
	default:
		d.problem(&next, "a second document: a file is one document")
	}

	root := doc.Content[0]
	if isNull(root) {
		d.problem(root, "the file is empty%s", d.empty)
		return nil
	}
	d.refuse(root, 0)
	return root
}

func invalidUTF8(data []byte) (Position, bool) {
	at := Position{Line: 1, Column: 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			return at, false
		}
		at.Column++
		if r == '\n' {
			at.Line, at.Column = at.Line+1, 1
		}
		data = data[size:]
	}
	return Position{}, true
}

var (
	yamlLine      = regexp.MustCompile(`^line ([0-9]+): (.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// parserTexts lists the errors whose lines yaml.v3 counts from 0. For errors of its scanner it
// counts from 1, and it names no line for the first one (see fail in its decode.go).
var parserTexts = []string{
	"did not find expected <document start>",
	"did not find expected node content",
	"did not find expected '-' indicator",
	"did not find expected key",
	"did not find expected ',' or ']'",
	"did not find expected ',' or '}'",
	"found undefined tag handle",
	"found duplicate %YAML directive",
	"found incompatible YAML document",
	"found duplicate %TAG directive",
}

// syntax records an error of yaml.v3 at its line.
func (d *decoder) syntax(data []byte, err error) {
	at := Position{File: d.file, Line: 1, Column: 1}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		at.Line += bytes.Count(before, []byte("\n"))
		at.Column += utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
		d.problemAt(at, "alias %q: anchors and aliases are refused, write the value out", m[1])
		return
	}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = m[2]
		if line, err := strconv.Atoi(m[1]); err == nil {
			at.Line = line
		}
		if slices.Contains(parserTexts, text) {
			at.Line++
		}
	}
	d.problemAt(at, "not valid YAML: %s", text)
}

// refuse records YAML features that this format does not allow. Anchors and aliases make a small
// file large and move a value away from its use. A tag changes the type of a value.
func (d *decoder) refuse(n *yaml.Node, depth int) {
	if depth > maxDepth {
		d.problem(n, "nested more than %d levels deep", maxDepth)
		return
	}
	if n.Kind == yaml.AliasNode {
		d.problem(n, "alias %q: anchors and aliases are refused, write the value out", n.Value)
	}
	if n.Anchor != "" {
		d.problem(n, "anchor %q: anchors and aliases are refused, write the value out", n.Anchor)
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.problem(n, "tag %q: tags are refused", n.Tag)
	}
	if isMerge(n) {
		d.problem(n, "merge key %q: merging is refused, write the keys out", n.Value)
	}
	for _, child := range n.Content {
		d.refuse(child, depth+1)
	}
}

func isNull(n *yaml.Node) bool  { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
func isMerge(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge" }

// mapping reads a mapping that has only these fields. what names the mapping in messages.
func (d *decoder) mapping(n *yaml.Node, what string, fields ...field) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, what, "a mapping")
		return
	}
	lines := make(map[string]int, len(fields))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode || isMerge(key) {
			continue // already reported by refuse
		}
		if key.Kind != yaml.ScalarNode {
			d.problem(key, "%s is not a key: want text", typeName(key))
			continue
		}
		if line, ok := lines[key.Value]; ok {
			d.problem(key, "duplicate key %q, first on line %d", key.Value, line)
			continue
		}
		lines[key.Value] = key.Line
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		if at < 0 {
			d.unknownKey(key, what, fields)
			continue
		}
		if value.Kind == yaml.AliasNode {
			continue
		}
		fields[at].read(key, value)
	}
	for _, f := range fields {
		if _, ok := lines[f.name]; f.mandatory && !ok {
			d.problem(n, "%s has no %q, which is mandatory", what, f.name)
		}
	}
}

func (d *decoder) unknownKey(key *yaml.Node, what string, fields []field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if near := suggest.Nearest(key.Value, names); near != "" {
		d.problem(key, "unknown key %q in %s: did you mean %q?", key.Value, what, near)
		return
	}
	d.problem(key, "unknown key %q in %s: want one of %s", key.Value, what, strings.Join(names, ", "))
}

// list reads a list of at most limit items.
func (d *decoder) list(limit int, item func(*yaml.Node)) reader {
	return func(key, value *yaml.Node) {
		if value.Kind != yaml.SequenceNode {
			d.wrongType(value, quoted(key), "a list")
			return
		}
		for i, n := range value.Content {
			if i == limit {
				d.problem(n, "%q has more than %d items", key.Value, limit)
				return
			}
			if n.Kind != yaml.AliasNode {
				item(n)
			}
		}
	}
}

// scalar reads a scalar of one of these YAML types ("!!str") with parse. want describes it in
// messages.
func scalar[T any](d *decoder, to *T, want string, parse func(string) (T, error), tags ...string) reader {
	return func(key, value *yaml.Node) {
		if value.Kind != yaml.ScalarNode || !slices.Contains(tags, value.ShortTag()) {
			d.wrongType(value, quoted(key), want)
			return
		}
		v, err := parse(value.Value)
		if err != nil {
			d.problem(value, "%q: %v", key.Value, err)
			return
		}
		*to = v
	}
}

// text reads one line of text that is not blank, and removes the surrounding white space.
func (d *decoder) text(to *string) reader {
	return d.checkedText(to, func(string) error { return nil })
}

// checkedText is text that must also pass check.
func (d *decoder) checkedText(to *string, check func(string) error) reader {
	return scalar(d, to, "text", func(s string) (string, error) {
		s, err := notBlank(s)
		if err != nil {
			return "", err
		}
		if strings.ContainsFunc(s, isControl) {
			return "", errors.New("has a line break or a control character in it")
		}
		return s, check(s)
	}, "!!str")
}

// prose reads text that is not blank and may have several lines.
func (d *decoder) prose(to *string) reader {
	return scalar(d, to, "text", notBlank, "!!str")
}

// count reads a whole number that is 0 or more.
func (d *decoder) count(to *int) reader {
	return scalar(d, to, "a whole number", parseCount, "!!int")
}

// texts reads a list of at least one text. Every text must pass check. hint is the advice for an
// empty list.
func (d *decoder) texts(to *[]string, check func(string) error, hint string) reader {
	return func(key, value *yaml.Node) {
		items := d.list(maxItems, func(n *yaml.Node) {
			var s string
			d.checkedText(&s, check)(key, n)
			*to = append(*to, s)
		})
		d.notEmpty(items, hint)(key, value)
	}
}

// notEmpty reads a list with read, and records a problem if it is empty.
func (d *decoder) notEmpty(read reader, hint string) reader {
	return func(key, value *yaml.Node) {
		read(key, value)
		if value.Kind == yaml.SequenceNode && len(value.Content) == 0 {
			d.problem(value, "%q is empty: %s", key.Value, hint)
		}
	}
}

// number reads a decimal number above 0 and at most most.
func (d *decoder) number(to *float64, most float64) reader {
	return scalar(d, to, "a number", func(s string) (float64, error) {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !decimal.MatchString(s) || n <= 0 || n > most {
			return 0, fmt.Errorf("%q is not a plain decimal number above 0 and at most %v", s, most)
		}
		return n, nil
	}, "!!float", "!!int")
}

var decimal = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`)

// yes reads only true. false would repeat the default, or be misunderstood as a rule of its own.
func (d *decoder) yes(to *bool) reader {
	return scalar(d, to, "true", func(s string) (bool, error) {
		if s != "true" {
			return false, fmt.Errorf("%q can only be true: leave the key out instead", s)
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

// parseCount accepts only plain decimal digits: "010" is 8 in YAML 1.1 and 10 for people.
func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("%q is not a plain whole number, zero or more", s)
	}
	return n, nil
}

func quoted(key *yaml.Node) string { return strconv.Quote(key.Value) }

func (d *decoder) wrongType(n *yaml.Node, what, want string) {
	if n.Kind == yaml.AliasNode {
		return
	}
	hint := ""
	if want == "text" && n.Kind == yaml.ScalarNode && !isNull(n) {
		hint = " in quotes"
	}
	d.problem(n, "%s is %s: want %s%s", what, typeName(n), want, hint)
}

// typeName describes a node in the words of YAML authors.
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
		return "a true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}
