package flags

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"
)

// CountError is a wrong number of arguments.
type CountError struct {
	Command *cli.Command
	Want    string // such as "one IMAGE"
	Args    []string
}

// Error names the command and both numbers.
func (e *CountError) Error() string {
	noun := "arguments"
	if len(e.Args) == 1 {
		noun = "argument"
	}
	return fmt.Sprintf("%s: expected %s, got %d %s", e.Command.FullName(), e.Want, len(e.Args), noun)
}

// Hint returns the usage line, or the flag that is missing before a file.
func (e *CountError) Hint() string {
	for _, a := range e.Args {
		ext := filepath.Ext(a)
		_, err := os.Stat(a)
		takesPolicy := slices.Contains(Names(e.Command.Flags), "--policy")
		if err == nil && takesPolicy && (ext == ".yaml" || ext == ".yml") {
			return fmt.Sprintf("for the policy in %s, use --policy %s", a, a)
		}
	}
	return fmt.Sprintf("usage: %s %s [flags]", e.Command.HelpName, e.Command.ArgsUsage)
}
