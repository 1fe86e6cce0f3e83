package gate

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/moby/client"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/internal/registry"
)

// open reads the root manifest of a source. The caller states the transport; open never guesses it.
// So a local file that has the name of an image is never read instead of the image.
func (g *Gate) open(ctx context.Context, store *layers.Store, src Source) (*root, error) {
	if err := checkPath(src); err != nil {
		return nil, err
	}
	switch src.Transport {
	case Registry:
		return g.openRegistry(ctx, src)
	case OCILayout:
		return openLayout(fmt.Sprintf("OCI layout %q", src.Path), src.Path, src.Tag, src.Digest)
	case OCIArchive:
		dir, err := unpackArchive(ctx, store, src.Path)
		if err != nil {
			return nil, err
		}
		return openLayout(fmt.Sprintf("OCI archive %q", src.Path), dir, src.Tag, src.Digest)
	case DockerArchive:
		img, err := openDockerArchive(ctx, store, src)
		if err != nil {
			return nil, inputError(isNotArchive(err), fmt.Errorf("opening docker archive %q: %w", src.Path, err))
		}
		return openSaved(ctx, store, img)
	case DockerDaemon:
		img, err := saveFromDaemon(ctx, store, src.Ref)
		if err != nil {
			var absent interface{ NotFound() }
			missing := client.IsErrConnectionFailed(err) || errors.As(err, &absent)
			return nil, inputError(missing, fmt.Errorf("reading %s from the docker daemon: %w", src.Ref, err))
		}
		return openSaved(ctx, store, img)
	}
	return nil, fmt.Errorf("unknown transport %q", src.Transport)
}

// checkPath returns an *InputError if the path of a local source does not exist or is of the wrong
// kind: an OCI layout is a folder, and an archive is not.
func checkPath(src Source) error {
	if src.Path == "" {
		return nil
	}
	info, err := os.Stat(src.Path)
	switch isLayout := src.Transport == OCILayout; {
	case err != nil:
		err = fmt.Errorf("opening the image %s: %w", src, err)
	case isLayout && !info.IsDir():
		err = fmt.Errorf("opening the image %s: %q is a file, and an OCI layout is a folder: use docker-archive:%s for the output of \"docker save\", or oci-archive:%s",
			src, src.Path, src.Path, src.Path)
	case !isLayout && info.IsDir():
		err = fmt.Errorf("opening the image %s: %q is a folder, but an archive must be a file: for an OCI layout, use oci:%s", src, src.Path, src.Path)
	}
	return inputError(true, err)
}

// isNotArchive reports whether a file could not be read because it is not a complete archive with
// the wanted image, and not because of this machine.
func isNotArchive(err error) bool {
	return errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "not found in tar")
}

func (g *Gate) openRegistry(ctx context.Context, src Source) (*root, error) {
	ref := src.Ref
	if src.Digest != (v1.Hash{}) {
		ref = ref.Context().Digest(src.Digest.String())
	}
	puller, err := remote.NewPuller(g.remote...)
	if err != nil {
		return nil, err
	}
	fail := func(doing string, err error) error {
		return registry.NewError(registry.Staging, doing, err)
	}
	repo := ref.Context()
	get := func(d v1.Descriptor) (*remote.Descriptor, error) {
		desc, err := puller.Get(ctx, repo.Digest(d.Digest.String()))
		if err != nil {
			return nil, fail(fmt.Sprintf("reading manifest %s of %s", d.Digest, repo), err)
		}
		return desc, nil
	}
	desc, err := puller.Get(ctx, ref)
	if err != nil {
		return nil, fail(fmt.Sprintf("resolving %s", ref), err)
	}
	return &root{
		descriptor: desc.Descriptor,
		raw:        desc.Manifest,
		manifest: func(d v1.Descriptor) ([]byte, error) {
			desc, err := get(d)
			if err != nil {
				return nil, err
			}
			return desc.Manifest, nil
		},
		image: func(d v1.Descriptor) (v1.Image, error) {
			desc, err := get(d)
			if err != nil {
				return nil, err
			}
			if desc.MediaType != d.MediaType {
				return nil, refuse("the media type of manifest %s is %q in the index but %q in the response of the registry", d.Digest, d.MediaType, desc.MediaType)
			}
			if err := checkManifest(d, desc.Manifest); err != nil {
				return nil, err
			}
			img, err := desc.Image()
			if err != nil {
				return nil, err
			}
			return selfVerifying{img}, nil
		},
		blob: func(d v1.Descriptor) (layers.Open, error) {
			l, err := puller.Layer(ctx, repo.Digest(d.Digest.String()))
			if err != nil {
				return nil, fail(fmt.Sprintf("reading blob %s of %s", d.Digest, repo), err)
			}
			return func(context.Context) (io.ReadCloser, error) { return l.Compressed() }, nil
		},
	}, nil
}

// selfVerifying is an image in a registry whose layers are self-verifying readers.
// go-containerregistry fetches each layer by digest and verifies the digest while reading. See
// layers.SelfVerifying.
type selfVerifying struct{ v1.Image }

