package main

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/lab"
)

// vulnerable returns a small Debian 12 image with an outdated browser and an npm package that has a
// critical vulnerability. fixed returns the same image with fixed versions of both packages.
func vulnerable() (v1.Image, error) { return image("128.0esr-1~deb12u1", "0.3.0") }

func fixed() (v1.Image, error) { return image("140.5.0esr-1~deb12u1", "0.4.0") }

func image(firefox, jsonSchema string) (v1.Image, error) {
	return lab.Image(lab.ImageSpec{
		OSRelease: "debian 12",
		DebPackages: []lab.Deb{
			{Name: "firefox-esr", Version: firefox},
			{Name: "openssl", Version: "3.0.13-1~deb12u1"},
		},
		NPM: []lab.NPM{{Name: "json-schema", Version: jsonSchema}},
	})
}
