package remedy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/versions"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Wanted is a package and the version to upgrade it to.
type Wanted struct {
	Name, From string
	To         string // "" if unknown, or not a single version
}

// Upgrade returns the instruction to upgrade a package to version. If version is empty or names
// several versions, the instruction is to upgrade to the newest one.
func Upgrade(p evidence.Package, version string) Instruction {
	if IsStdlib(p) && version != "" {
		return say("build with Go %s", version)
	}
	if IsPackageName(p.Type, p.Name) {
		if command := Command(p.Type, []Wanted{{p.Name, p.Version, version}}); command != "" {
			return paste("%s", command)
		}
	}
	if version == "" {
		return say("upgrade %s to a version with all fixes", name(p.Name))
	}
	return say("upgrade %s to %s", name(p.Name), version)
}

// maxNamed is the maximum number of packages that one command names. For more packages, the command
// upgrades everything, if the package manager can do that safely.
const maxNamed = 20

// upgraders has the commands for package managers that need no versions. Distributions keep only
// the newest version of a package, so a command with a fixed version would soon fail.
var upgraders = map[string]struct{ named, all string }{
	"deb":          {"apt-get update && apt-get install -y --only-upgrade ", "apt-get update && apt-get upgrade -y"},
	"apk":          {"apk add --upgrade ", "apk upgrade"},
	"rpm":          {"dnf upgrade -y ", "dnf upgrade -y"},
	"gem":          {"bundle update ", ""},
	"php-composer": {"composer update --with-all-dependencies ", ""},
	"hex":          {"mix deps.update ", ""},
	"dart-pub":     {"dart pub upgrade ", ""},
}

// Command returns one command that upgrades all these packages, or "" if none is known for the
// package type. The names must be safe in a shell.
func Command(typ string, all []Wanted) string {
	names := make([]string, len(all))
	for i := range all {
		if !IsShellWord(all[i].To) {
			all[i].To = ""
		}
		names[i] = all[i].Name
	}
	if names = unique(names); len(names) == 0 {
		return ""
	}
	if u, ok := upgraders[typ]; ok {
		if len(names) > maxNamed && u.all != "" {
			return u.all
		}
		return u.named + strings.Join(names, " ")
	}
	switch typ {
	case "npm":
		return npmCommand(all)
	case "python":
		return withVersions("pip install --upgrade", "pip install", all, func(w Wanted) string { return "'" + w.Name + ">=" + w.To + "'" })
	case "go-module":
		return goCommand(all)
	case "rust-crate":
		return cargoCommand(all)
	case "dotnet":
		return eachVersion("dotnet add package %s --version %s", highestOf("nuget", all))
	}
	return ""
}

// npmCommand returns one command that updates packages within their major version, which
// package.json usually allows, and installs the wanted versions of the others.
func npmCommand(all []Wanted) string {
	var install, update []Wanted
	for _, w := range all {
		major, _, _ := strings.Cut(w.To, ".")
		if from, _, _ := strings.Cut(w.From, "."); w.To == "" || from == major && major != "0" {
			w.To = ""
			update = append(update, w)
		} else {
			install = append(install, w)
		}
	}
	return withVersions("npm update", "npm install", append(update, highestOf("npm", install)...), func(w Wanted) string { return w.Name + "@" + w.To })
}

// cargoCommand updates crates in Cargo.lock, each by its name and version: cargo refuses the name alone
// if the lock file has the crate in two versions. It returns "" if a version is incompatible with the
// installed one, because then Cargo.toml has to change first.
func cargoCommand(all []Wanted) string {
	crates := make([]string, len(all))
	for i, w := range all {
		if w.To != "" && compatible(w.From) != compatible(w.To) {
			return ""
		}
		crates[i] = w.Name
		if w.From != "" && IsShellWord(w.From) {
			crates[i] += "@" + w.From
		}
	}
	command := "cargo update " + strings.Join(unique(crates), " ")
	if len(all) == 1 && all[0].To != "" {
		command += " --precise " + all[0].To
	}
	return command
}

