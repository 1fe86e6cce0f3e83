// Package strict reads YAML files strictly: one document in UTF-8, without unknown or repeated
// keys, anchors, aliases, merge keys or tags, and with values of the expected types only. Every
// problem has its line and column.
package strict

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// These are the limits of a file: the size in bytes, the nesting depth, and the number of problems
// that are listed.
const (
	maxFileSize = 1 << 20
	maxDepth    = 20
	maxProblems = 1000
)

// MaxItems is the usual limit for the number of items in a list.
const MaxItems = 10_000

// Position is a place in a file. Line and Column count from 1.
type Position struct {
	File         string
	Line, Column int
}

// Problem is an error at a place in a file.
type Problem struct {
	Position Position
	// Message is one sentence without a full stop at the end. It quotes text of the file with %q.
	Message string
}

// Decoder reads a tree of YAML nodes strictly and collects every problem instead of stopping at the
// first. It uses yaml.v3 only to parse the tree. The decoder of yaml.v3 is not strict enough: it
// forgets KnownFields inside a custom unmarshaller, converts 1 to "1", and reports errors without a
// column.
type Decoder struct {
	// File is the name of the file, for the positions of problems.
	File string

	source   []byte // the data that Document parses
	empty    string // text to add to the message for an empty file
	problems []Problem
}

// NewDecoder returns a Decoder without problems. It does not open the file. empty is appended to
// the message about an empty file, for example to say what to write. It may be "".
func NewDecoder(file, empty string) *Decoder { return &Decoder{File: file, empty: empty} }

// Reader reads the value of one key, or records a problem. It uses key for names and positions in
// messages.
type Reader func(key, value *yaml.Node)

// Field is one key of a mapping.
type Field struct {
	Name      string
	Mandatory bool
	Read      Reader
}

// Mandatory returns a key that the mapping must have.
func Mandatory(name string, read Reader) Field { return Field{name, true, read} }

// Optional returns a key that the mapping may have.
func Optional(name string, read Reader) Field { return Field{name, false, read} }

// Position returns the place of a node.
func (d *Decoder) Position(n *yaml.Node) Position {
	return Position{File: d.File, Line: n.Line, Column: n.Column}
}

// Problem records a problem at a node.
func (d *Decoder) Problem(n *yaml.Node, format string, args ...any) {
	d.ProblemAt(d.Position(n), format, args...)
}

// ProblemAt records a problem at a place.
func (d *Decoder) ProblemAt(at Position, format string, args ...any) {
	d.problems = append(d.problems, Problem{Position: at, Message: fmt.Sprintf(format, args...)})
}

// Problems returns all problems, sorted by position. After 1000 problems, one more has the number
// of the remaining ones.
func (d *Decoder) Problems() []Problem {
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column),
		)
	})
	if more := len(d.problems) - maxProblems; more > 0 {
		last := d.problems[maxProblems].Position
		d.problems = d.problems[:maxProblems]
		d.ProblemAt(last, "%d more problems from here on", more)
	}
	return d.problems
}

// Document parses data, which must contain exactly one YAML document, and returns its root. If a
// problem prevents that, it returns nil.
func (d *Decoder) Document(data []byte) *yaml.Node {
	d.source = data
	start := Position{File: d.File, Line: 1, Column: 1}
	if len(data) > maxFileSize {
		d.ProblemAt(start, "the file is larger than %d bytes", maxFileSize)
		return nil
	}
	if at, ok := invalidUTF8(data); !ok {
		at.File = d.File
		d.ProblemAt(at, "the file is not UTF-8 text")
		return nil
	}

	in := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	switch err := in.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.ProblemAt(start, "the file is empty%s", d.empty)
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
		d.Problem(&next, "a second document: expected one document in a file")
	}

	root := doc.Content[0]
	if isNull(root) {
		d.Problem(root, "the file is empty%s", d.empty)
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

// parserTexts lists the messages of yaml.v3's parser. Line numbers in parser errors count from 0,
// but line numbers in scanner errors count from 1. An error on the first line has no line number
// (see the function fail in yaml.v3's decode.go).
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

// syntax records a syntax error of yaml.v3 as a problem, at the line that the error names.
func (d *Decoder) syntax(data []byte, err error) {
	at := Position{File: d.File, Line: 1, Column: 1}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		at.Line += bytes.Count(before, []byte("\n"))
		at.Column += utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
		d.ProblemAt(at, "alias %q: anchors and aliases are not allowed, write the value out", m[1])
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
	d.ProblemAt(at, "not valid YAML: %s", text)
}

// refuse records a problem for each YAML feature that the strict format forbids. Anchors and
// aliases can make a small file large, and separate a value from its use. A tag changes the type of
// a value.
func (d *Decoder) refuse(n *yaml.Node, depth int) {
	if depth > maxDepth {
		d.Problem(n, "nested more than %d levels deep", maxDepth)
		return
	}
	if n.Kind == yaml.AliasNode {
		d.Problem(n, "alias %q: anchors and aliases are not allowed, write the value out", n.Value)
	}
	if n.Anchor != "" {
		d.Problem(n, "anchor %q: anchors and aliases are not allowed, write the value out", n.Anchor)
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.Problem(n, "tag %q: tags are not allowed", n.Tag)
	}
	if isMerge(n) {
		d.Problem(n, "merge key %q: merge keys are not allowed, write the keys out", n.Value)
	}
	for _, child := range n.Content {
		d.refuse(child, depth+1)
	}
}

func isNull(n *yaml.Node) bool  { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
func isMerge(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge" }
