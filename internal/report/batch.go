package report

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/internal/units"
)

// batch is a group of packages that one command upgrades: packages of one type in one place.
type batch struct {
	typ     string
	place   string // "" for packages of a distribution
	more    int    // the number of further places
	sources []source
}

// batches groups issues with findings into batches. The batch with the most severe issue comes
// first, and in a batch the most severe source package.
func batches(issues []Item) []batch {
	type key struct {
		typ, place string
		more       int
	}
	var out []batch
	index := map[key]int{}
	for _, s := range bySource(issues) {
		k := key{typ: s.pkg.Type}
		if !isSystem(k.typ) {
			k.place, k.more = s.place()
		}
		at, ok := index[k]
		if !ok {
			at = len(out)
			index[k] = at
			out = append(out, batch{typ: k.typ, place: k.place, more: k.more})
		}
		out[at].sources = append(out[at].sources, s)
	}
	return out
}

// issues returns all issues of the batch.
func (b *batch) issues() []Item {
	var all []Item
	for i := range b.sources {
		all = append(all, b.sources[i].issues...)
	}
	return all
}

// isSystem reports whether packages of a type come from the distribution. Their files are all over
// the image.
func isSystem(typ string) bool {
	switch typ {
	case "alpm", "apk", "deb", "portage", "rpm":
		return true
	}
	return false
}

// typeNames maps package types to their names in texts.
var typeNames = map[string]string{
	"npm": "npm packages", "python": "Python packages", "java-archive": "Java archives",
	"rust-crate": "Rust crates", "gem": "Ruby gems", "dotnet": ".NET packages", "php-composer": "PHP packages",
}

// title returns the heading of a batch: the package type and the place.
func (b *batch) title() string {
	if b.typ == "go-module" && b.place != "" {
		return "Go program " + short(b.place) + b.others()
	}
	title := cmp.Or(typeNames[b.typ], short(b.typ)+" packages")
	if b.place == "" {
		return title
	}
	return title + " in " + short(b.place) + b.others()
}

func (b *batch) others() string {
	if b.more == 0 {
		return ""
	}
	return fmt.Sprintf(" and %s", units.Count(b.more, "other place"))
}

// place returns the first path of a source package's files, and the number of its other places.
func (s *source) place() (first string, more int) {
	var all orderedSet
	for i := range s.issues {
		for _, l := range s.issues[i].Places {
			all.add(folder(s.pkg.Type, l.Path))
		}
	}
	if len(all.list) == 0 {
		return "", 0
	}
	return all.list[0], len(all.list) - 1
}

// paths returns the paths of the packages. Packages of a distribution have none, because only its
// package database lists them.
func (s *source) paths() []string {
	if isSystem(s.pkg.Type) {
		return nil
	}
	var all orderedSet
	for i := range s.issues {
		for _, l := range s.issues[i].Places {
			all.add(short(l.Path))
		}
	}
	return all.list
}

// folders are the folders that package managers install into, with one entry for each package.
var folders = []string{"/node_modules/", "/site-packages/", "/dist-packages/", "/specifications/"}

// folder returns the place that packages of one type share: the folder that a package manager
// installs into, the folder of an archive, or the file that lists the packages, such as a lock file
// or a Go program.
func folder(typ, file string) string {
	for _, name := range folders {
		if before, _, ok := strings.Cut(file, name); ok {
			return before + strings.TrimSuffix(name, "/")
		}
	}
	switch base := path.Base(file); {
	case typ == "java-archive", base == "package.json":
		return path.Dir(file)
	}
	return file
}

// upgradeAll returns the commands that upgrade the packages of a batch. If some packages have no
// command, it adds an instruction in words. Names and versions with a special meaning in a shell
// are never part of a command.
func (b *batch) upgradeAll() []remedy.Instruction {
	var out []remedy.Instruction
	var all []remedy.Wanted
	byHand := false
	for i := range b.sources {
		s := &b.sources[i]
		if remedy.IsStdlib(s.pkg) {
			byHand = byHand || s.target == "" // otherwise see goRelease
			continue
		}
		for _, name := range s.names.list {
			if remedy.IsPackageName(s.pkg.Type, name) {
				all = append(all, remedy.Wanted{Name: name, From: s.pkg.Version, To: s.target})
			} else {
				byHand = true
			}
		}
	}
	if command := remedy.Command(b.typ, all); command != "" {
		out = append(out, remedy.Instruction{Text: command, Paste: true})
	} else if len(all) > 0 {
		byHand = true
	}
	if byHand {
		out = append(out, remedy.Instruction{Text: "upgrade to these versions, and build the image again"})
	}
	return out
}

// goRelease returns the line about the Go standard library: which Go release fixes its findings.
// worst names the worst finding.
func (s *source) goRelease(worst string) string {
	n := len(s.issues)
	fixes := "fixes the problem"
	if n > 1 {
		fixes = fmt.Sprintf("fixes all %d problems", n)
	}
	return fmt.Sprintf("build with Go %s: %s in the standard library of %s (%s: %s)", s.upgradeTo(), fixes, short(s.pkg.Version), severities(s.issues), worst)
}
