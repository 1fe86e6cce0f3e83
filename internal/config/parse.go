package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/internal/suggest"
)

// maxValues is the maximum number of values of a repeatable key.
const maxValues = 100

// parser reads the content of a configuration file.
type parser struct {
	file   *File
	keys   []Key
	base   string   // folder of the file, relative to the working folder
	folder *os.Root // the same folder of a found file; nil for a named file
	in     *strict.Decoder
}

func (p *parser) parse(data []byte) (*File, error) {
	p.in = strict.NewDecoder(p.file.Path, ": set a key, or remove the file")
	if root := p.in.Document(data); root != nil {
		p.in.Mapping(root, "the configuration", p.fields(root)...)
	}
	if problems := p.in.Problems(); len(problems) > 0 {
		return nil, &Error{Problems: problems}
	}
	return p.file, nil
}

// fields returns the keys that the file can have. It also returns the forbidden keys that the file
// does have: each gets its own error message, and must not appear in the list of valid keys.
func (p *parser) fields(root *yaml.Node) []strict.Field {
	var fields []strict.Field
	for _, k := range p.keys {
		refusal := k.refusal(p.file.Found)
		switch {
		case refusal == "":
			fields = append(fields, strict.Optional(k.Name, p.value(k)))
		case has(root, k.Name):
			fields = append(fields, strict.Optional(k.Name, func(key, _ *yaml.Node) { p.in.Problem(key, "%s", refusal) }))
		}
	}
	return fields
}

// has reports whether the mapping n has a key with this name.
func has(n *yaml.Node, name string) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == name {
			return true
		}
	}
	return false
}

// value returns the function that reads the value of the key k.
func (p *parser) value(k Key) strict.Reader {
	return func(key, value *yaml.Node) {
		v := Value{Key: k, Position: p.in.Position(key)}
		item := func(n *yaml.Node) { v.Texts = append(v.Texts, p.text(k, key, n)) }
		switch {
		case k.Repeatable && value.Kind == yaml.SequenceNode:
			p.in.NotEmpty(p.in.List(maxValues, item), "leave the key out, or add a value")(key, value)
		case value.Kind != yaml.ScalarNode && k.Repeatable:
			p.in.WrongType(value, strict.Quoted(key), "text or a list")
		default:
			item(value)
		}
		p.file.Values = append(p.file.Values, v)
	}
}

// text reads one value of the key k, and makes a path in it relative to the working folder.
func (p *parser) text(k Key, key, n *yaml.Node) string {
	var s string
	if k.Bool {
		strict.Scalar(p.in, &s, "true or false", func(s string) (string, error) {
			if s != "true" && s != "false" {
				return "", fmt.Errorf("%q must be true or false", s)
			}
			return s, nil
		}, "!!bool")(key, n)
		return s
	}
	// A whole number or a date is accepted as the text that the flag would get.
	tags := []string{"!!str", "!!int", "!!timestamp"}
	strict.Scalar(p.in, &s, "text", func(s string) (string, error) {
		s, err := strict.Line(s)
		if err != nil {
			return "", err
		}
		return p.resolve(k, s)
	}, tags...)(key, n)
	return s
}

// resolve checks a value of the key k, and returns it with its path made relative to the working
// folder.
func (p *parser) resolve(k Key, s string) (string, error) {
	switch word, path, toFile := strings.Cut(s, "="); {
	case k.Form == Output:
		if err := oneOf(word, k.Words); err != nil || !toFile {
			return s, err
		}
		if p.folder != nil {
			var err error
			if path, err = checkOutput(p.folder, word, path, k.Extensions); err != nil {
				return "", fmt.Errorf("%q: %w", s, err)
			}
		}
		return word + "=" + p.rebase(path), nil
	case k.Form == PathOrURI && (strings.Contains(s, "://") || slices.Contains(k.Words, s)):
		return s, nil
	case k.Form == Path, k.Form == PathOrURI:
		return p.rebase(s), nil
	}
	return s, oneOf(s, k.Words)
}

// rebase returns a path made relative to the working folder. It does not remove "..", because the
// system follows a symbolic link before the "..".
func (p *parser) rebase(path string) string {
	if path = filepath.FromSlash(path); path == "" || p.base == "." || filepath.IsAbs(path) {
		return path
	}
	return strings.TrimSuffix(p.base, string(filepath.Separator)) + string(filepath.Separator) + path
}

// oneOf returns an error if s is not one of these words. An empty list accepts every value.
func oneOf(s string, words []string) error {
	if len(words) == 0 || slices.Contains(words, s) {
		return nil
	}
	if near := suggest.Nearest(s, words); near != "" {
		return fmt.Errorf("%q is unknown: did you mean %q?", s, near)
	}
	return fmt.Errorf("%q is unknown: expected one of %s", s, strings.Join(words, ", "))
}
