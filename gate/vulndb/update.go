package vulndb

import (
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

	"github.com/imagegate/imagegate/policy"
)

// DefaultURL is the feed that the Grype project publishes.
const DefaultURL = "https://grype.anchore.io/databases"

// UpdateOptions say where to get a database from and where to keep it.
type UpdateOptions struct {
	// Dir is where databases are kept; it is made where it does not exist.
	Dir string
	// URL is a feed: its latest.json, or the address above "v6/latest.json",
	// as grype takes them. Credentials in it are used and never shown. Empty
	// means DefaultURL.
	URL string
	// Transport reaches the feed. Nil means http.DefaultTransport.
	Transport http.RoundTripper
	// InsecurePlainHTTP allows a feed without TLS. The feed's checksum comes
	// from the feed, so without TLS anyone on the way can choose the database.
	// Loopback addresses are always allowed.
	InsecurePlainHTTP bool
	// AllowOlder accepts a database that was built before the current one.
	AllowOlder bool
	// Checksum pins the archive, "sha256:<hex>". Empty means the one that the
	// feed names.
	Checksum string
	// Stall is how long the feed may send nothing before it is given up; zero
	// means one minute.
	Stall  time.Duration
	Limits Limits
	// Progress is told how much of the archive has arrived; total is -1 where
	// the feed does not say. Nil means nobody.
	Progress func(done, total int64)
	// Now tells the time.
	Now func() time.Time
}

// Result is what an update did.
type Result struct {
	// Updated is false where the current database is what the feed offers.
	Updated bool
	// Database is the current database.
	Database policy.Database
	// Feed is what the feed says of itself: "active", "deprecated" or "eol".
	Feed string
}

// Update makes the feed's latest database the current one. It downloads nothing
// if that is current already and intact, unless Checksum is set. A database that was built before the
// current one is refused, as is one that was not built when the feed says: a
// feed that was rolled back hides newer advisories.
//
// Any failure is an error, and leaves the current database what it was.
func Update(ctx context.Context, opts UpdateOptions) (_ *Result, err error) {
	if opts.URL == "" {
		opts.URL = DefaultURL
	}
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
		return nil, errors.New("no clock")
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
		return nil, fmt.Errorf("the feed offers %s, not the pinned %s", latest.Checksum, opts.Checksum)
	}
	have := w.installed(ctx)
	// With a pin the archive is fetched in any case: that this database came from it is what the
	// record in Dir says, and a pin is for those who do not take anyone's word.
	if have != nil && have.record.Archive == latest.Checksum && opts.Checksum == "" {
		return &Result{Database: have.info, Feed: string(latest.Status)}, nil
	}
	if have != nil && latest.Built.Before(have.info.Built) && !opts.AllowOlder {
		return nil, fmt.Errorf("the feed offers a database built %s, and the current one was built %s",
			latest.Built, have.info.Built.Format(time.RFC3339))
	}
	info, err := w.download(ctx, feed, latest, opts)
	if err != nil {
		return nil, err
	}
	return &Result{Updated: true, Database: info, Feed: string(latest.Status)}, nil
}

// download fetches, verifies and installs what the feed offers.
func (w *writer) download(ctx context.Context, f *feed, latest *distribution.LatestDocument, opts UpdateOptions) (_ policy.Database, err error) {
	tmp, err := w.temporary()
	if err != nil {
		return policy.Database{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	address, err := f.archive(latest.Path)
	if err != nil {
		return policy.Database{}, err
	}
	limits := opts.Limits.withDefaults()
	file := filepath.Join(tmp, "archive")
	if err := f.fetch(ctx, address, file, latest.Checksum, limits.Archive, opts.Progress); err != nil {
		return policy.Database{}, fmt.Errorf("fetching %s: %w", redact(address), err)
	}
	from := origin{source: redact(address), archive: latest.Checksum, checked: true, now: opts.Now()}
	return w.installArchive(ctx, file, limits, from, func(info policy.Database) error {
		if offered := latest.Built.Time; !info.Built.Round(time.Second).Equal(offered.Round(time.Second)) {
			return fmt.Errorf("the feed says that the database was built %s, and the database says %s",
				latest.Built, info.Built.Format(time.RFC3339))
		}
		return nil
	})
}

// installedDB is a verified current database.
type installedDB struct {
	record record
	info   policy.Database
}

// installed returns the current database if it can be used, else nil: then
// anything that the feed has is better.
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

// latestURL finds a feed's latest.json as grype does.
func latestURL(feed string) (*url.URL, error) {
	u, err := url.Parse(feed)
	if err != nil || u.Host == "" {
		// The parser's own words would repeat the address with its password.
		return nil, errors.New("the address of the vulnerability database feed is not a URL")
	}
	if !strings.HasSuffix(u.Path, ".json") {
		u = u.JoinPath(fmt.Sprintf("v%d", v6.ModelVersion), distribution.LatestFileName)
	}
	return u, nil
}

// archive is the address of a file beside latest.json.
func (f *feed) archive(name string) (*url.URL, error) {
	if !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsAny(name, "\\?#") {
		return nil, fmt.Errorf("the feed names an archive %q, which is no file below it", name)
	}
	u := *f.url
	u.Path, u.RawPath = path.Join(path.Dir(u.Path), name), ""
	return &u, nil
}

// redact leaves out everything of an address that may be a secret: user,
// password, query and fragment.
func redact(u *url.URL) string {
	public := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return public.String()
}