// Layers returns the layers of the image.
func (v selfVerifying) Layers() ([]v1.Layer, error) {
	all, err := v.Image.Layers()
	out := make([]v1.Layer, len(all))
	for i, l := range all {
		out[i] = selfVerifyingLayer{l}
	}
	return out, err
}

type selfVerifyingLayer struct{ v1.Layer }

// Compressed opens the stored bytes of the layer.
func (l selfVerifyingLayer) Compressed() (io.ReadCloser, error) {
	digest, err := l.Digest()
	if err != nil {
		return nil, err
	}
	rc, err := l.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	return selfVerifyingReader{rc, digest}, nil
}

type selfVerifyingReader struct {
	io.ReadCloser
	digest v1.Hash
}

// VerifiedDigest returns the digest that the reader verifies.
func (b selfVerifyingReader) VerifiedDigest() v1.Hash { return b.digest }

// refName is the annotation with the name of a manifest in an OCI layout:
// https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md
const refName = "org.opencontainers.image.ref.name"

// openLayout opens an image in an OCI layout. what describes the layout in errors.
func openLayout(what, path, tag string, digest v1.Hash) (*root, error) {
	// go-containerregistry reads the whole index.json into memory.
	if info, err := os.Stat(filepath.Join(path, "index.json")); err == nil && info.Size() > registry.MaxManifest {
		return nil, refuse("the index of %s has %d bytes, the limit is %d", what, info.Size(), registry.MaxManifest)
	}
	index, err := layout.ImageIndexFromPath(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &InputError{fmt.Errorf("opening %s: it is not an OCI layout: it has no file index.json", what)}
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", what, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading the index of %s: %w", what, err)
	}
	d, err := pick(manifest, tag, digest)
	if err != nil {
		return nil, &InputError{fmt.Errorf("%s: %w", what, err)}
	}
	dir := layout.Path(path)
	read := func(d v1.Descriptor) ([]byte, error) {
		f, err := dir.Blob(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("opening manifest %s of %s: %w", d.Digest, what, err)
		}
		defer f.Close()
		raw, err := io.ReadAll(io.LimitReader(f, registry.MaxManifest+1))
		if err != nil {
			return nil, fmt.Errorf("reading manifest %s of %s: %w", d.Digest, what, err)
		}
		return raw, checkManifest(d, raw)
	}
	raw, err := read(d)
	if err != nil {
		return nil, err
	}
	open := func(d v1.Descriptor) (io.ReadCloser, error) { return dir.Blob(d.Digest) }
	return &root{
		descriptor: d,
		raw:        raw,
		manifest:   read,
		image: func(d v1.Descriptor) (v1.Image, error) {
			raw, err := read(d)
			if err != nil {
				return nil, err
			}
			return layers.NewImage(d.MediaType, raw, open)
		},
		blob: func(d v1.Descriptor) (layers.Open, error) {
			return func(context.Context) (io.ReadCloser, error) { return open(d) }, nil
		},
	}, nil
}

// pick returns the manifest in the layout's index that matches tag and digest. It is an error if no
// manifest or more than one matches.
func pick(index *v1.IndexManifest, tag string, digest v1.Hash) (v1.Descriptor, error) {
	var found []v1.Descriptor
	for _, d := range index.Manifests {
		if (tag == "" || d.Annotations[refName] == tag) && (digest == v1.Hash{} || d.Digest == digest) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return v1.Descriptor{}, fmt.Errorf("none of %d manifests matches the tag or digest", len(index.Manifests))
	}
	return v1.Descriptor{}, fmt.Errorf("found %d matching manifests: select one by tag or digest", len(found))
}

// saveFromDaemon writes an image of the container engine into a folder of this run. The daemon
// package of go-containerregistry would write the image to the system's temporary folder, and an
// interrupt would leave it there.
func saveFromDaemon(ctx context.Context, store *layers.Store, ref name.Reference) (_ v1.Image, err error) {
	engine, err := client.New(client.FromEnv)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	// Ignore the error: an engine that does not support Ping also fails the next request, whose
	// error is returned.
	_, _ = engine.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	saved, err := engine.ImageSave(ctx, []string{ref.Name()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, saved.Close()) }()
	dir, err := store.TempDir("saved")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "image.tar")
	if err := store.WriteFile(path, saved); err != nil {
		return nil, err
	}
	if err := checkSaved(path); err != nil {
		return nil, err
	}
	return tarball.ImageFromPath(path, nil)
}

// openSaved opens an image that "docker save" wrote. openSaved generates the manifest. The manifest
// lists the decompressed layers, so that its digest does not depend on a compressor.
func openSaved(ctx context.Context, store *layers.Store, saved v1.Image) (*root, error) {
	img, err := store.FromTarball(ctx, saved)
	if err != nil {
		return nil, err
	}
	raw, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	mt, err := img.MediaType()
	if err != nil {
		return nil, err
	}
	if !mt.IsImage() {
		mt = types.DockerManifestSchema2
	}
	return &root{
		descriptor: v1.Descriptor{Digest: digest, Size: size, MediaType: mt},
		raw:        raw,
		image:      func(v1.Descriptor) (v1.Image, error) { return img, nil },
	}, nil
}
