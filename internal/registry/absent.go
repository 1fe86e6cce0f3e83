package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// IsAbsent reports whether reading a tag failed because the tag does not exist.
//
// Some registries answer 401 or 403 for a tag or repository that does not exist: Artifactory, GHCR,
// Harbor. Then the list of tags decides: the tag is absent if the complete list does not have it,
// or if the repository does not exist. If the list is unreadable as well, the error names both
// requests.
//
// For a nil err and for any other failure, absent is false and the error is err.
func IsAbsent(ctx context.Context, tag name.Tag, err error, opts ...remote.Option) (absent bool, _ error) {
	switch status(err) {
	case http.StatusNotFound:
		return true, nil
	case http.StatusUnauthorized, http.StatusForbidden:
	default:
		return false, err
	}
	tags, listErr := listTags(ctx, tag.Context(), opts)
	switch {
	case status(listErr) == http.StatusNotFound:
		return true, nil
	case listErr != nil:
		return false, fmt.Errorf("%w; the list of tags would tell whether it exists: GET /v2/%s/tags/list: %w", err, tag.RepositoryStr(), listErr)
	case slices.Contains(tags, tag.TagStr()):
		return false, err
	}
	return true, nil
}

// IsBeforeFirstPush reports whether a request was refused because the repository does not exist:
// err is a 401 or 403, and the list of tags is a 404.
func IsBeforeFirstPush(ctx context.Context, repo name.Repository, err error, opts ...remote.Option) bool {
	if s := status(err); s != http.StatusUnauthorized && s != http.StatusForbidden {
		return false
	}
	_, err = listTags(ctx, repo, opts)
	return IsNotFound(err)
}

// maxTagPages is the maximum number of pages in a list of tags.
const maxTagPages = 1000

// listTags reads all pages of the list of tags.
func listTags(ctx context.Context, repo name.Repository, opts []remote.Option) ([]string, error) {
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return nil, err
	}
	pages, err := puller.Lister(ctx, repo)
	if err != nil {
		return nil, err
	}
	var out []string
	for range maxTagPages {
		if !pages.HasNext() {
			return out, nil
		}
		page, err := pages.Next(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, page.Tags...)
	}
	return nil, fmt.Errorf("the list has more than %d pages", maxTagPages)
}

// status returns the HTTP status of an error, or 0 if it has none.
func status(err error) int {
	var e *transport.Error
	if errors.As(err, &e) {
		return e.StatusCode
	}
	return 0
}

// IsNotFound reports whether a registry answered 404.
func IsNotFound(err error) bool { return status(err) == http.StatusNotFound }
