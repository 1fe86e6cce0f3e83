package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
)

var sample = release{"v1.2.3", "c0ffee", time.Unix(1e9, 0).UTC()}

// binaries writes a binary for each platform.
func binaries(t *testing.T) string {
	t.Helper()
	dist := t.TempDir()
	for platform, folder := range folders {
		if err := os.Mkdir(filepath.Join(dist, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dist, folder, "imagegate"), []byte(platform), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dist
}

func TestImageHasEveryPlatform(t *testing.T) {
	dist := binaries(t)
	var first string
	for range 2 {
		out := filepath.Join(t.TempDir(), "image")
		if err := build(dist, out, []string{"linux/amd64", "linux/arm64"}, sample); err != nil {
			t.Fatal(err)
		}
		top, err := layout.ImageIndexFromPath(out)
		if err != nil {
			t.Fatal(err)
		}
		images, err := top.IndexManifest()
		if err != nil || len(images.Manifests) != 1 {
			t.Fatalf("%v, %v", images, err)
		}
		digest := images.Manifests[0].Digest
		index, err := top.ImageIndex(digest)
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := index.IndexManifest()
		if err != nil || len(manifest.Manifests) != 2 || manifest.Manifests[0].Platform.String() != "linux/amd64" || manifest.Manifests[1].Platform.String() != "linux/arm64" {
			t.Errorf("%+v, %v", manifest, err)
		}
		if first == "" {
			first = digest.String()
		}
		if digest.String() != first {
			t.Error("two builds differ")
		}
	}
}

func TestMissingPlatformFails(t *testing.T) {
	dist := binaries(t)
	if err := os.RemoveAll(filepath.Join(dist, folders["linux/arm64"])); err != nil {
		t.Fatal(err)
	}
	for _, platforms := range [][]string{{"linux/amd64", "linux/arm64"}, {"linux/s390x"}, {""}} {
		if err := build(dist, filepath.Join(t.TempDir(), "image"), platforms, sample); err == nil {
			t.Errorf("%v are built", platforms)
		}
	}
}
