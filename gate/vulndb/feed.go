package vulndb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/distribution"
)

const (
	maxLatest    = 1 << 20
	maxRedirects = 10
)

// errIdle is the error for a transfer that was stopped by the idle timeout.
var errIdle = errors.New("the feed stopped sending data")

// feed is an HTTP server that publishes databases.
type feed struct {
	url         *url.URL // the URL of latest.json, with credentials
	client      *http.Client
	idleTimeout time.Duration
}

func newFeed(opts UpdateOptions) (*feed, error) {
	u, err := latestURL(opts.URL)
	if err != nil {
		return nil, err
	}
	secure := func(u *url.URL) bool {
		return u.Scheme == "https" || u.Scheme == "http" && (opts.InsecurePlainHTTP || isLoopback(u.Hostname()))
	}
	if !secure(u) {
		return nil, fmt.Errorf("invalid vulnerability database feed %s: https is required", redact(u))
	}
	idle := opts.IdleTimeout
	if idle == 0 {
		idle = time.Minute
	}
	return &feed{url: u, idleTimeout: idle, client: &http.Client{
		Transport: opts.Transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return fmt.Errorf("stopped after %d redirects", maxRedirects)
			}
			if !secure(req.URL) {
				return fmt.Errorf("refused a redirect to %s: https is required", redact(req.URL))
			}
			return nil
		},
	}}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// latest fetches the feed's latest.json.
func (f *feed) latest(ctx context.Context) (*distribution.LatestDocument, error) {
	var data []byte
	err := f.get(ctx, f.url, func(body io.Reader, _ int64) (err error) {
		data, err = io.ReadAll(io.LimitReader(body, maxLatest+1))
		return err
	})
	if err != nil {
		return nil, err
	}
	return parseLatest(data)
}

// parseLatest parses and checks latest.json. data has at most one byte more than maxLatest.
func parseLatest(data []byte) (*distribution.LatestDocument, error) {
	if len(data) > maxLatest {
		return nil, fmt.Errorf("latest.json is longer than %d bytes", maxLatest)
	}
	// Accept unknown fields, because grype defines the document and may add fields.
	var doc distribution.LatestDocument
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading latest.json: %w", err)
	}
	switch {
	case doc.SchemaVersion.Model != v6.ModelVersion:
		return nil, fmt.Errorf("latest.json offers a database with schema %d, but this build of imagegate reads schema %d", doc.SchemaVersion.Model, v6.ModelVersion)
	case doc.Built.IsZero():
		return nil, errors.New("latest.json does not state when its database was built")
	case !isChecksum(doc.Checksum):
		return nil, fmt.Errorf("latest.json has the checksum %q, which is not a sha256 checksum", doc.Checksum)
	}
	return &doc, nil
}

// fetch downloads a file and verifies its checksum during the download. After an error, the caller
// must not use the file.
func (f *feed) fetch(ctx context.Context, from *url.URL, file, checksum string, limit int64, progress func(done, total int64)) (err error) {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return f.get(ctx, from, func(body io.Reader, length int64) error {
		if length > limit {
			return fmt.Errorf("the file has %d bytes, the limit is %d", length, limit)
		}
		hash := sha256.New()
		to := io.MultiWriter(out, hash, &meter{total: length, report: progress})
		n, err := io.Copy(to, io.LimitReader(body, limit+1))
		if err != nil {
			return err
		}
		if n > limit {
			return fmt.Errorf("the file is larger than %d bytes", limit)
		}
		if got := "sha256:" + hex.EncodeToString(hash.Sum(nil)); got != checksum {
			return fmt.Errorf("the file has checksum %s, but the feed lists %s", got, checksum)
		}
		return nil
	})
}

// get sends one request and passes the body and its length to read. The length is -1 if it is
// unknown. Errors do not contain the URL, which may have credentials.
func (f *feed) get(ctx context.Context, from *url.URL, read func(body io.Reader, length int64) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(f.idleTimeout, func() { cancel(errIdle) })
	defer watchdog.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return errors.New("the URL of the download is invalid")
	}
	resp, err := f.client.Do(req) //nolint:bodyclose // closed below, whatever the status
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return cause(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server responded with status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body := readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		watchdog.Reset(f.idleTimeout)
		return n, err
	})
	return cause(ctx, read(body, resp.ContentLength))
}

// cause returns errIdle instead of the "context canceled" error if the idle timeout canceled the
// transfer.
func cause(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errIdle) {
		return errIdle
	}
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// meter is a writer that counts the bytes written to it and reports the progress.
type meter struct {
	done, total int64
	report      func(done, total int64)
}

func (m *meter) Write(p []byte) (int, error) {
	m.done += int64(len(p))
	if m.report != nil {
		m.report(m.done, m.total)
	}
	return len(p), nil
}
