package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Limits for reading a referrers list. Exceeding any of them is an error, so that a registry cannot
// send an endless list. Callers accept at most a thousand referrers, so valid lists are far below
// these limits.
const (
	maxPages     = 100
	maxReferrers = 10_000
	maxListBytes = 16 << 20
	// maxReadings is the maximum number of times that a list with several pages is read. Such a
	// list can change between two requests, so it is read again until two readings agree.
	maxReadings = 4
)

// referrers returns a response with the complete referrers list. first is the response to the
// request for the first page.
func (c *corrected) referrers(req *http.Request, first *http.Response) (*http.Response, error) {
	switch first.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
		first.StatusCode, first.Status = http.StatusNotFound, "404 Not Found"
		return first, nil
	default:
		if first.StatusCode/100 == 3 { // refuse a redirect, because go-containerregistry would follow it and read only one page
			first.Body.Close()
			return nil, fmt.Errorf("%s %s: the registry responded with %s: redirects of a referrers list are not followed", req.Method, req.URL.Redacted(), first.Status)
		}
		return first, nil // go-containerregistry returns an error for this response
	}
	list, pages, err := c.wholeList(req, first)
	for reading := 1; err == nil && pages > 1; reading++ {
		before := list
		if reading == maxReadings {
			err = errors.New("the referrers list keeps changing while it is read")
			break
		}
		var again *http.Response
		if again, err = c.next.RoundTrip(req.Clone(req.Context())); err != nil {
			break
		}
		if list, pages, err = c.wholeList(req, again); err == nil && sameDigests(before, list) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Redacted(), err)
	}
	body, err := json.Marshal(indexOf{SchemaVersion: 2, MediaType: string(types.OCIImageIndex), Manifests: list})
	if err != nil {
		return nil, err
	}
	first.Header.Set("Content-Type", string(types.OCIImageIndex))
	first.Header.Del("Link")
	setBody(first, body)
	return first, nil
}

// indexOf has the fields of an index that are needed to merge pages. Descriptors stay unchanged,
// byte for byte.
type indexOf struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []json.RawMessage `json:"manifests"`
}

// wholeList reads a page of a referrers list and all following pages. It returns the entries of all
// pages and the number of pages.
func (c *corrected) wholeList(req *http.Request, resp *http.Response) (list []json.RawMessage, pages int, err error) {
	seen, size := map[string]bool{req.URL.String(): true}, 0
	at := req.URL
	for {
		pages++
		page, bytes, err := readPage(resp)
		if err != nil {
			return nil, pages, fmt.Errorf("page %d: %w", pages, err)
		}
		if list, size = append(list, page...), size+bytes; len(list) > maxReferrers || size > maxListBytes {
			return nil, pages, fmt.Errorf("the referrers list has more than %d entries or %d bytes", maxReferrers, maxListBytes)
		}
		next, err := nextPage(at, resp.Header.Values("Link"))
		switch {
		case err != nil:
			return nil, pages, fmt.Errorf("page %d: %w", pages, err)
		case next == nil:
			return list, pages, nil
		case seen[next.String()]:
			return nil, pages, fmt.Errorf("page %d: the link to the next page leads to an earlier page", pages)
		case pages == maxPages:
			return nil, pages, fmt.Errorf("the referrers list has more than %d pages", maxPages)
		}
		seen[next.String()], at = true, next
		if resp, err = c.page(req, next); err != nil { //nolint:bodyclose // readPage closes it
			return nil, pages, fmt.Errorf("page %d: %w", pages+1, err)
		}
	}
}

// page requests another page of a referrers list, with the credentials of the first request.
func (c *corrected) page(req *http.Request, u *url.URL) (*http.Response, error) {
	more := req.Clone(req.Context())
	more.URL = u
	return c.next.RoundTrip(more)
}

// readPage reads one page of a referrers list, and returns its entries and its size in bytes. The
// page must be an index. Parameters of its media type are ignored.
func readPage(resp *http.Response) ([]json.RawMessage, int, error) {
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		resp.Body.Close()
		return nil, 0, err
	}
	body, err := readAll(resp)
	if err != nil {
		return nil, 0, err
	}
	if kind := mediaType(resp); kind != string(types.OCIImageIndex) && !isGeneric(kind) {
		return nil, 0, fmt.Errorf("the registry responded with status %d and the media type %q, which is not a referrers list", resp.StatusCode, kind)
	}
	var index struct {
		MediaType string             `json:"mediaType"`
		Manifests *[]json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(body, &index); err != nil {
		return nil, 0, fmt.Errorf("the registry responded with status 200 and a body that is not a referrers list: %w", err)
	}
	if index.Manifests == nil || index.MediaType != "" && index.MediaType != string(types.OCIImageIndex) {
		return nil, 0, errors.New("the registry responded with status 200 and a body that is not a referrers list")
	}
	return *index.Manifests, len(body), nil
}

// nextPage returns the URL of the next page of a referrers list, or nil if there is none. A link to
// another endpoint is an error, because the request would send the credentials to that endpoint.
func nextPage(at *url.URL, headers []string) (*url.URL, error) {
	for _, header := range headers {
		for header != "" {
			target, params, rest, err := cutLink(header)
			if err != nil {
				return nil, err
			}
			header = rest
			if !isNext(params) {
				continue
			}
			u, err := at.Parse(target)
			if err != nil {
				return nil, fmt.Errorf("parsing the link to the next page: %w", err)
			}
			if u.Scheme != at.Scheme || u.Host != at.Host || u.Path != at.Path || u.User != nil {
				return nil, fmt.Errorf("the link to the next page leads to another endpoint: %s", u.Redacted())
			}
			return u, nil
		}
	}
	return nil, nil
}

// cutLink splits a Link header after its first link. It returns the target and the parameters of
// this link, and the rest of the header: https://www.rfc-editor.org/rfc/rfc8288#section-3
func cutLink(header string) (target, params, rest string, err error) {
	header = strings.TrimLeft(header, " \t,")
	if header == "" {
		return "", "", "", nil
	}
	if header[0] != '<' {
		return "", "", "", errors.New("the Link header of the response is invalid")
	}
	target, after, ok := strings.Cut(header[1:], ">")
	if !ok {
		return "", "", "", errors.New("the Link header of the response is invalid")
	}
	quoted := false
	for i, r := range after {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ',' && !quoted:
			return target, after[:i], after[i+1:], nil
		}
	}
	return target, after, "", nil
}

// isNext reports whether the parameters of a link have the relation "next".
func isNext(params string) bool {
	for _, param := range strings.Split(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "rel") {
			continue
		}
		for _, rel := range strings.Fields(strings.Trim(strings.TrimSpace(value), `"`)) {
			if strings.EqualFold(rel, "next") {
				return true
			}
		}
	}
	return false
}

// sameDigests reports whether two readings of a referrers list have the same set of digests.
func sameDigests(a, b []json.RawMessage) bool {
	digests := func(list []json.RawMessage) map[string]bool {
		out := map[string]bool{}
		for _, raw := range list {
			var d struct {
				Digest string `json:"digest"`
			}
			if json.Unmarshal(raw, &d) == nil {
				out[d.Digest] = true
			}
		}
		return out
	}
	x, y := digests(a), digests(b)
	if len(x) != len(y) {
		return false
	}
	for digest := range x {
		if !y[digest] {
			return false
		}
	}
	return true
}
