package main

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/lab"
)

// recipe describes how to build an image of the benchmark.
type recipe struct {
	name string
	// debian lists the packages that are added to a minimal Debian system, with their dependencies
	// but without recommended packages.
	debian []string
	// generated is the approximate number of packages in the image if it is made without
	// mmdebstrap.
	generated int
	// jars, wheels and modules are the numbers of generated Java archives, Python packages and npm
	// modules, in a layer of their own.
	jars, wheels, modules int
	// findings is the approximate number of findings that the database has for the image.
	findings int
}

// small is the name of the small image. All other images are large.
const small = "small"

var recipes = map[string]recipe{
	small: {
		debian:    []string{"ca-certificates", "curl", "jq", "openssl", "python3-requests", "restic"},
		generated: 150, findings: 250,
	},
	"big": {
		debian: []string{"ansible-core", "ant", "bundler", "ca-certificates", "curl", "default-jre-headless", "docker.io", "git",
			"groovy", "jq", "libspring-web-java", "maven", "npm", "openssl", "puma", "python3-cryptography", "python3-django",
			"python3-numpy", "python3-requests", "python3-sqlalchemy", "rclone", "restic", "ruby-nokogiri", "ruby-rack", "ruby-sinatra"},
		generated: 900, findings: 1600,
	},
	"java": {
		debian: []string{"ant", "ca-certificates", "clojure", "curl", "gradle", "groovy", "libhibernate-validator-java",
			"libspring-web-java", "maven", "openjdk-17-jre-headless", "openssl", "scala", "tomcat10"},
		generated: 300, jars: 600, findings: 600,
	},
	"python-node": {
		debian: []string{"ca-certificates", "curl", "eslint", "git", "npm", "openssl", "python3-boto3", "python3-cryptography",
			"python3-django", "python3-lxml", "python3-matplotlib", "python3-pandas", "python3-pil", "python3-scipy",
			"python3-sklearn", "python3-sqlalchemy", "python3-twisted", "webpack"},
		generated: 600, wheels: 500, modules: 1500, findings: 1200,
	},
}

const (
	// suite is the Debian release of the images.
	suite = "bookworm"
	// generator is the version of the code that generates layers. A new version makes all images
	// again.
	generator = 1
)

// built is an image in the work folder, with the package data for generating its advisories.
type built struct {
	image v1.Image
	// dir is the folder with the image and its other files.
	dir string
	// Sources maps each source package to the number of its installed packages.
	Sources map[string]int
	// Modules are the generated npm modules.
	Modules []string
	// Generated is true if the image was made without mmdebstrap.
	Generated bool
	// Uncompressed is the size of the decompressed layers in bytes.
	Uncompressed int64
}

// buildImage returns the image of a recipe. It builds the image only if no earlier run has built it
// from the same recipe with the same generator.
func buildImage(ctx context.Context, work string, r recipe) (*built, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v %s %d", r, suite, generator))
	dir := filepath.Join(work, r.name+"-"+hex.EncodeToString(sum[:4]))
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "bench: making the %s image; it is kept for the next time\n", r.name)
		if err := makeImage(ctx, dir, r); err != nil {
			return nil, fmt.Errorf("making the %s image: %w", r.name, err)
		}
	}
	return openImage(dir)
}

func openImage(dir string) (*built, error) {
	b := &built{dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, "built.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, b); err != nil {
		return nil, err
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, "oci"))
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	b.image, err = index.Image(manifest.Manifests[0].Digest)
	return b, err
}

// makeImage builds the image in a temporary folder, and renames the folder to dir when the image is
// complete.
func makeImage(ctx context.Context, dir string, r recipe) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "making-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	b := &built{Sources: map[string]int{}}
	archives, err := b.debianLayer(ctx, tmp, r)
	if err != nil {
		return err
	}
	img, err := b.assemble(archives, r)
	if err != nil {
		return err
	}
	p, err := layout.Write(filepath.Join(tmp, "oci"), empty.Index)
	if err == nil {
		err = p.AppendImage(img)
	}
	if err != nil {
		return fmt.Errorf("compressing the image: %w", err)
	}
	for _, a := range archives {
		if err := os.Remove(a); err != nil {
			return err
		}
	}
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "built.json"), data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// assemble builds the image from the archives and the generated layers. Like docker, it compresses
// the archives with Go's gzip at the default level. The top layer is the application.
func (b *built) assemble(archives []string, r recipe) (v1.Image, error) {
	spec, err := b.generate(r)
	if err != nil {
		return nil, err
	}
	above, err := lab.Image(spec)
	if err != nil {
		return nil, err
	}
	layers, err := above.Layers()
	if err != nil {
		return nil, err
	}
	app, err := layer(application(0, b.Modules))
	if err != nil {
		return nil, err
	}
	layers = append(layers, app)
	for _, l := range layers {
		size, err := archiveSize(l)
		if err != nil {
			return nil, err
		}
		b.Uncompressed += size
	}
	base, err := emptyImage()
	if err != nil {
		return nil, err
	}
	var addenda []mutate.Addendum
	for _, path := range archives {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		b.Uncompressed += info.Size()
		addenda = append(addenda, mutate.Addendum{
			Layer: stream.NewLayer(f, stream.WithCompressionLevel(gzip.DefaultCompression), stream.WithMediaType(types.OCILayer))})
	}
	for _, l := range layers {
		addenda = append(addenda, mutate.Addendum{Layer: l})
	}
	return mutate.Append(base, addenda...)
}

// emptyImage returns an image without layers, for the platform that mmdebstrap uses.
func emptyImage() (v1.Image, error) {
	config, err := empty.Image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	img, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON), nil
}

func archiveSize(l v1.Layer) (int64, error) {
	r, err := l.Uncompressed()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, r)
}
