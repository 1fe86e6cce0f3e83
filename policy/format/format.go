// Package format writes policies as files.
package format

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/internal/keys"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

const day = 24 * time.Hour

// version is the version of the policy format.
const version = 1

// Policy writes a policy as one equivalent file. It omits default values and comments, and includes
// the exceptions of separate files. Parsing the result gives p again, except for its digest, file
// and positions.
func Policy(p *policy.Policy) ([]byte, error) { return formatYAML(document(p)) }

func formatYAML(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return nil, fmt.Errorf("writing the policy: %w", err)
	}
	return b.Bytes(), enc.Close()
}

// document returns the content of a policy file as a YAML mapping. It omits keys with default
// values.
func document(p *policy.Policy) *yaml.Node {
	n := mappingNode()
	add(n, "version", scalarNode("!!int", strconv.Itoa(version)))
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		key := fileKey(v.Type(), v.Type().Field(i))
		switch {
		case key == "" || v.Field(i).IsZero():
		case key == "exceptions":
			if len(p.Exceptions) > 0 && !limitsExceptions(p) {
				add(n, key, nodeOf(v.Field(i)))
			}
		case strings.HasPrefix(key, "exceptions"): // exceptionMapping writes this field
		default:
			// A section that has only default values is omitted, too.
			if value := nodeOf(v.Field(i)); value.Kind != yaml.MappingNode || len(value.Content) > 0 {
				add(n, key, value)
			}
		}
	}
	if limitsExceptions(p) {
		add(n, "exceptions", exceptionMapping(p))
	}
	return n
}

// limitsExceptions reports whether exceptions must be written as a mapping instead of a list.
func limitsExceptions(p *policy.Policy) bool {
	return p.ExceptionsMaxLifetime > 0 || p.ExceptionsFolder != ""
}

func exceptionMapping(p *policy.Policy) *yaml.Node {
	n := mappingNode()
	if p.ExceptionsMaxLifetime > 0 {
		add(n, "maxLifetime", nodeOf(reflect.ValueOf(p.ExceptionsMaxLifetime)))
	}
	if p.ExceptionsFolder != "" {
		add(n, "folder", textNode(p.ExceptionsFolder))
	}
	if len(p.Exceptions) > 0 {
		add(n, "list", nodeOf(reflect.ValueOf(p.Exceptions)))
	}
	return n
}

// scopeNode writes all keys that the scope sets, even if a value equals the default.
func scopeNode(s *policy.Scope) *yaml.Node {
	n := mappingNode()
	add(n, "match", nodeOf(reflect.ValueOf(s.Match)))
	inner := map[string]*yaml.Node{}
	for _, key := range s.Keys {
		to, field, path := n, reflect.ValueOf(&s.Policy).Elem(), ""
		for name, below, nested := strings.Cut(key, "."); ; name, below, nested = strings.Cut(below, ".") {
			field = keys.Field(field, name)
			if !nested {
				add(to, name, nodeOf(field))
				break
			}
			path += "." + name
			if inner[path] == nil {
				inner[path] = mappingNode()
				add(to, name, inner[path])
			}
			to = inner[path]
		}
	}
	return n
}

// fileKey returns the key in a policy file for a field of t, or "" if a policy file does not
// contain the field.
func fileKey(t reflect.Type, f reflect.StructField) string {
	key := keys.Of(f)
	aboutFile := t == reflect.TypeFor[policy.Policy]() && slices.Contains([]string{"file", "files", "digest"}, key)
	if !f.IsExported() || key == "-" || aboutFile || f.Type == reflect.TypeFor[policy.Position]() {
		return ""
	}
	return key
}

func nodeOf(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case time.Duration:
		return textNode(writtenDuration(x))
	case time.Time:
		return scalarNode("!!timestamp", x.UTC().Format(time.RFC3339Nano))
	case policy.Scope:
		return scopeNode(&x)
	case fmt.Stringer:
		return textNode(x.String())
	}
	switch v.Kind() {
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, nodeOf(v.Index(i)))
		}
		return n
	case reflect.Struct:
		if effect, ok := oneEffect(v); ok {
			return textNode(effect.String())
		}
		n := mappingNode()
		for i := range v.NumField() {
			if key := fileKey(v.Type(), v.Type().Field(i)); key != "" && !v.Field(i).IsZero() {
				add(n, key, nodeOf(v.Field(i)))
			}
		}
		return n
	case reflect.Bool:
		return scalarNode("!!bool", strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int64:
		return scalarNode("!!int", strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		return numberNode(v.Float())
	}
	return textNode(v.String())
}

// oneEffect returns the single effect that is equivalent to a group of effects. ok is false if v is
// not a group or if no single effect is equivalent.
func oneEffect(v reflect.Value) (one policy.Effect, ok bool) {
	if v.Type() != reflect.TypeFor[policy.CoverageEffects]() && v.Type() != reflect.TypeFor[policy.UnknownEffects]() {
		return 0, false
	}
	var effects []policy.Effect
	for i := range v.NumField() {
		switch x := v.Field(i).Interface().(type) {
		case policy.Effect:
			effects = append(effects, x)
		case policy.OptInEffect:
			if x != policy.OptInWarn {
				return 0, false
			}
		}
	}
	return effects[0], len(slices.Compact(effects)) == 1
}

// writtenDuration writes d so that strict.ParseDuration can read it. The parser accepts at most four
// digits for days, so a longer duration is written in hours.
func writtenDuration(d time.Duration) string {
	if d >= 10_000*day {
		return d.String()
	}
	return wording.Duration(d)
}

// numberNode writes a whole number as an integer, because yaml.v3 would add a tag to a float
// without a fraction.
func numberNode(f float64) *yaml.Node {
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if strings.ContainsAny(text, ".e") {
		return scalarNode("!!float", text)
	}
	return scalarNode("!!int", text)
}

func mappingNode() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

func scalarNode(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// textNode quotes text that is not printable on one line, because yaml.v3 cannot read every block
// that it writes.
func textNode(s string) *yaml.Node {
	n := scalarNode("!!str", s)
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func add(mapping *yaml.Node, key string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, scalarNode("!!str", key), value)
}
