// Package reference parses the image references that a user types, and explains typical mistakes: a
// URL, the path of a file, a destination without a tag.
//
// If the error alone does not say what to type, an [*Error] has a hint.
package reference

import (
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/names"
)

// Error is the error for a reference that cannot be parsed.
type Error struct {
	Err  error
	hint string
}

// Hint says what to type instead. It is empty if the error already says it.
func (e *Error) Hint() string { return e.hint }

// Error describes the mistake.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func errorf(format string, args ...any) error { return &Error{Err: fmt.Errorf(format, args...)} }

// Source parses the reference of the image to check. See [gate.ParseSource] for the syntax.
func Source(s string) (gate.Source, error) {
	if err := checkScheme(s); err != nil {
		return gate.Source{}, err
	}
	if err := checkFile(s); err != nil {
		return gate.Source{}, err
	}
	if err := checkRepository(s); err != nil {
		return gate.Source{}, err
	}
	src, err := gate.ParseSource(s)
	if err != nil {
		return gate.Source{}, &Error{Err: err}
	}
	return src, nil
}

// Tags parses destinations in approved registries. Each must have a tag, so that an image is not
// promoted to "latest" by accident.
func Tags(args []string) ([]name.Tag, error) {
	var tags []name.Tag
	for _, a := range args {
		tag, err := parseTag(a)
		if err != nil {
			return nil, err
		}
		tags = append(tags, tag)
	}
	return tags, nil
}

// Destinations parses destinations like [Tags], and refuses a destination that is the image itself or
// that is given twice. It compares canonical names, so two spellings of one registry are equal.
func Destinations(src gate.Source, args []string) ([]name.Tag, error) {
	tags, err := Tags(args)
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	staging := canonicalSource(src)
	for i, tag := range tags {
		key := canonicalTag(tag)
		first, isRepeated := seen[key]
		switch {
		case key == staging:
			return nil, errorf("approved reference %q is the same as the staging reference: give another repository or tag", args[i])
		case isRepeated && first == args[i]:
			return nil, errorf("approved reference %q is given twice: give each reference once", args[i])
		case isRepeated:
			return nil, errorf("approved references %q and %q are the same: give each reference once", first, args[i])
		}
		seen[key] = args[i]
	}
	return tags, nil
}

func canonicalTag(t name.Tag) string {
	return names.Canonical(string(gate.Registry)+"://"+t.Context().Name()) + ":" + t.TagStr()
}

// canonicalSource returns the canonical name of a registry image with its tag, even if the
// reference also has a digest. It returns "" for an image that has only a digest, or is not in a
// registry.
func canonicalSource(src gate.Source) string {
	if src.Transport != gate.Registry {
		return ""
	}
	withTag, _, _ := strings.Cut(src.String(), "@")
	tag, err := parse(withTag, name.NewTag)
	if err != nil { // no tag, or only a digest
		tag, _ = src.Ref.(name.Tag)
	}
	if tag.TagStr() == "" {
		return ""
	}
	return canonicalTag(tag)
}

func parseTag(s string) (name.Tag, error) {
	if err := checkScheme(s); err != nil {
		return name.Tag{}, err
	}
	last := path.Base(s)
	repository, _, hasDigest := strings.Cut(s, "@")
	switch {
	case hasDigest:
		return name.Tag{}, errorf("approved reference %q: the destination needs a tag, not a digest: use %s:TAG", s, withoutTag(repository))
	case strings.HasSuffix(last, ":"):
		return name.Tag{}, errorf("approved reference %q: the tag is empty: is a variable not set?", s)
	case !strings.Contains(last, ":"):
		return name.Tag{}, errorf("approved reference %q has no tag: use %s:TAG", s, s)
	}
	tag, err := parse(s, name.NewTag)
	named := withoutTag(repository)
	if lower := strings.ToLower(named); err != nil && lower != named {
		return name.Tag{}, errorf("approved reference %q: a repository has lower-case letters only: use %s", s, lower+strings.TrimPrefix(s, named))
	}
	if err != nil {
		return name.Tag{}, errorf("approved reference %q: must be registry/repository:tag: %w", s, err)
	}
	return tag, nil
}

