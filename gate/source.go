package gate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/names"
)

// Transport is the kind of place that an image is read from. The names are from
// containers-transports(5), which skopeo, podman and buildah also use.
type Transport string

// The transports of a Source.
const (
	Registry      Transport = "docker"         // docker://REF, or just REF
	OCILayout     Transport = "oci"            // oci:PATH[:TAG|@DIGEST]
	OCIArchive    Transport = "oci-archive"    // oci-archive:FILE[:TAG|@DIGEST]
	DockerArchive Transport = "docker-archive" // docker-archive:FILE[:REF]
	DockerDaemon  Transport = "docker-daemon"  // docker-daemon:REF
)

// Source is the parsed location of an image. A location without a transport is always a registry
// reference, even if a local file or folder has that name.
type Source struct {
	Transport Transport
	// Ref is the reference in a registry or daemon. For a Docker archive, Ref is the tag of the
	// image to select, or nil if the archive has only one image.
	Ref name.Reference
	// Path is the path of the folder or file for the local transports.
	Path string
	// Tag selects one of several images in an OCI layout or archive.
	Tag string
	// Digest selects one image in an OCI layout or archive, like Tag. For a registry, [Gate.Pin]
	// sets Digest to the digest that the reference resolved to. After that, the tag is not resolved
	// again.
	Digest v1.Hash

	raw string
}

// String returns the location as the user wrote it.
func (s Source) String() string { return s.raw }

// AssumesTag reports whether the user wrote a reference without a tag and a digest, so that Ref has
// the default tag "latest".
func (s Source) AssumesTag() bool {
	if s.Transport != Registry && s.Transport != DockerDaemon {
		return false
	}
	last := s.raw[strings.LastIndexByte(s.raw, '/')+1:]
	if s.Transport == DockerDaemon {
		last = strings.TrimPrefix(last, string(DockerDaemon)+":")
	}
	return !strings.ContainsAny(last, ":@")
}

// Repository returns the canonical name of the repository for policies and reports. The name
// consists of registry and repository, such as "docker.io/team/app", or of transport and path, such
// as "oci:builds/app". See names.Canonical.
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

// ParseSource parses a reference with an optional transport. Names follow the rules of the Docker
// command: the default registry is Docker Hub, and the default tag is "latest". The name of the
// registry is normalized. An ambiguous name is an error.
//
// A path may contain "@" and colons. An "@" begins a digest only if the name of an algorithm
// follows, as in "@sha256:". The path ends at a colon, or at the end of s, if a file or folder with
// that name exists. If no such path exists, the path ends at the first colon, as in skopeo. If
// several such paths exist, s is ambiguous, which is an error.
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
	for _, scheme := range []string{"https://", "http://", "oci://"} {
		if strings.HasPrefix(s, scheme) {
			return Source{}, fmt.Errorf("parsing image %q: a registry reference must not begin with %q", s, scheme)
		}
	}
	if rest == "" {
		return Source{}, fmt.Errorf("parsing image %q: the name after the transport is missing", s)
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
		if out.Path, rest, err = cutPath(out.Transport, rest); err == nil && rest != "" {
			out.Ref, err = name.NewTag(rest, opts...)
		}
	case OCILayout, OCIArchive:
		if !isThere(out.Transport, rest) {
			rest, out.Digest, err = cutDigest(rest)
		}
		if err == nil {
			out.Path, out.Tag, err = cutPath(out.Transport, rest)
		}
	}
	if err != nil {
		return Source{}, fmt.Errorf("parsing image %q: %w", s, err)
	}
	return out, nil
}

// cutDigest splits "@ALGORITHM:HEX" from the end of a local source.
func cutDigest(s string) (rest string, digest v1.Hash, err error) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 || !digestLike.MatchString(s[i+1:]) {
		return s, v1.Hash{}, nil
	}
	digest, err = v1.NewHash(s[i+1:])
	return s[:i], digest, err
}

// digestLike matches text that looks like a digest, valid or not.
var digestLike = regexp.MustCompile(`^(?i:sha256|sha384|sha512):[^/]*$`)

// cutPath splits a local source s into a path and the rest after the colon, which names an image in
// the layout or archive. See [ParseSource] for the rules.
func cutPath(t Transport, s string) (path, image string, err error) {
	var found []string
	for i := 0; i <= len(s); i++ {
		if (i == len(s) || s[i] == ':') && isThere(t, s[:i]) {
			found = append(found, s[:i])
		}
	}
	switch {
	case len(found) > 1:
		return "", "", fmt.Errorf("the name matches several paths, %q: rename one, or use a link without a colon in its name", found)
	case len(found) == 1:
		path = found[0]
		image = strings.TrimPrefix(s[len(path):], ":")
	default:
		path, image, _ = strings.Cut(s, ":")
	}
	if path == "" {
		return "", "", errors.New("the path is missing")
	}
	return path, image, nil
}

// isThere reports whether path exists with the right type: a folder for an OCI layout, a file for
// the other transports.
func isThere(t Transport, path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir() == (t == OCILayout)
}
