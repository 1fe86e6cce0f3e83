package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Transport returns a round tripper that corrects the responses of next to requests for manifests
// and referrers. Other requests are passed on unchanged.
//
// Transport removes the parameters from the Content-Type of a manifest. It replaces a generic type
// with the media type that the manifest itself states.
//
// A referrers list is returned with all its pages. It is an error if the response is not a
// referrers list, if a page is unreadable, or if the list keeps changing while it is read. If a
// registry does not have the referrers API, the status is always 404, even if the registry sent
// 400, 405, 406 or 501.
func Transport(next http.RoundTripper) http.RoundTripper { return &corrected{next} }

type corrected struct{ next http.RoundTripper }

// endpoint matches the paths of requests for manifests and referrers. The name of a repository may
// contain the same words, so the last match counts.
var endpoint = regexp.MustCompile(`^/v2/.+/(manifests|referrers)/[^/]+$`)

// RoundTrip implements http.RoundTripper.
func (c *corrected) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err != nil || (req.Method != http.MethodGet && req.Method != http.MethodHead) {
		return resp, err
	}
	m := endpoint.FindStringSubmatch(req.URL.Path)
	switch {
	case m == nil:
		return resp, nil
	case m[1] == "referrers":
		return c.referrers(req, resp)
	}
	return manifest(req, resp)
}

// manifest corrects the media type of a manifest.
func manifest(req *http.Request, resp *http.Response) (*http.Response, error) {
	kind := mediaType(resp)
	if resp.StatusCode != http.StatusOK || kind == "" && req.Method == http.MethodHead {
		return resp, nil
	}
	if isGeneric(kind) && req.Method == http.MethodGet {
		body, err := readAll(resp)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Redacted(), err)
		}
		setBody(resp, body)
		var stated struct {
			MediaType string `json:"mediaType"`
		}
		if err := json.Unmarshal(body, &stated); err != nil {
			return nil, fmt.Errorf("%s %s: the registry responded with status 200 and a body that is not a manifest: %w", req.Method, req.URL.Redacted(), err)
		}
		// Prefer the media type in the manifest, because the digest covers it. The digest does not
		// cover the header.
		if isManifest(stated.MediaType) {
			kind = stated.MediaType
		}
	}
	if kind != "" {
		resp.Header.Set("Content-Type", kind)
	}
	return resp, nil
}

// mediaType returns the media type of a response in lower case and without parameters. It returns
// "" if the header is missing.
func mediaType(resp *http.Response) string {
	header := resp.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(header)
	if err != nil && kind == "" {
		kind, _, _ = strings.Cut(header, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	return kind
}

// isGeneric reports whether a media type does not identify the kind of manifest. File servers and
// some proxies send generic types.
func isGeneric(kind string) bool {
	switch kind {
	case "", "application/json", "application/octet-stream", "binary/octet-stream", "text/plain", "text/html":
		return true
	}
	return false
}

func isManifest(kind string) bool {
	t := types.MediaType(kind)
	return t.IsImage() || t.IsIndex()
}

// readAll reads and closes the body of a response. A body with more than MaxManifest bytes is an
// error.
func readAll(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(body) > MaxManifest {
		return nil, fmt.Errorf("the response exceeds the limit of %d bytes", MaxManifest)
	}
	return body, nil
}

func setBody(resp *http.Response, body []byte) {
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
}
