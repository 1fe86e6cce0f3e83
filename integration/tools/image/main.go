// Command image builds imagegate's own container image, without a container daemon: the binary on an
// empty base, for each Linux platform in the folder that goreleaser wrote.
//
// Usage:
//
//	image -dist DIST -platforms linux/amd64,linux/arm64 -version VERSION -commit COMMIT -time TIME -o FOLDER
//
// FOLDER becomes an OCI image layout, which "imagegate check oci:FOLDER" can read. The same arguments
// and binaries give the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	log.SetFlags(0)
	dist := flag.String("dist", "dist", "the `folder` that goreleaser wrote")
	version := flag.String("version", "", "the version of imagegate, such as v1.2.3")
	commit := flag.String("commit", "", "the Git commit of the binaries")
	at := flag.String("time", "", "the time of the commit, as 2006-01-02T15:04:05Z")
	out := flag.String("o", "", "the `folder` of the OCI image layout; it must not exist")
	platforms := flag.String("platforms", "", "the `PLATFORMS` of the image, separated by commas")
	flag.Parse()
	created, err := time.Parse(time.RFC3339, *at)
	if err == nil {
		err = build(*dist, *out, strings.Split(*platforms, ","), release{*version, *commit, created.UTC()})
	}
	if err != nil {
		log.Fatal("image: ", err)
	}
}

// release is what the image says about itself.
type release struct {
	version, commit string
	created         time.Time
}

// folders are the folders of the binaries in the folder of goreleaser, by platform.
var folders = map[string]string{
	"linux/amd64": "imagegate_linux_amd64_v1",
	"linux/arm64": "imagegate_linux_arm64_v8.0",
}

// build writes the image for the platforms. It fails if the binary of a platform does not exist.
func build(dist, out string, platforms []string, r release) error {
	if out == "" || r.version == "" || r.commit == "" {
		return fmt.Errorf("-o, -version and -commit are required")
	}
	if _, err := os.Stat(out); err == nil {
		return fmt.Errorf("%s already exists", out)
	}
	base, err := r.base()
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, name := range platforms {
		folder, ok := folders[name]
		if !ok {
			return fmt.Errorf("-platforms: unknown platform %q", name)
		}
		platform, err := v1.ParsePlatform(name)
		if err != nil {
			return err
		}
		binary, err := os.ReadFile(filepath.Join(dist, folder, "imagegate"))
		if err != nil {
			return err
		}
		img, err := r.image(base, binary, *platform)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	index = mutate.Annotations(index, r.labels()).(v1.ImageIndex)
	folder, err := layout.Write(out, empty.Index)
	if err != nil {
		return err
	}
	return folder.AppendIndex(index)
}

// user is the user of the image. Kubernetes needs a number to check runAsNonRoot.
const user = 65532

// base returns the layer with everything except the binary: the certificate authorities of Mozilla, a
// user, and a folder for temporary files.
func (r release) base() (v1.Layer, error) {
	var authorities bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue // a file of certificates cannot limit an authority
		}
		if err := pem.Encode(&authorities, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return r.layer([]entry{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, data: fmt.Appendf(nil, "root:x:0:\nnonroot:x:%d:\n", user)},
		{name: "etc/passwd", mode: 0o644, data: fmt.Appendf(nil, "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/home/nonroot:/sbin/nologin\n", user, user)},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: authorities.Bytes()},
		{name: "home/", mode: 0o755},
		{name: "home/nonroot/", mode: 0o700, owner: user},
		{name: "tmp/", mode: 0o1777},
	})
}

func (r release) image(base v1.Layer, binary []byte, p v1.Platform) (v1.Image, error) {
	program, err := r.layer([]entry{
		{name: "usr/", mode: 0o755},
		{name: "usr/bin/", mode: 0o755},
		{name: "usr/bin/imagegate", mode: 0o755, data: binary},
	})
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made := v1.Time{Time: r.created}
	img, err = mutate.Append(img,
		mutate.Addendum{Layer: base, History: v1.History{Created: made, CreatedBy: "certificate authorities, user, /tmp"}},
		mutate.Addendum{Layer: program, History: v1.History{Created: made, CreatedBy: "imagegate " + r.version}})
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = p.OS, p.Architecture, made
	file.Config = v1.Config{User: fmt.Sprintf("%d:%d", user, user), WorkingDir: "/home/nonroot", Entrypoint: []string{"/usr/bin/imagegate"},
		Env: []string{"PATH=/usr/bin", "HOME=/home/nonroot"}, Labels: r.labels()}
	return mutate.ConfigFile(img, file)
}

// labels returns the labels of https://github.com/opencontainers/image-spec/blob/main/annotations.md
func (r release) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":         "imagegate",
		"org.opencontainers.image.description":   "Promote container images only if they pass a policy",
		"org.opencontainers.image.source":        "https://github.com/imagegate/imagegate",
		"org.opencontainers.image.documentation": "https://github.com/imagegate/imagegate/blob/" + r.commit + "/README.md",
		"org.opencontainers.image.licenses":      "Apache-2.0",
		"org.opencontainers.image.version":       r.version,
		"org.opencontainers.image.revision":      r.commit,
		"org.opencontainers.image.created":       r.created.Format(time.RFC3339),
	}
}

// entry is a file in a layer, or a folder if its name ends with a slash.
type entry struct {
	name  string
	mode  int64
	owner int // the number of the user and of the group
	data  []byte
}

// layer returns a layer with the entries in their order.
func (r release) layer(entries []entry) (v1.Layer, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Uid: e.owner, Gid: e.owner, Size: int64(len(e.data)),
			ModTime: r.created, Format: tar.FormatPAX}
		if e.name[len(e.name)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	data := slices.Clip(out.Bytes())
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
