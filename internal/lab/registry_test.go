package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/imagegate/imagegate/internal/lab"
)

func start(t *testing.T, opts lab.Options) *lab.Registry {
	t.Helper()
	r, err := lab.StartRegistry(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func build(t *testing.T, spec lab.ImageSpec) v1.Image {
	t.Helper()
	img, err := lab.Image(spec)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// must fails the test on an error, and otherwise returns the value.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func pull(t *testing.T, r *lab.Registry, path string) *remote.Descriptor {
	t.Helper()
	ref := must(name.ParseReference(r.Ref(path)))(t)
	return must(remote.Get(ref, remote.WithAuth(r.Authenticator()), remote.WithContext(t.Context())))(t)
}

// check reads a whole image and compares it with its manifest and config. Unlike the validation of
// go-containerregistry, it supports every compression.
func check(img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	if digest, size, err := v1.SHA256(bytes.NewReader(config)); err != nil || digest != manifest.Config.Digest || size != manifest.Config.Size {
		return fmt.Errorf("the config is %s with %d bytes, stated is %s with %d", digest, size, manifest.Config.Digest, manifest.Config.Size)
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	stated, err := img.ConfigFile()
	if err != nil {
		return err
	}
	if len(layers) != len(manifest.Layers) || len(layers) != len(stated.RootFS.DiffIDs) {
		return fmt.Errorf("%d layers, the manifest states %d and the config %d", len(layers), len(manifest.Layers), len(stated.RootFS.DiffIDs))
	}
	for i, layer := range layers {
		packed, err := layer.Compressed()
		if err != nil {
			return err
		}
		defer packed.Close()
		digest, size, err := v1.SHA256(packed)
		if err != nil {
			return fmt.Errorf("reading layer %d: %w", i, err)
		}
		if digest != manifest.Layers[i].Digest || size != manifest.Layers[i].Size {
			return fmt.Errorf("layer %d is %s with %d bytes, stated is %s with %d", i, digest, size, manifest.Layers[i].Digest, manifest.Layers[i].Size)
		}
		unpacked, err := layer.Uncompressed()
		if err != nil {
			return err
		}
		defer unpacked.Close()
		diffID, _, err := v1.SHA256(unpacked)
		if err != nil {
			return fmt.Errorf("unpacking layer %d: %w", i, err)
		}
		if diffID != stated.RootFS.DiffIDs[i] {
			return fmt.Errorf("layer %d has the diffID %s, stated is %s", i, diffID, stated.RootFS.DiffIDs[i])
		}
	}
	return nil
}

// status returns the HTTP status of a client's error, or 0 if there is none.
func status(err error) int {
	var terr *transport.Error
	if errors.As(err, &terr) {
		return terr.StatusCode
	}
	return 0
}

func small(platform string) lab.ImageSpec {
	return lab.ImageSpec{Platform: platform, Files: []lab.File{{Path: "/hello", Content: "hello " + platform}}}
}

func TestImageRoundTrip(t *testing.T) {
	for name, spec := range map[string]lab.ImageSpec{
		"oci gzip":      {MediaTypes: lab.OCI, Compression: lab.Gzip},
		"oci zstd":      {MediaTypes: lab.OCI, Compression: lab.Zstd},
		"oci plain":     {MediaTypes: lab.OCI, Compression: lab.Uncompressed},
		"docker gzip":   {MediaTypes: lab.Docker, Compression: lab.Gzip},
		"docker plain":  {MediaTypes: lab.Docker, Compression: lab.Uncompressed},
		"another arch":  {Platform: "linux/arm64/v8"},
		"with settings": {Env: []string{"A=b"}, User: "1000:1000", Labels: map[string]string{"k": "v"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, lab.Options{})
			spec.OSRelease = "debian 12"
			spec.Layers = [][]lab.File{{{Path: "a/b", Content: "1"}}, {{Path: "a/c", Content: "2"}}}
			img := build(t, spec)
			if err := check(img); err != nil {
				t.Fatalf("built: %v", err)
			}
			pushed := must(r.Push(t.Context(), "team/app:1", img))(t)
			got := pull(t, r, "team/app:1")
			if got.Digest.String() != pushed.DigestStr() {
				t.Errorf("the tag is on %s, pushed was %s", got.Digest, pushed.DigestStr())
			}
			pulled := must(got.Image())(t)
			if err := check(pulled); err != nil {
				t.Errorf("pulled: %v", err)
			}
			layers := must(pulled.Layers())(t)
			if len(layers) != 3 {
				t.Errorf("%d layers, want 3", len(layers))
			}
			config := must(pulled.ConfigFile())(t)
			if diff := cmp.Diff(must(img.ConfigFile())(t), config); diff != "" {
				t.Errorf("config (-built +pulled):\n%s", diff)
			}
			if len(spec.Env) > 0 && (config.Config.User != spec.User || config.Config.Labels["k"] != "v" || config.Config.Env[0] != "A=b") {
				t.Errorf("settings are missing in %+v", config.Config)
			}
		})
	}
}

func TestIndexRoundTrip(t *testing.T) {
	docker := small("linux/386")
	docker.MediaTypes = lab.Docker
	for name, tc := range map[string]struct {
		images []v1.Image
		want   types.MediaType
	}{
		"oci":    {[]v1.Image{build(t, small("linux/amd64")), build(t, small("linux/arm64/v8"))}, types.OCIImageIndex},
		"docker": {[]v1.Image{build(t, docker)}, types.DockerManifestList},
		"mixed":  {[]v1.Image{build(t, docker), build(t, small("linux/s390x"))}, types.OCIImageIndex},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, lab.Options{})
			index := must(lab.Index(tc.images...))(t)
			must(r.Push(t.Context(), "app:1", index))(t)
			got := pull(t, r, "app:1")
			if got.MediaType != tc.want {
				t.Errorf("media type %s, want %s", got.MediaType, tc.want)
			}
			pulled := must(got.ImageIndex())(t)
			if err := validate.Index(pulled); err != nil {
				t.Error(err)
			}
			for i, desc := range must(pulled.IndexManifest())(t).Manifests {
				if want := must(tc.images[i].ConfigFile())(t).Platform(); !desc.Platform.Equals(*want) {
					t.Errorf("child %d is for %s, want %s", i, desc.Platform, want)
				}
			}
		})
	}
}

