package vulndb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/distribution"

	"github.com/imagegate/imagegate/policy/evidence"
)

// DefaultURL is the feed of the Grype project.
const DefaultURL = "https://grype.anchore.io/databases"

// UpdateOptions configure Update. Dir and Now are required.
type UpdateOptions struct {
	// Dir is the directory of the databases. Update creates it if it does not exist.
	Dir string
	// URL is the feed: the URL of its latest.json, or the URL that "v6/latest.json" is appended to,
	// as in grype. Credentials in the URL are used but never shown. Default: DefaultURL.
	URL string
	// Transport sends the requests to the feed. Default: http.DefaultTransport.
	Transport http.RoundTripper
	// InsecurePlainHTTP allows a feed without TLS. The feed also provides the checksum, so without
	// TLS anyone on the network path can choose the database. Plain HTTP is always allowed for
	// loopback addresses.
	InsecurePlainHTTP bool
	// AllowOlder accepts a database that was built before the current database.
	AllowOlder bool
	// Checksum is the required checksum of the archive, "sha256:<hex>". Default: the checksum in
	// the feed.
	Checksum string
	// ArchiveDir is a folder that keeps the archive of the latest database. Update takes the archive
	// from there if it has the checksum in the feed, so the folder does not need to be trusted.
	// Default: none.
	ArchiveDir string
	// IdleTimeout is the maximum time without data from the feed. Default: one minute.
	IdleTimeout time.Duration
	Limits      Limits
	// Progress receives the number of bytes received. total is -1 if the size is unknown. Default:
	// none.
	Progress func(done, total int64)
	// Now returns the current time.
	Now func() time.Time
}

// Result is the result of an update.
type Result struct {
	// Updated is false if the feed offers the current database.
	Updated bool
	// Database is the current database.
	Database evidence.Database
	// Feed is the status of the feed: "active", "deprecated" or "eol".
	Feed string
}

// Update installs the feed's latest database and makes it the current one. If the database is
// already current and intact, Update downloads nothing, unless Checksum is set. Update refuses a
// database that was built before the current one, because a feed that was rolled back hides newer
// advisories. It also refuses a database whose build time differs from the build time in the feed.
//
// On any error, the current database does not change.
func Update(ctx context.Context, opts UpdateOptions) (_ *Result, err error) {
	opts.URL = cmp.Or(opts.URL, DefaultURL)
	feed, err := newFeed(opts)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("updating the vulnerability database from %s: %w", redact(feed.url), err)
		}
	}()
	if opts.Now == nil {
		return nil, errors.New("no clock given")
	}
	if err := checkChecksum(opts.Checksum); err != nil {
		return nil, err
	}

	w, err := lockForWriting(ctx, opts.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()

	latest, err := feed.latest(ctx)
	if err != nil {
		return nil, err
	}
	if opts.Checksum != "" && latest.Checksum != opts.Checksum {
		return nil, fmt.Errorf("the feed offers the archive %s, not the pinned archive %s", latest.Checksum, opts.Checksum)
	}
	have := w.installed(ctx)
	// With a pinned checksum, always fetch the archive. Only the record in Dir states that the
	// current database came from this archive, and a user who pins a checksum does not trust the
	// record.
	if have != nil && have.record.Archive == latest.Checksum && opts.Checksum == "" {
		return &Result{Database: have.info, Feed: string(latest.Status)}, nil
	}
	if have != nil && latest.Built.Before(have.info.Built) && !opts.AllowOlder {
		return nil, fmt.Errorf("the feed offers an older database: it was built %s, but the current one %s",
			latest.Built, have.info.Built.Format(time.RFC3339))
	}
	info, err := w.download(ctx, feed, latest, opts)
	if err != nil {
		return nil, err
	}
	return &Result{Updated: true, Database: info, Feed: string(latest.Status)}, nil
}

// Offered is the database that a feed offers.
type Offered struct {
	// URL is the URL of the feed's latest.json, without credentials.
	URL   string
	Built time.Time
}

