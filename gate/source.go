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
//
// A path may contain "@" and colons. "@" begins a digest only if an algorithm follows, as in
// "@sha256:". Of several colons the one that ends the path of an existing file or folder counts.
// If nothing is there, the first colon counts, as for skopeo. Several such paths are an error.
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
			return Source{}, fmt.Errorf("parsing image %q: an image in a registry is named without %q", s, scheme)
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

// cutDigest cuts "@ALGORITHM:HEX" from the end of a local source.
func cutDigest(s string) (rest string, digest v1.Hash, err error) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 || !digestLike.MatchString(s[i+1:]) {
		return s, v1.Hash{}, nil
	}
	digest, err = v1.NewHash(s[i+1:])
	return s[:i], digest, err
}

// digestLike matches what is meant as a digest, valid or not.
var digestLike = regexp.MustCompile(`^(?i:sha256|sha384|sha512):[^/]*$`)

// cutPath cuts a local source into the path and the name of an image in there, see [ParseSource].
func cutPath(t Transport, s string) (path, image string, err error) {
	var found []string
	for i := 0; i <= len(s); i++ {
		if (i == len(s) || s[i] == ':') && isThere(t, s[:i]) {
			found = append(found, s[:i])
		}
	}
	switch {
	case len(found) > 1:
		return "", "", fmt.Errorf("it may name any of the paths %q: rename one, or use a link without a colon in its name", found)
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

// isThere reports whether something that a source of this kind can be read from is at the path.
func isThere(t Transport, path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir() == (t == OCILayout)
}