func TestManifestWithoutItsBlobsIsRefused(t *testing.T) {
	r := start(t, lab.Options{})
	img := build(t, small("linux/amd64"))
	raw := must(img.RawManifest())(t)
	_, err := r.Push(t.Context(), "app:1", bare{raw, types.OCIManifestSchema1})
	if status(err) != http.StatusBadRequest && status(err) != http.StatusNotFound {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestIndexWithoutItsChildrenIsRefused(t *testing.T) {
	r := start(t, lab.Options{})
	index := must(lab.Index(build(t, small("linux/amd64"))))(t)
	raw := must(index.RawManifest())(t)
	_, err := r.Push(t.Context(), "app:1", bare{raw, types.OCIImageIndex})
	if status(err) != http.StatusBadRequest && status(err) != http.StatusNotFound {
		t.Errorf("got %v, want a refusal", err)
	}
}

// bare is a manifest that is pushed without the blobs or manifests that it refers to.
type bare struct {
	raw       []byte
	mediaType types.MediaType
}

func (b bare) RawManifest() ([]byte, error)        { return b.raw, nil }
func (b bare) MediaType() (types.MediaType, error) { return b.mediaType, nil }

func TestWrongPasswordIsRefused(t *testing.T) {
	r := start(t, lab.Options{User: "ci", Password: "s3cret"})
	img := build(t, small("linux/amd64"))
	for name, auth := range map[string]authn.Authenticator{
		"anonymous":      authn.Anonymous,
		"wrong password": &authn.Basic{Username: "ci", Password: "secret"},
		"unknown user":   &authn.Basic{Username: "root", Password: "s3cret"},
	} {
		_, err := lab.Push(t.Context(), r.Ref("app:1"), img, remote.WithAuth(auth))
		if status(err) != http.StatusUnauthorized {
			t.Errorf("%s: got %v, want 401", name, err)
		}
	}
	if _, err := r.Push(t.Context(), "app:1", img); err != nil {
		t.Error(err)
	}

	dir := t.TempDir()
	config := must(r.DockerConfig())(t)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	ref := must(name.ParseReference(r.Ref("app:1")))(t)
	if _, err := remote.Head(ref, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		t.Errorf("with the Docker configuration: %v", err)
	}
}

func TestReadOnlyRegistryRefusesWrites(t *testing.T) {
	dir := t.TempDir()
	before := start(t, lab.Options{Dir: dir})
	img := build(t, small("linux/amd64"))
	must(before.Push(t.Context(), "app:1", img))(t)
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}

	r := start(t, lab.Options{Dir: dir, ReadOnly: true})
	if err := check(must(pull(t, r, "app:1").Image())(t)); err != nil {
		t.Error(err)
	}
	_, err := r.Push(t.Context(), "app:2", build(t, small("linux/arm64")))
	if status(err) != http.StatusMethodNotAllowed {
		t.Errorf("got %v, want 405", err)
	}
}

func TestNothingIsDeletedUnlessAllowed(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		r := start(t, lab.Options{Delete: allowed})
		digest := must(r.Push(t.Context(), "app:1", build(t, small("linux/amd64"))))(t)
		err := remote.Delete(digest)
		if allowed && err != nil {
			t.Error(err)
		}
		if !allowed && status(err) != http.StatusMethodNotAllowed {
			t.Errorf("got %v, want 405", err)
		}
		_, err = remote.Head(digest)
		if gone := err != nil; gone != allowed {
			t.Errorf("delete allowed: %t, manifest gone: %t", allowed, gone)
		}
	}
}

