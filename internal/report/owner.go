package report

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
)

// owner says who has to fix a package: the maintainers of the base image, or the maintainers of the
// image itself.
type owner uint8

const (
	// ownerBase means that the package comes from the base image.
	ownerBase owner = iota
	// ownerImage means that the package comes from the layers above the base image.
	ownerImage
	// ownerUnknown means that neither the history of the image nor the place of the package shows
	// its origin.
	ownerUnknown
)

// owners lists all owners, in the order of the report.
var owners = []owner{ownerBase, ownerImage, ownerUnknown}

// layers records which layers of an image come from its base image.
type layers struct {
	fromBase map[string]bool // by diffID
	number   map[string]int  // number of each layer from 1, by diffID
	count    int
	known    bool // the history shows the base image
	base     string
}

func newLayers(platforms []evidence.Platform) layers {
	l := layers{fromBase: map[string]bool{}, number: map[string]int{}}
	for _, p := range platforms {
		for i, one := range p.Layers {
			l.fromBase[one.DiffID], l.number[one.DiffID] = one.FromBase, i+1
			l.known = l.known || one.FromBase
		}
		l.count = max(l.count, len(p.Layers))
		if p.Base != nil && p.Base.Name != "" {
			l.base = p.Base.Name
		}
	}
	return l
}

// owner returns who has to fix the package of an item. A package that was reinstalled or upgraded
// above the base image belongs to the layers above.
func (l *layers) owner(i *Item) owner {
	if !l.known {
		return ownerUnknown
	}
	found := ownerUnknown
	for _, place := range ownPlaces(i.Places) {
		switch fromBase, ok := l.fromBase[place.Layer]; {
		case !ok || isPackageDatabase(place.Path) && !fromBase:
			// The place does not show the origin: the layer is unknown, or it contains the package
			// database, which also lists the packages of lower layers.
		case !fromBase:
			return ownerImage
		default:
			found = ownerBase
		}
	}
	return found
}

// byOwner groups items by the owner of their packages.
func (l *layers) byOwner(items []Item) map[owner][]Item {
	out := map[owner][]Item{}
	for i := range items {
		o := l.owner(&items[i])
		out[o] = append(out[o], items[i])
	}
	return out
}

// ownPlaces returns the places of the package itself. A package database, which lists all packages,
// counts only if the package has no other place.
func ownPlaces(places []evidence.Location) []evidence.Location {
	own := slices.DeleteFunc(slices.Clone(places), func(l evidence.Location) bool { return isPackageDatabase(l.Path) })
	if len(own) == 0 {
		return places
	}
	return own
}

// isPackageDatabase reports whether a path is a package manager's database, which lists all
// packages.
func isPackageDatabase(file string) bool {
	switch path.Base(file) {
	case "status":
		return strings.HasSuffix(file, "/dpkg/status")
	case "installed":
		return strings.HasSuffix(file, "/apk/db/installed")
	}
	return strings.Contains(file, "/rpm/") && !strings.HasSuffix(file, ".rpm")
}

// title returns the heading for the problems of an owner.
func (l *layers) title(o owner, issues []Item) string {
	switch {
	case o == ownerBase && l.base != "":
		return "BASE IMAGE " + short(l.base)
	case o == ownerBase:
		return "BASE IMAGE"
	case o == ownerImage:
		return "YOUR LAYERS" + l.numbers(issues)
	case l.known:
		return "BASE IMAGE OR YOUR LAYERS"
	}
	return "IMAGE"
}

// numbers lists the numbers of the layers that contain the issues. It returns "" for none, and for
// more than four.
func (l *layers) numbers(issues []Item) string {
	var found []int
	for i := range issues {
		for _, place := range ownPlaces(issues[i].Places) {
			if n := l.number[place.Layer]; n > 0 && !l.fromBase[place.Layer] && !slices.Contains(found, n) {
				found = append(found, n)
			}
		}
	}
	slices.Sort(found)
	names := make([]string, len(found))
	for i, n := range found {
		names[i] = strconv.Itoa(n)
	}
	switch {
	case len(found) == 0 || len(found) > 4:
		return ""
	case len(found) == 1:
		return fmt.Sprintf(" (layer %s of %d)", names[0], l.count)
	}
	return fmt.Sprintf(" (layers %s of %d)", strings.Join(names, ", "), l.count)
}
