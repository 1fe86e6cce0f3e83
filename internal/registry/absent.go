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

// IsAbsent reports whether reading a tag failed because the tag does not exist. err is the error of
// the failed request.
//
// Some registries (Artifactory, GHCR, Harbor) respond with 401 or 403 if a tag or repository does
// not exist. IsAbsent then reads the list of tags: the tag is absent if the complete list does not
// contain it, or if the repository does not exist. If the list is unreadable, too, the error names
// both requests.
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
		return false, fmt.Errorf("%w; cannot read the list of tags to find out whether the tag exists: GET /v2/%s/tags/list: %w", err, tag.RepositoryStr(), listErr)
	case slices.Contains(tags, tag.TagStr()):
		return false, err
	}
	return true, nil
}

// IsBeforeFirstPush reports whether a request was refused because the repository does not exist
// yet. This is the case if err is a 401 or 403, and the request for the list of tags returns 404.
func IsBeforeFirstPush(ctx context.Context, repo name.Repository, err error, opts ...remote.Option) bool {
	if s := status(err); s != http.StatusUnauthorized && s != http.StatusForbidden {
		return false
	}
	_, err = listTags(ctx, repo, opts)
	return IsNotFound(err)
}

// maxTagPages is the maximum number of pages that listTags reads. A longer list of tags is an
// error.
const maxTagPages = 1000

// listTags returns all tags of a repository. It reads at most maxTagPages pages.
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
	return nil, fmt.Errorf("the list of tags has more than %d pages", maxTagPages)
}

// status returns the HTTP status in an error of the registry client, or 0 for any other error.
func status(err error) int {
	var e *transport.Error
	if errors.As(err, &e) {
		return e.StatusCode
	}
	return 0
}

// IsNotFound reports whether err is a response of the registry with status 404.
func IsNotFound(err error) bool { return status(err) == http.StatusNotFound }