func TestInvalidOptionsAreErrors(t *testing.T) {
	for name, opts := range map[string]lab.Options{
		"password alone":    {Password: "x"},
		"password too long": {User: "u", Password: strings.Repeat("x", 100)},
	} {
		if r, err := lab.StartRegistry(opts); err == nil {
			t.Errorf("%s: no error", name)
			_ = r.Close()
		}
	}
}

func TestRegistriesDoNotInterfere(t *testing.T) {
	const n = 6
	img := build(t, small("linux/amd64"))
	registries := make([]*lab.Registry, n)
	var wg sync.WaitGroup
	for i := range registries {
		opts := lab.Options{}
		if i%2 == 1 {
			opts = lab.Options{Dir: t.TempDir(), User: "u", Password: fmt.Sprint("p", i)}
		}
		registries[i] = start(t, opts)
		wg.Go(func() {
			if _, err := registries[i].Push(t.Context(), fmt.Sprintf("app%d:1", i), img); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, r := range registries {
		for j := range registries {
			ref := must(name.ParseReference(r.Ref(fmt.Sprintf("app%d:1", j))))(t)
			_, err := remote.Head(ref, remote.WithAuth(r.Authenticator()))
			if found := err == nil; found != (i == j) {
				t.Errorf("registry %d has the image of %d: %t", i, j, found)
			}
		}
		for _, w := range r.Writes() {
			if !strings.HasPrefix(w.Path, fmt.Sprintf("/v2/app%d/", i)) {
				t.Errorf("registry %d recorded %s", i, w)
			}
		}
	}
	if err := registries[0].Close(); err != nil {
		t.Fatal(err)
	}
	pull(t, registries[1], "app1:1")
}

func TestConcurrentPushesToOneRegistry(t *testing.T) {
	for name, opts := range map[string]lab.Options{"memory": {}, "folder": {Dir: t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			r := start(t, opts)
			shared := build(t, small("linux/amd64"))
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					own, err := lab.Image(lab.ImageSpec{Files: []lab.File{{Path: "n", Content: fmt.Sprint(i)}}})
					if err != nil {
						t.Error(err)
						return
					}
					for tag, img := range map[string]v1.Image{"shared": shared, fmt.Sprint("own", i): own} {
						if _, err := r.Push(t.Context(), "app:"+tag, img); err != nil {
							t.Errorf("%s: %v", tag, err)
						}
					}
				})
			}
			wg.Wait()
			for _, tag := range append([]string{"shared"}, "own0", "own7") {
				if err := check(must(pull(t, r, "app:"+tag).Image())(t)); err != nil {
					t.Errorf("%s: %v", tag, err)
				}
			}
		})
	}
}

func TestClosedRegistryDoesNotAnswer(t *testing.T) {
	r := start(t, lab.Options{})
	must(r.Push(t.Context(), "app:1", build(t, small("linux/amd64"))))(t)
	seen := len(r.Requests())
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := get(t, r, "/v2/"); err == nil {
		t.Error("it still answers")
	}
	if got := len(r.Requests()); got != seen {
		t.Errorf("%d requests on the record, want the %d from before", got, seen)
	}
}

func TestCloseEndsRunningRequests(t *testing.T) {
	arrived := make(chan struct{})
	r := start(t, lab.Options{Hook: func(_ http.ResponseWriter, req *http.Request) bool {
		close(arrived)
		<-req.Context().Done()
		return true
	}})
	done := make(chan error)
	go func() {
		_, err := get(t, r, "/v2/")
		done <- err
	}()
	<-arrived
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the request was answered")
	}
}

func TestPushNamesTheReference(t *testing.T) {
	img := build(t, small("linux/amd64"))
	if _, err := lab.Push(t.Context(), "Not A Reference", img); err == nil || !strings.Contains(err.Error(), "Not A Reference") {
		t.Errorf("got %v", err)
	}
	r := start(t, lab.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Push(ctx, "app:1", img); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), r.Ref("app:1")) {
		t.Errorf("got %v", err)
	}
}