// withoutTag removes the tag, if any, from a reference.
func withoutTag(s string) string {
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		return s[:i]
	}
	return s
}

// Approved parses the reference of an image in an approved registry, with a tag or a digest.
func Approved(s string) (name.Reference, error) {
	if err := checkScheme(s); err != nil {
		return nil, err
	}
	ref, err := parse(s, name.ParseReference)
	if err != nil {
		return nil, errorf("%q: must be registry/repository with a tag or digest: %w", s, err)
	}
	return ref, nil
}

// Repository parses the name of a repository in an approved registry. The result is in the
// canonical form that signatures contain.
func Repository(s string) (name.Repository, error) {
	if err := checkScheme(s); err != nil {
		return name.Repository{}, err
	}
	repo, err := parse(s, name.NewRepository)
	if err != nil {
		return name.Repository{}, errorf("%q: must be registry/repository without a tag or digest: %w", s, err)
	}
	return repo, nil
}

// parse normalizes a reference, removes "docker://", and parses it with the given function.
func parse[T any](s string, parse func(string, ...name.Option) (T, error)) (T, error) {
	normal, err := names.Normalize(strings.TrimPrefix(s, string(gate.Registry)+"://"))
	if err != nil {
		var none T
		return none, err
	}
	return parse(normal, name.StrictValidation)
}

// checkScheme returns an error for an http or https URL. The scheme "http://" must not select plain
// HTTP, because a reference would then have two meanings.
func checkScheme(s string) error {
	for _, scheme := range []string{"http://", "https://"} {
		rest, ok := strings.CutPrefix(s, scheme)
		if !ok {
			continue
		}
		e := &Error{Err: fmt.Errorf("%q: a reference begins with the registry: remove %q", s, scheme)}
		if host, _, _ := strings.Cut(rest, "/"); scheme == "http://" && !names.IsLoopback(host) {
			e.hint = fmt.Sprintf("to allow plain HTTP, use --insecure-registry %s", host)
		}
		return e
	}
	return nil
}

// archiveName matches the names of files that usually contain images.
var archiveName = regexp.MustCompile(`\.(tar|tgz|tar\.(gz|zst|xz|bz2))$`)

// checkFile returns an error for the path of a file or folder without a transport. A plain name,
// such as "nginx", is always a reference, unless it is an archive or an OCI layout in the current
// folder.
func checkFile(s string) error {
	isPath := strings.HasPrefix(s, ".") || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "~")
	info, err := os.Stat(s)
	switch {
	case err == nil && info.IsDir():
		if _, err := os.Stat(filepath.Join(s, "oci-layout")); err != nil && !isPath {
			return nil
		}
		return errorf("%q is a folder: for an OCI layout, use oci:%s", s, s)
	case err == nil && (isPath || archiveName.MatchString(s)):
		return errorf("%q is a file: use docker-archive:%s for the output of \"docker save\", or oci-archive:%s", s, s, s)
	case isPath:
		return errorf("%q is a path, but the file does not exist: for an image in a file, use docker-archive:FILE or oci-archive:FILE", s)
	}
	return nil
}

// checkRepository returns an error for a registry without a repository. As a reference,
// "registry.example:5000" would mean the image registry.example on Docker Hub with the tag 5000.
func checkRepository(s string) error {
	host, port, _ := net.SplitHostPort(s) // a string without a port is an image name
	if port == "" || strings.ContainsAny(s, "/@") || strings.Trim(port, "0123456789") != "" {
		return nil
	}
	if net.ParseIP(host) == nil && host != "localhost" && !strings.Contains(host, ".") {
		return nil
	}
	return errorf("%q is a registry without a repository: use %s/REPOSITORY:TAG", s, s)
}
