package flags

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/suggest"
)

// Advice maps flag or command names of other programs, without dashes, to the advice for
// imagegate's users: the equivalent flag or command, or a whole sentence.
type Advice map[string]string

// Unknown returns the error for a flag that the command does not have. name may have dashes.
func Unknown(known []cli.Flag, name string, advice Advice) error {
	name = strings.TrimLeft(name, "-")
	var names []string
	for _, f := range known {
		names = append(names, f.Names()...)
	}
	if near := suggest.Nearest(name, names); near != "" {
		return fmt.Errorf("unknown flag %s%s", Dashed(name), DidYouMean(Dashed(near)))
	}
	if a := advice[name]; a != "" {
		return fmt.Errorf("unknown flag %s: %s", Dashed(name), a)
	}
	return fmt.Errorf("unknown flag %s", Dashed(name))
}

// UnknownCommand returns the error for a command that does not exist. parent is the group that the
// user gave, such as "imagegate policy". If another group has a subcommand of this name, the error
// says so.
func UnknownCommand(parent string, known, all []*cli.Command, name string, advice Advice) error {
	var names []string
	for _, c := range known {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	unknown := fmt.Errorf("unknown command %q", name)
	if near := suggest.Nearest(name, names); near != "" {
		return fmt.Errorf("%w%s", unknown, DidYouMean(near))
	}
	if a := advice[name]; a != "" {
		return fmt.Errorf("%w%s", unknown, DidYouMean(a))
	}
	if groups := groupsWith(all, name); len(groups) > 0 {
		return fmt.Errorf("%w%s", unknown, DidYouMean(strings.Join(groups, " or ")))
	}
	return fmt.Errorf("%w: see %q", unknown, parent+" --help")
}

// groupsWith returns the full names of all subcommands with this name.
func groupsWith(all []*cli.Command, name string) []string {
	var out []string
	for _, group := range all {
		if Find(group.Subcommands, name) != nil {
			out = append(out, group.Name+" "+name)
		}
	}
	return out
}

// DidYouMean returns the end of an error about an unknown name: ": did you mean near?", or "" if
// near is empty.
func DidYouMean(near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s?", near)
}

// Variables returns the environment variables of all flags.
func Variables(commands []*cli.Command) []string {
	var out []string
	for _, c := range commands {
		for _, f := range c.Flags {
			if documented, ok := f.(cli.DocGenerationFlag); ok {
				out = append(out, documented.GetEnvVars()...)
			}
		}
		out = append(out, Variables(c.Subcommands)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// UnknownVariables returns a warning for each environment variable in environ that begins with
// prefix and is not in known. The warnings do not contain values. It ignores the variables that
// Kubernetes sets for a service with the same name as imagegate.
func UnknownVariables(environ []string, prefix string, known []string) []string {
	var out []string
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, prefix) || slices.Contains(known, name) || isServiceLink(strings.TrimPrefix(name, prefix)) {
			continue
		}
		out = append(out, fmt.Sprintf("the environment variable %s has no effect%s", name, DidYouMean(suggest.Nearest(name, known))))
	}
	slices.Sort(out)
	return out
}

// isServiceLink reports whether a variable name, without the prefix, is one that Kubernetes sets
// for a service:
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
func isServiceLink(rest string) bool {
	return rest == "PORT" || rest == "SERVICE_HOST" || strings.HasPrefix(rest, "SERVICE_PORT") || strings.HasPrefix(rest, "PORT_")
}
