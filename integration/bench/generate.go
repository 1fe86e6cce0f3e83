package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/lab"
)

// The sizes of the application layer. The layer has about 20 MB after compression. Half of it are
// assets that cannot be compressed, and half of it is program text.
const (
	assets    = 40
	assetSize = 250_000
	chunks    = 2000
	chunkSize = 18_300
)

// generate returns the description of the generated layers below the application. If mmdebstrap is
// not installed, they also contain a distribution, Debian packages and text files.
func (b *built) generate(r recipe) (lab.ImageSpec, error) {
	var spec lab.ImageSpec
	for i := range max(r.generated/10, 1) {
		b.Modules = append(b.Modules, fmt.Sprintf("module-%d", i))
	}
	text := newSource(1)
	if b.Generated {
		b.generateDebian(&spec, r, text)
	}
	var files []lab.File
	for i := range r.modules {
		name := fmt.Sprintf("package-%d", i)
		b.Modules = append(b.Modules, name)
		files = append(files, module("usr/local/lib/node_modules", name, i), lab.File{
			Path: "usr/local/lib/node_modules/" + name + "/index.js", Content: text.part(60_000)})
	}
	for i := range r.wheels {
		files = append(files, wheel(i, text)...)
	}
	jars, err := javaArchives(r.jars, text)
	if err != nil {
		return spec, err
	}
	if files = append(files, jars...); len(files) > 0 {
		spec.Layers = append(spec.Layers, files)
	}
	return spec, nil
}

// generateDebian adds a distribution with generated Debian packages and text files.
func (b *built) generateDebian(spec *lab.ImageSpec, r recipe, text *source) {
	spec.OSRelease = "debian 12"
	docs := []lab.File{{Path: "etc/debian_version", Content: "12.0\n"}}
	for i := range r.generated {
		name := fmt.Sprintf("library-%d", i)
		b.Sources[name] = 1
		spec.DebPackages = append(spec.DebPackages, lab.Deb{Name: name, Version: fmt.Sprintf("1.%d-1", i), License: "GPL-2+"})
		for j := range 4 {
			docs = append(docs, lab.File{Path: fmt.Sprintf("usr/share/%s/%d.txt", name, j), Content: text.part(64 << 10)})
		}
	}
	spec.Layers = [][]lab.File{docs[:len(docs)/2], docs[len(docs)/2:]}
}

// application returns the files of an application in JavaScript, with its npm modules. Each seed
// gives other program text and other assets, as a rebuild after a change does. The modules are
// always the same.
func application(seed uint64, modules []string) []lab.File {
	var files []lab.File
	for i, name := range modules {
		if strings.HasPrefix(name, "module-") { // the others are in a lower layer
			files = append(files, module("srv/app/node_modules", name, i))
		}
	}
	text := newSource(seed)
	for i := range assets {
		files = append(files, lab.File{Path: fmt.Sprintf("srv/app/public/asset-%d.webp", i), Content: text.random(assetSize)})
	}
	for i := range chunks {
		files = append(files, lab.File{Path: fmt.Sprintf("srv/app/dist/chunk-%d.js", i), Content: text.part(chunkSize)})
	}
	return files
}

// layer returns a layer with these files, compressed with gzip.
func layer(files []lab.File) (v1.Layer, error) {
	img, err := lab.Image(lab.ImageSpec{Files: files})
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	return layers[0], nil
}

// module returns the package.json file of the i-th npm module in a folder.
func module(folder, name string, i int) lab.File {
	return lab.File{Path: folder + "/" + name + "/package.json",
		Content: fmt.Sprintf(`{"name": %q, "version": "1.0.%d", "license": "MIT"}`, name, i)}
}

