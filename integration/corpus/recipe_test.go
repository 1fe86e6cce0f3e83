package corpus

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// recipe describes one image of the corpus.
type recipe struct {
	Name string `yaml:"name"`
	// Like is the popular image that this image imitates.
	Like string `yaml:"like"`
	// Short marks an image that is also checked with -short.
	Short bool `yaml:"short"`
	// Layers lists the layers, the lowest first.
	Layers []layerRecipe `yaml:"layers"`
	Config config        `yaml:"config"`
	// Verdict is "passed" or "denied".
	Verdict string `yaml:"verdict"`
	// Denials are the violations of a denied image: rule and package or path.
	Denials []denial `yaml:"denials"`
	// Why explains the verdict to readers of images.yaml.
	Why   string `yaml:"why"`
	Plant plant  `yaml:"plant"`
}

// layerRecipe describes one layer. Each uses exactly one of the fields, except History.
type layerRecipe struct {
	// Base selects a layer with a minimal Debian.
	Base bool `yaml:"base"`
	// Debian lists packages to install. The layer below must be the base.
	Debian []string `yaml:"debian"`
	// Distroless lists packages to extract. Each is registered in /var/lib/dpkg/status.d.
	Distroless []string `yaml:"distroless"`
	// Files maps paths to contents.
	Files map[string]string `yaml:"files"`
	// Archives maps paths to zip archives.
	Archives map[string]archive `yaml:"archives"`
	NPM      *npmRecipe         `yaml:"npm"`
	Go       *goRecipe          `yaml:"go"`
	// History is the line for this layer in the image's history.
	History string `yaml:"history"`
}

// archive has the entries of a zip archive, by name.
type archive map[string]entry

// entry is a file or another archive.
type entry struct {
	Content string
	Archive archive
}

func (e *entry) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.MappingNode {
		return node.Decode(&e.Archive)
	}
	return node.Decode(&e.Content)
}

// npmRecipe describes a layer with npm packages that are installed below a folder.
type npmRecipe struct {
	Dir string `yaml:"dir"`
	// Manifest is the package.json of the application in the folder. Default: no application.
	Manifest string   `yaml:"manifest"`
	Packages []string `yaml:"packages"`
}

// goRecipe describes a Go program that imports the packages.
type goRecipe struct {
	Path    string   `yaml:"path"`
	Module  string   `yaml:"module"`
	Require []string `yaml:"require"` // in the form module@version
	Imports []string `yaml:"imports"`
}

// config is the part of an image's configuration that runtimes and policies read.
type config struct {
	User       string            `yaml:"user"`
	Env        []string          `yaml:"env"`
	Entrypoint []string          `yaml:"entrypoint"`
	Cmd        []string          `yaml:"cmd"`
	WorkingDir string            `yaml:"workdir"`
	Ports      []string          `yaml:"ports"`
	Volumes    []string          `yaml:"volumes"`
	Labels     map[string]string `yaml:"labels"`
	// History has the history lines of build steps that made no layer. They follow the layers.
	History []string `yaml:"history"`
}

// denial identifies violations.
type denial struct {
	Rule string `yaml:"rule"`
	// About is the name of a package, or a path.
	About string `yaml:"about"`
}

func (d denial) String() string { return d.Rule + ": " + d.About }

// plant describes a vulnerable package and the violation that it must cause. The package is in an
// additional layer.
type plant struct {
	layerRecipe `yaml:",inline"`
	// Deb sets the version of the binary packages of a Debian source package: "openssl 3.0.11-1".
	Deb string `yaml:"deb"`
	// Finds are the ids of the findings that must be denied. Other findings may be denied too.
	Finds []string `yaml:"finds"`
	// Package is the name of the package in the findings. With Deb, the findings are expected in
	// every binary package of the source package.
	Package string `yaml:"package"`
	// Rule is the policy rule that must deny the findings.
	Rule string `yaml:"rule"`
}

// readRecipes reads images.yaml. It fails on unknown fields.
func readRecipes(t *testing.T) []recipe {
	t.Helper()
	data, err := os.ReadFile("images.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Templates map[string]any `yaml:"templates"`
		Images    []recipe       `yaml:"images"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil {
		t.Fatalf("reading images.yaml: %v", err)
	}
	return doc.Images
}

// kinds returns how many of the fields that select a kind of layer are set.
func (l layerRecipe) kinds() int {
	n := 0
	for _, set := range []bool{l.Base, len(l.Debian) > 0, len(l.Distroless) > 0, len(l.Files) > 0, len(l.Archives) > 0, l.NPM != nil, l.Go != nil} {
		if set {
			n++
		}
	}
	return n
}

// problem returns the first mistake in the recipe as an error, or nil.
func (r recipe) problem() error {
	switch {
	case r.Name == "" || r.Like == "" || r.Why == "" || len(r.Layers) == 0:
		return fmt.Errorf("name, like, why and layers are required")
	case r.Verdict != "passed" && r.Verdict != "denied":
		return fmt.Errorf("verdict is %q: want passed or denied", r.Verdict)
	case (r.Verdict == "denied") != (len(r.Denials) > 0):
		return fmt.Errorf("an image has denials if and only if it is denied")
	case len(r.Plant.Finds) == 0 || r.Plant.Package == "" || r.Plant.Rule == "":
		return fmt.Errorf("plant: finds, package and rule are required")
	case r.Plant.kinds() == 0 && r.Plant.Deb == "" || r.Plant.kinds() > 1:
		return fmt.Errorf("plant: exactly one kind of layer is required")
	}
	for i, l := range r.Layers {
		if l.kinds() != 1 {
			return fmt.Errorf("layers[%d]: exactly one kind of layer is required", i)
		}
		if len(l.Debian) > 0 && (i == 0 || !r.Layers[i-1].Base) {
			return fmt.Errorf("layers[%d]: Debian packages are installed on the base only", i)
		}
	}
	return nil
}

// TestCorpusIsWhole checks that all recipes in images.yaml are valid, and that all required images
// are listed.
func TestCorpusIsWhole(t *testing.T) {
	all := readRecipes(t)
	names, short := map[string]bool{}, 0
	for _, r := range all {
		if err := r.problem(); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		if names[r.Name] {
			t.Errorf("%s: two images have this name", r.Name)
		}
		names[r.Name] = true
		if r.Short {
			short++
		}
	}
	const want = "python node java tomcat maven ruby php perl golang rust gcc nginx apache postgres redis mariadb erlang mono r " +
		"go-scratch go-distroless node-private fat-jar wheel static-site"
	for name := range strings.FieldsSeq(want) {
		if !names[name] {
			t.Errorf("the corpus has no image %s", name)
		}
	}
	if len(all) < 24 || short != 6 {
		t.Errorf("%d images, %d of them short: want at least 24, and 6", len(all), short)
	}
}
