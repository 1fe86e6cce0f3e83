package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
)

// wanted is a package and the version to upgrade it to.
type wanted struct {
	name, from string
	to         string // "" if unknown, or not a single version
}

// upgradeAll returns the commands that upgrade the packages of a batch, and an instruction in words
// if not all of them have a command. Names and versions with a special meaning in a shell are not
// part of a command.
func (b *batch) upgradeAll() []instruction {
	var out []instruction
	var all []wanted
	byHand := false
	for i := range b.sources {
		s := &b.sources[i]
		if isStdlib(s.pkg) {
			byHand = byHand || s.target == "" // otherwise see goRelease
			continue
		}
		for _, name := range s.names.list {
			if isShellWord(name) {
				all = append(all, wanted{name, s.pkg.Version, s.target})
			} else {
				byHand = true
			}
		}
	}
	if command := upgradeCommand(b.typ, all); command != "" {
		out = append(out, paste("%s", command))
	} else if len(all) > 0 {
		byHand = true
	}
	if byHand {
		out = append(out, say("upgrade to these versions, and build the image again"))
	}
	return out
}

// goRelease is the one line about the Go standard library. worst names the worst finding.
func (s *source) goRelease(worst string) string {
	n := len(s.issues)
	fixes := "fixes the problem"
	if n > 1 {
		fixes = fmt.Sprintf("fixes all %d problems", n)
	}
	return fmt.Sprintf("build with Go %s: %s in the standard library of %s (%s: %s)", s.upgradeTo(), fixes, short(s.pkg.Version), severities(s.issues), worst)
}

// upgrade returns how to upgrade a package to a version with a fix, or to its newest version if
// version is empty or not a single version.
func upgrade(p evidence.Package, version string) instruction {
	if isStdlib(p) && version != "" {
		return say("build with Go %s", version)
	}
	if isShellWord(p.Name) {
		if command := upgradeCommand(p.Type, []wanted{{p.Name, p.Version, version}}); command != "" {
			return paste("%s", command)
		}
	}
	if version == "" {
		return say("upgrade %s to a version with all fixes", short(p.Name))
	}
	return say("upgrade %s to %s", short(p.Name), version)
}

// maxNamed is the maximum number of packages that a command names. For more, the command upgrades
// all packages, if the package manager can do that safely.
const maxNamed = 20

// upgraders are the commands that take names without versions. Distributions keep only the newest
// version of a package, so a command with a fixed version would fail.
var upgraders = map[string]struct{ named, all string }{
	"deb":          {"apt-get update && apt-get install -y --only-upgrade ", "apt-get update && apt-get upgrade -y"},
	"apk":          {"apk add --upgrade ", "apk upgrade"},
	"rpm":          {"dnf upgrade -y ", "dnf upgrade -y"},
	"gem":          {"bundle update ", ""},
	"php-composer": {"composer update --with-all-dependencies ", ""},
	"hex":          {"mix deps.update ", ""},
	"dart-pub":     {"dart pub upgrade ", ""},
}

// upgradeCommand returns one command that upgrades all packages, or "" if there is none for the
// type. The names must be safe in a shell.
func upgradeCommand(typ string, all []wanted) string {
	var names []string
	for i := range all {
		if !isShellWord(all[i].to) {
			all[i].to = ""
		}
		if !slices.Contains(names, all[i].name) {
			names = append(names, all[i].name)
		}
	}
	if len(names) == 0 {
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
		return withVersions("pip install --upgrade", "pip install", all, func(w wanted) string { return "'" + w.name + ">=" + w.to + "'" })
	case "go-module":
		return goCommand(all)
	case "rust-crate":
		if len(names) == 1 && all[len(all)-1].to != "" {
			return "cargo update " + names[0] + " --precise " + all[len(all)-1].to
		}
		return "cargo update " + strings.Join(names, " ")
	case "dotnet":
		return eachVersion("dotnet add package %s --version %s", all)
	}
	return ""
}

// npmCommand updates packages within their major version, which package.json usually allows, and
// installs the others.
func npmCommand(all []wanted) string {
	var install, update []wanted
	for _, w := range all {
		major, _, _ := strings.Cut(w.to, ".")
		if from, _, _ := strings.Cut(w.from, "."); w.to == "" || from == major && major != "0" {
			w.to = ""
			update = append(update, w)
		} else {
			install = append(install, w)
		}
	}
	return withVersions("npm update", "npm install", append(update, install...), func(w wanted) string { return w.name + "@" + w.to })
}

// withVersions joins the command for packages without a version to the command for the others.
func withVersions(bare, versioned string, all []wanted, format func(wanted) string) string {
	var names, versions orderedSet
	for _, w := range all {
		if w.to == "" {
			names.add(w.name)
		} else {
			versions.add(format(w))
		}
	}
	var commands []string
	if len(names.list) > 0 {
		commands = append(commands, bare+" "+strings.Join(names.list, " "))
	}
	if len(versions.list) > 0 {
		commands = append(commands, versioned+" "+strings.Join(versions.list, " "))
	}
	return strings.Join(commands, " && ")
}

// goCommand returns "" if a module has no known version: "go get" would take the newest one.
func goCommand(all []wanted) string {
	command := "go get"
	for _, w := range all {
		if w.to == "" {
			return ""
		}
		command += " " + w.name + "@v" + strings.TrimPrefix(w.to, "v")
	}
	return command + " && go mod tidy"
}

// eachVersion joins one command for each package. It returns "" if a version is unknown.
func eachVersion(format string, all []wanted) string {
	var commands orderedSet
	for _, w := range all {
		if w.to == "" {
			return ""
		}
		commands.add(fmt.Sprintf(format, w.name, w.to))
	}
	return strings.Join(commands.list, " && ")
}

// removal returns the command that removes a package, or "" if none is known.
func removal(p evidence.Package) string {
	command := map[string]string{
		"deb": "apt-get purge -y ", "apk": "apk del ", "rpm": "dnf remove -y ",
		"npm": "npm uninstall ", "python": "pip uninstall -y ", "gem": "bundle remove ",
	}[p.Type]
	if command == "" || !isShellWord(p.Name) {
		return ""
	}
	return command + p.Name
}
