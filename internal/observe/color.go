package observe

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Colors are the valid values of the flag --color.
var Colors = []string{"auto", "always", "never"}

// UseColor decides whether output has colors. choice is "auto", "always" or "never"; "" means auto.
// Auto means colors on a terminal, unless NO_COLOR is set or TERM is dumb. If FORCE_COLOR or
// CLICOLOR_FORCE is set, auto means colors even without a terminal. See https://no-color.org,
// https://force-color.org and https://bixense.com/clicolors.
func UseColor(choice string, getenv func(string) string, terminal bool) (bool, error) {
	switch choice {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto", "":
	default:
		return false, fmt.Errorf("color %q: must be auto, always or never", choice)
	}
	isOn := func(name string) bool { v := getenv(name); return v != "" && v != "0" && v != "false" }
	switch {
	case getenv("NO_COLOR") != "":
		return false, nil
	case isOn("FORCE_COLOR"), isOn("CLICOLOR_FORCE"):
		return true, nil
	case getenv("TERM") == "dumb":
		return false, nil
	}
	return terminal, nil
}

// IsTerminal reports whether w is a terminal that can redraw a line.
func IsTerminal(w io.Writer, getenv func(string) string) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && getenv("TERM") != "dumb"
}

// Width returns the width of a terminal in columns, or 0 if w is not a terminal.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}
