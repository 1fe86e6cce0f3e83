package github

import (
	"fmt"
	"strings"
)

// FormatOutputs returns outputs in the form of the file GITHUB_OUTPUT. Every value is between lines
// with delimiter, which must be random: a value that contained it could add outputs of its own.
func FormatOutputs(outputs []Output, delimiter string) (string, error) {
	var b strings.Builder
	for _, o := range outputs {
		if delimiter == "" || strings.Contains(o.Name+o.Value, delimiter) {
			return "", fmt.Errorf("the output %s contains the delimiter", o.Name)
		}
		fmt.Fprintf(&b, "%s<<%s\n%s\n%s\n", o.Name, delimiter, o.Value, delimiter)
	}
	return b.String(), nil
}

var (
	dataEscapes     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// property is a property of a workflow command. One with an empty value is left out.
type property struct{ name, value string }

// command returns a line with a workflow command, with the escapes of GitHub's own toolkit.
func command(name string, properties []property, data string) string {
	var list []string
	for _, p := range properties {
		if p.value != "" {
			list = append(list, p.name+"="+propertyEscapes.Replace(p.value))
		}
	}
	if len(list) > 0 {
		name += " " + strings.Join(list, ",")
	}
	return "::" + name + "::" + dataEscapes.Replace(data) + "\n"
}
