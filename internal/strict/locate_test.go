package strict

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"gopkg.in/yaml.v3"
)

// FuzzScalarPlaces writes a text in each scalar style of YAML, parses the file, and checks the
// place of every character.
func FuzzScalarPlaces(f *testing.F) {
	for _, text := range []string{
		"a", "a == 'b'", "a\nb\n\n c", "a  b\\n\"c\"", "é ü", " x\n", "x: y # z", "- a", strings.Repeat("long words ", 30),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, style := range []yaml.Style{0, yaml.LiteralStyle, yaml.FoldedStyle, yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle} {
			var source bytes.Buffer
			out := yaml.NewEncoder(&source)
			out.SetIndent(4)
			err := out.Encode(map[string]*yaml.Node{"key": {Kind: yaml.ScalarNode, Tag: "!!str", Style: style, Value: text}})
			var doc yaml.Node
			if err != nil || yaml.Unmarshal(source.Bytes(), &doc) != nil {
				return // YAML cannot represent this text
			}
			n := doc.Content[0].Content[1]
			if n.Style&yaml.TaggedStyle != 0 {
				return // the decoder refuses this text
			}
			lines := strings.Split(source.String(), "\n")
			places, ok := scalarPlaces(lines, n, n.Value)
			if !ok {
				t.Fatalf("%q in\n%s", n.Value, source.String())
			}
			at := 0
			for _, r := range n.Value {
				p := places[at]
				at++
				if unicode.IsSpace(r) {
					continue
				}
				if got := []rune(lines[p.line])[p.column]; got != r && got != '\\' {
					t.Errorf("%q is said to be at %v, which has %q:\n%s", r, p, got, source.String())
				}
			}
			if at != len(places)-1 {
				t.Errorf("%d places for %d characters", len(places), at)
			}
		}
	})
}