// wheel returns the files of the i-th installed Python package.
func wheel(i int, text *source) []lab.File {
	name := fmt.Sprintf("wheel_%d", i)
	folder := "usr/local/lib/python3.11/site-packages/" + name
	info := fmt.Sprintf("%s-1.0.%d.dist-info", folder, i)
	files := []lab.File{
		{Path: info + "/METADATA", Content: fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: 1.0.%d\nLicense: MIT\n\n%s", name, i, text.part(4000))},
		{Path: info + "/WHEEL", Content: "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{Path: info + "/top_level.txt", Content: name + "\n"},
		{Path: folder + "/data.bin", Content: text.random(60_000)},
	}
	var list strings.Builder
	for j := range 10 {
		fmt.Fprintf(&list, "%s/part_%d.py,,\n", name, j)
		files = append(files, lab.File{Path: fmt.Sprintf("%s/part_%d.py", folder, j), Content: text.part(20_000)})
	}
	return append(files, lab.File{Path: info + "/RECORD", Content: list.String()})
}

// nestedJars is the number of Java archives that are also part of the application archive.
const nestedJars = 50

// javaArchives returns n Java archives, and an application archive that contains the first of them,
// as Spring Boot builds it.
func javaArchives(n int, text *source) ([]lab.File, error) {
	var files, nested []lab.File
	for i := range n {
		data, err := javaArchive(fmt.Sprintf("library-%d", i), i, text, nil)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("library-%d-1.0.%d.jar", i, i)
		files = append(files, lab.File{Path: "opt/java/lib/" + name, Content: data})
		if i < nestedJars {
			nested = append(nested, lab.File{Path: "BOOT-INF/lib/" + name, Content: data})
		}
	}
	if n == 0 {
		return nil, nil
	}
	data, err := javaArchive("application", 0, text, nested)
	return append(files, lab.File{Path: "opt/java/application.jar", Content: data}), err
}

// javaArchive returns a Java archive with Maven's metadata, classes, and nested archives.
func javaArchive(name string, i int, text *source, nested []lab.File) (string, error) {
	files := []lab.File{
		{Path: "META-INF/MANIFEST.MF", Content: fmt.Sprintf("Manifest-Version: 1.0\nImplementation-Title: %s\nImplementation-Version: 1.0.%d\n", name, i)},
		{Path: "META-INF/maven/test.bench/" + name + "/pom.properties", Content: fmt.Sprintf("groupId=test.bench\nartifactId=%s\nversion=1.0.%d\n", name, i)},
	}
	for j := range 60 {
		files = append(files, lab.File{Path: fmt.Sprintf("test/bench/part%d/Class%d.class", j/10, j), Content: "\xca\xfe\xba\xbe" + text.random(2000) + text.part(6000)})
	}
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	var errs []error
	for _, f := range append(files, nested...) {
		method := zip.Deflate
		if strings.HasSuffix(f.Path, ".jar") {
			method = zip.Store // Java reads nested archives only if they are stored
		}
		w, err := archive.CreateHeader(&zip.FileHeader{Name: f.Path, Method: method})
		if err == nil {
			_, err = w.Write([]byte(f.Content))
		}
		errs = append(errs, err)
	}
	err := errors.Join(append(errs, archive.Close())...)
	return out.String(), err
}

// source produces the content of generated files: always the same for a seed.
type source struct {
	text  string
	from  int
	bytes *rand.ChaCha8
}

func newSource(seed uint64) *source {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	r := rand.New(rand.NewPCG(seed, 2)) // #nosec G404 -- the content must be the same on each run
	return &source{text: lab.Text(r, 8<<20), bytes: rand.NewChaCha8(key)}
}

// part returns the next part of the text. A later part may repeat an earlier one, but the distance
// is too long for gzip.
func (s *source) part(size int) string {
	if s.from+size > len(s.text) {
		s.from = s.from % 4096
	}
	out := s.text[s.from : s.from+size]
	s.from += size + 64
	return out
}

// random returns bytes that cannot be compressed.
func (s *source) random(size int) string {
	out := make([]byte, size)
	_, _ = s.bytes.Read(out) // never fails
	return string(out)
}
