package settings

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/config"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/observe"
)

// prefix is the prefix of variables that set flags.
const prefix = "IMAGEGATE_"

// words are the allowed values of keys that accept only a few words.
var words = map[string][]string{
	"output":           formats.Names(),
	"log-format":       {"text", "json"},
	"progress":         observe.Modes,
	"color":            observe.Colors,
	"signature-format": {"legacy", "bundle", "both"},
	"audit-log":        {"-", "syslog"},
}

// Keys returns the keys of the configuration file, in the order of the commands. A flag without a
// variable also gets a key, so that a file with this key gets a clear error: no file can set it.
func Keys(commands []*cli.Command) []config.Key {
	var out, single []config.Key
	for _, c := range commands {
		all := append(keysOf(c.Flags), Keys(c.Subcommands)...)
		for _, k := range all {
			if k.Variable == "" {
				single = append(single, k)
			} else {
				out = append(out, k)
			}
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(append(out, single...), func(k config.Key) bool {
		again := seen[k.Name]
		seen[k.Name] = true
		return again
	})
}

// keysOf returns the keys for the flags of one command.
func keysOf(known []cli.Flag) []config.Key {
	var out []config.Key
	for _, f := range known {
		if v := variableOf(f); v == namedVariable || v == noneVariable {
			continue
		}
		_, repeatable := f.(*cli.StringSliceFlag)
		k := config.Key{Name: keyName(f), Variable: variableOf(f), Bool: flags.IsBool(f), Repeatable: repeatable, Words: words[keyName(f)]}
		k.Form, k.Description = form(usageOf(f))
		if k.Form == config.Output {
			for _, format := range formats.All {
				k.Extensions = append(k.Extensions, path.Ext(format.Extension))
			}
			slices.Sort(k.Extensions)
			k.Extensions = slices.Compact(k.Extensions)
		}
		out = append(out, k)
	}
	return out
}

var placeholder = regexp.MustCompile("`([^`]*)`")

// form derives the form of a flag's value from its usage text: whether the value, or a part of it,
// is a path. It also returns the usage text without backquotes.
func form(usage string) (config.Form, string) {
	description := strings.ReplaceAll(usage, "`", "")
	m := placeholder.FindStringSubmatch(usage)
	switch {
	case m == nil:
		return config.Plain, description
	case m[1] == "FILE" || m[1] == "DIR" || m[1] == "PATH":
		return config.Path, description
	case m[1] == "KEY" || m[1] == "LOG":
		return config.PathOrURI, description
	case m[1] == "FORMAT[=FILE]":
		return config.Output, description
	}
	return config.Plain, description
}

// flagOf returns the flag that the key with this name sets, or nil.
func flagOf(known []cli.Flag, name string) cli.Flag {
	for _, f := range known {
		if variableOf(f) != "" && keyName(f) == name {
			return f
		}
	}
	return nil
}

// keyName returns the name of the key for a flag: the name of its variable, or of the flag if it has
// none.
func keyName(f cli.Flag) string {
	name, ok := strings.CutPrefix(variableOf(f), prefix)
	if !ok {
		return f.Names()[0]
	}
	return strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}

func variableOf(f cli.Flag) string {
	if documented, ok := f.(cli.DocGenerationFlag); ok && len(documented.GetEnvVars()) > 0 {
		return documented.GetEnvVars()[0]
	}
	return ""
}

func usageOf(f cli.Flag) string {
	if documented, ok := f.(cli.DocGenerationFlag); ok {
		return documented.GetUsage()
	}
	return ""
}