// compatible returns the leading part of a version that must be equal for cargo to treat two
// versions as compatible: "1" for 1.2.3, "0.2" for 0.2.3, "0.0.3" for 0.0.3.
func compatible(version string) string {
	version, _, _ = strings.Cut(version, "-")
	version, _, _ = strings.Cut(version, "+")
	numbers := strings.Split(version, ".")
	for i, n := range numbers {
		if n != "0" {
			return strings.Join(numbers[:i+1], ".")
		}
	}
	return version
}

// highestOf keeps only the highest version of each package: a project file has one version of a
// package, so a second command would undo the first. Versions that cannot be compared are all kept.
func highestOf(purlType string, all []Wanted) []Wanted {
	var out []Wanted
	for _, w := range all {
		i := slices.IndexFunc(out, func(o Wanted) bool { return o.Name == w.Name && o.To != "" && w.To != "" })
		if i < 0 {
			out = append(out, w)
			continue
		}
		if highest, err := versions.Highest(purlType, []string{out[i].To, w.To}); err != nil {
			out = append(out, w)
		} else if highest == w.To {
			out[i] = w
		}
	}
	return out
}

// withVersions joins two commands: bare for the packages without a version, and versioned for the
// others.
func withVersions(bare, versioned string, all []Wanted, format func(Wanted) string) string {
	var names, versions []string
	for _, w := range all {
		if w.To == "" {
			names = append(names, w.Name)
		} else {
			versions = append(versions, format(w))
		}
	}
	var commands []string
	if len(names) > 0 {
		commands = append(commands, bare+" "+strings.Join(unique(names), " "))
	}
	if len(versions) > 0 {
		commands = append(commands, versioned+" "+strings.Join(unique(versions), " "))
	}
	return strings.Join(commands, " && ")
}

// goCommand returns the "go get" command for all modules. It returns "" if a module has no known
// version, because "go get" would then take the newest one.
func goCommand(all []Wanted) string {
	modules := make([]string, len(all))
	for i, w := range all {
		if w.To == "" {
			return ""
		}
		modules[i] = w.Name + "@v" + strings.TrimPrefix(w.To, "v")
	}
	return "go get " + strings.Join(unique(modules), " ") + " && go mod tidy"
}

// eachVersion joins one command for each package. It returns "" if a version is unknown.
func eachVersion(format string, all []Wanted) string {
	var commands []string
	for _, w := range all {
		if w.To == "" {
			return ""
		}
		commands = append(commands, fmt.Sprintf(format, w.Name, w.To))
	}
	return strings.Join(unique(commands), " && ")
}

// unique removes repeated strings, and keeps the order.
func unique(list []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(s string) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
}

// Removal returns the command that removes a package, or "" if none is known.
func Removal(p evidence.Package) string {
	command := map[string]string{
		"deb": "apt-get purge -y ", "apk": "apk del ", "rpm": "dnf remove -y ",
		"npm": "npm uninstall ", "python": "pip uninstall -y ", "gem": "bundle remove ",
	}[p.Type]
	if command == "" || !IsPackageName(p.Type, p.Name) {
		return ""
	}
	return command + p.Name
}

// systemName matches safe names of system packages. A package manager would download a package from
// a name that is a URL, and remove the package if the name ends with "-".
var systemName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._+~-]*[A-Za-z0-9._+~])?$`)

// IsPackageName reports whether name can be an argument of a package manager's command: it has no
// special meaning in a shell or to the package manager. Names come from the image.
func IsPackageName(typ, name string) bool {
	switch typ {
	case "apk", "deb", "rpm", "alpm", "portage":
		return len(name) <= maxName && systemName.MatchString(name)
	case "gem", "php-composer", "hex", "dart-pub", "rust-crate", "dotnet", "python":
		return IsShellWord(name) && !strings.Contains(name, "://")
	}
	return IsShellWord(name) && !strings.Contains(name, ":")
}

var shellWord = regexp.MustCompile(`^[A-Za-z0-9@][A-Za-z0-9@._/+:~-]*$`)

// IsShellWord reports whether s has no special meaning in any shell and is not a flag. Names from
// the image could otherwise inject a command.
func IsShellWord(s string) bool { return len(s) <= maxName && shellWord.MatchString(s) }
