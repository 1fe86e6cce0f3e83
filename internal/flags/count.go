package flags

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"
)

// CountError is the error of a command line with too few or too many arguments.
type CountError struct {
	Command *cli.Command
	Want    string // such as "one IMAGE"
	Args    []string
}

// Error names the command, the arguments that it requires and the number that was given.
func (e *CountError) Error() string {
	noun := "arguments"
	if len(e.Args) == 1 {
		noun = "argument"
	}
	return fmt.Sprintf("%s: expected %s, got %d %s", e.Command.FullName(), e.Want, len(e.Args), noun)
}

// Hint returns the usage line of the command. If an argument is a YAML file and the command takes
// policies, it suggests --policy instead.
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
