package gate

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/names"
)

// Transport says where an image is read from. The names are those of
// containers-transports(5), which skopeo, podman and buildah share.
type Transport string

// The transports of a Source.
const (
	Registry      Transport = "docker"         // docker://REF, or just REF
	OCILayout     Transport = "oci"            // oci:PATH[:TAG|@DIGEST]
	OCIArchive    Transport = "oci-archive"    // oci-archive:FILE[:TAG|@DIGEST]
	DockerArchive Transport = "docker-archive" // docker-archive:FILE[:REF]
	DockerDaemon  Transport = "docker-daemon"  // docker-daemon:REF
)

// Source is where an image is, parsed. A string without a transport is always
// a registry's reference, whatever files or local images have that name.
type Source struct {
	Transport Transport
	// Ref is the reference in a registry or daemon; for a docker archive the
	// tag to pick, nil if it has but one image.
	Ref name.Reference
	// Path is the folder or file, for the other transports.
	Path string
	// Tag picks one of several images in an OCI layout or archive.
	Tag string
	// Digest does so too. In a registry it is what the reference was found to
	// name, see [Gate.Pin]; from then on the tag is not asked again.
	Digest v1.Hash

	raw string
}

// String returns the source as it was written.
func (s Source) String() string { return s.raw }

// Repository returns the canonical name of the repository, which policies and
// reports know the image by: registry and repository, such as "docker.io/team/app",
// or transport and path, such as "oci:builds/app". See names.Canonical.
func (s Source) Repository() string {
	switch {
	case s.Path != "":
		return names.Canonical(string(s.Transport) + ":" + filepath.ToSlash(s.Path))
	case s.Ref == nil:
		return ""
	case s.Transport == DockerDaemon:
		return names.Canonical(string(DockerDaemon) + ":" + s.Ref.Context().Name())
	}
	return names.Canonical(string(Registry) + "://" + s.Ref.Context().Name())
}

// ParseSource reads a reference with an optional transport. Names follow the
// rules of the Docker command: no registry means Docker Hub, no tag "latest". The
// name of a registry is normalized; ambiguous names are refused.
func ParseSource(s string, opts ...name.Option) (Source, error) {
	out := Source{Transport: Registry, raw: s}
	rest, isURL := strings.CutPrefix(s, "docker://")
	if !isURL {
		for _, t := range []Transport{OCILayout, OCIArchive, DockerArchive, DockerDaemon} {
			if r, ok := strings.CutPrefix(s, string(t)+":"); ok {
				out.Transport, rest = t, r
				break
			}
		}
	}
	if rest == "" {
		return Source{}, fmt.Errorf("parsing image %q: nothing follows the transport", s)
	}
	var err error
	switch out.Transport {
	case Registry:
		if rest, err = names.Normalize(rest); err == nil {
			out.Ref, err = name.ParseReference(rest, opts...)
		}
	case DockerDaemon:
		out.Ref, err = name.ParseReference(rest, opts...)
	case DockerArchive:
		out.Path, rest, _ = strings.Cut(rest, ":")
		if rest != "" {
			out.Ref, err = name.NewTag(rest, opts...)
		}
	case OCILayout, OCIArchive:
		var digest string
		if path, d, ok := strings.Cut(rest, "@"); ok {
			rest, digest = path, d
		}
		out.Path, out.Tag, _ = strings.Cut(rest, ":")
		if digest != "" {
			out.Digest, err = v1.NewHash(digest)
		}
	}
	if err != nil {
		return Source{}, fmt.Errorf("parsing image %q: %w", s, err)
	}
	return out, nil
}