// Latest asks the feed which database it offers, and downloads nothing else. It uses only the
// options about the feed: URL, Transport, InsecurePlainHTTP and IdleTimeout. It returns the URL even
// with an error, unless the URL of the options is invalid.
func Latest(ctx context.Context, opts UpdateOptions) (Offered, error) {
	opts.URL = cmp.Or(opts.URL, DefaultURL)
	feed, err := newFeed(opts)
	if err != nil {
		return Offered{}, err
	}
	o := Offered{URL: redact(feed.url)}
	latest, err := feed.latest(ctx)
	if err != nil {
		return o, fmt.Errorf("reading %s: %w", o.URL, err)
	}
	o.Built = latest.Built.Time
	return o, nil
}

// download fetches, verifies and installs the database that the feed offers.
func (w *writer) download(ctx context.Context, f *feed, latest *distribution.LatestDocument, opts UpdateOptions) (_ evidence.Database, err error) {
	tmp, err := w.temporary()
	if err != nil {
		return evidence.Database{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	address, err := f.archive(latest.Path)
	if err != nil {
		return evidence.Database{}, err
	}
	limits := opts.Limits.withDefaults()
	file := filepath.Join(tmp, "archive")
	if err := f.obtain(ctx, address, file, latest.Checksum, limits.Archive, opts); err != nil {
		return evidence.Database{}, fmt.Errorf("fetching %s: %w", redact(address), err)
	}
	from := origin{source: redact(address), archive: latest.Checksum, checked: true, now: opts.Now()}
	return w.installArchive(ctx, file, limits, from, func(info evidence.Database) error {
		if offered := latest.Built.Time; !info.Built.Round(time.Second).Equal(offered.Round(time.Second)) {
			return fmt.Errorf("latest.json of the feed states that the database was built %s, but the database states %s",
				latest.Built, info.Built.Format(time.RFC3339))
		}
		return nil
	})
}

// obtain writes the archive with a checksum to a new file: the kept archive or a download.
func (f *feed) obtain(ctx context.Context, from *url.URL, file, checksum string, limit int64, opts UpdateOptions) error {
	if opts.ArchiveDir == "" {
		return f.fetch(ctx, from, file, checksum, limit, opts.Progress)
	}
	if kept, err := useKept(opts.ArchiveDir, checksum, file, limit); kept || err != nil {
		return err
	}
	if err := f.fetch(ctx, from, file, checksum, limit, opts.Progress); err != nil {
		return err
	}
	return keepArchive(opts.ArchiveDir, checksum, file)
}

// installedDB is a verified current database.
type installedDB struct {
	record record
	info   evidence.Database
}

// installed returns the current database, or nil if no usable database is installed. If it is nil,
// Update accepts a database of any age.
func (w *writer) installed(ctx context.Context) *installedDB {
	name, err := readPointer(w.dir)
	if err != nil {
		return nil
	}
	folder := filepath.Join(w.dir, name)
	rec, err := verify(ctx, folder)
	if err != nil {
		return nil
	}
	info, err := describeFile(folder)
	if err != nil {
		return nil
	}
	info.Digest, info.Source = rec.Digest, rec.Source
	return &installedDB{rec, info}
}

// latestURL returns the URL of a feed's latest.json. It accepts the same URLs as grype.
func latestURL(feed string) (*url.URL, error) {
	u, err := url.Parse(feed)
	if err != nil || u.Host == "" {
		// Do not return the error of the parser: it contains the URL with its password.
		return nil, errors.New("the address of the vulnerability database feed is not a URL")
	}
	if !strings.HasSuffix(u.Path, ".json") {
		u = u.JoinPath(fmt.Sprintf("v%d", v6.ModelVersion), distribution.LatestFileName)
	}
	return u, nil
}

// archive returns the URL of an archive, whose name is relative to latest.json.
func (f *feed) archive(name string) (*url.URL, error) {
	if !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsAny(name, "\\?#") {
		return nil, fmt.Errorf("the feed names the archive %q, which is not a file below the URL of the feed", name)
	}
	u := *f.url
	u.Path, u.RawPath = path.Join(path.Dir(u.Path), name), ""
	return &u, nil
}

// redact removes every part of a URL that may be secret: user, password, query and fragment.
func redact(u *url.URL) string {
	public := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return public.String()
}
