package integration

import (
	"bytes"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagegate/imagegate/internal/lab"
)

// The advisories in examples/records match the packages of vulnerableSpec, and none of fixedSpec.
var (
	fixedSpec = lab.ImageSpec{OSRelease: "debian 12",
		DebPackages: []lab.Deb{{Name: "openssl", Version: "3.0.13-1~deb12u1"}},
		NPM:         []lab.NPM{{Name: "json-schema", Version: "0.4.0"}}}
	vulnerableSpec = lab.ImageSpec{OSRelease: "debian 12",
		DebPackages: []lab.Deb{{Name: "firefox-esr", Version: "128.0esr-1~deb12u1"}},
		NPM:         []lab.NPM{{Name: "json-schema", Version: "0.3.0"}}}
)

// images are the images that a script can push.
var images = map[string]func() (remote.Taggable, error){
	"fixed":      func() (remote.Taggable, error) { return lab.Image(fixedSpec) },
	"vulnerable": func() (remote.Taggable, error) { return lab.Image(vulnerableSpec) },
	"vulnerable-rebuilt": func() (remote.Taggable, error) {
		rebuilt := vulnerableSpec
		rebuilt.Files = []lab.File{{Path: "etc/motd", Content: "another image\n"}}
		return lab.Image(rebuilt)
	},
	"worse": func() (remote.Taggable, error) {
		worse := vulnerableSpec
		worse.DebPackages = append([]lab.Deb{{Name: "bind9", Version: "1:9.18.1-1"}}, worse.DebPackages...)
		return lab.Image(worse)
	},
	"other-fixed": func() (remote.Taggable, error) {
		other := fixedSpec
		other.Files = []lab.File{{Path: "etc/motd", Content: "another image\n"}}
		return lab.Image(other)
	},
	"large": func() (remote.Taggable, error) {
		large := fixedSpec
		large.Files = []lab.File{{Path: "data", Zeros: 64 << 20}}
		return lab.Image(large)
	},
	// gaps is an image with unmatched packages of every kind: first-party, owned by the
	// distribution, and unknown.
	"gaps": func() (remote.Taggable, error) {
		spec := fixedSpec
		spec.DebPackages = append([]lab.Deb{{Name: "node-owned", Version: "1.0-1", Arch: "all",
			Files: []lab.File{{Path: "usr/share/nodejs/owned/package.json", Content: `{"name":"owned"}`}}}}, spec.DebPackages...)
		spec.Files = []lab.File{
			{Path: "srv/app/package.json", Content: `{"name":"app","private":true}`},
			{Path: "srv/app/node_modules/nameless/package.json", Content: `{"name":"nameless"}`},
			{Path: "srv/app/lib/broken.jar", Content: "PK\x03\x04"},
		}
		return lab.Image(spec)
	},
	"index":         func() (remote.Taggable, error) { return index(fixedSpec, fixedSpec) },
	"index-one-bad": func() (remote.Taggable, error) { return index(fixedSpec, vulnerableSpec) },
	"index-attested": func() (remote.Taggable, error) {
		idx, err := index(fixedSpec, fixedSpec)
		if err != nil {
			return nil, err
		}
		return lab.WithAttestations(idx)
	},
	"index-soci": func() (remote.Taggable, error) {
		img, err := lab.Image(fixedSpec)
		if err != nil {
			return nil, err
		}
		return lab.WithSOCI(img)
	},
	"index-smuggled": func() (remote.Taggable, error) {
		idx, err := index(fixedSpec, fixedSpec)
		if err != nil {
			return nil, err
		}
		return lab.WithSmuggledLayer(idx, lab.File{Path: "bin/sh", Content: "never scanned"})
	},
}

func index(amd64, arm64 lab.ImageSpec) (v1.ImageIndex, error) {
	amd64.Platform, arm64.Platform = "linux/amd64", "linux/arm64"
	// The layers of the platforms must differ, because equal layers are pushed only once.
	amd64.Files = []lab.File{{Path: "arch", Content: "amd64"}}
	arm64.Files = []lab.File{{Path: "arch", Content: "arm64"}}
	a, err := lab.Image(amd64)
	if err != nil {
		return nil, err
	}
	b, err := lab.Image(arm64)
	if err != nil {
		return nil, err
	}
	return lab.Index(a, b)
}

// completeImage pulls an image or index with all its manifests and layers.
func completeImage(d *remote.Descriptor) error {
	if !d.MediaType.IsIndex() {
		img, err := d.Image()
		if err != nil {
			return err
		}
		return pullImage(img)
	}
	idx, err := d.ImageIndex()
	if err != nil {
		return err
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(d.Manifest))
	if err != nil {
		return err
	}
	for _, child := range m.Manifests {
		img, err := idx.Image(child.Digest)
		if err != nil {
			return err
		}
		if err := pullImage(img); err != nil {
			return err
		}
	}
	return nil
}

func pullImage(img v1.Image) error {
	if _, err := img.RawConfigFile(); err != nil {
		return err
	}
	ls, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range ls {
		rc, err := l.Compressed()
		if err != nil {
			return err
		}
		var buf bytes.Buffer
		_, err = buf.ReadFrom(rc)
		if err := errors.Join(err, rc.Close()); err != nil {
			return err
		}
	}
	return nil
}

func isStatus(err error, code int) bool {
	var e *transport.Error
	return errors.As(err, &e) && e.StatusCode == code
}
