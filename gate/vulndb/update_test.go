package vulndb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/imagegate/imagegate/policy/evidence"
)

func TestUpdateInstallsWhatTheFeedOffers(t *testing.T) {
	b := mirror(t, records, built)
	url, downloads := serve(t, root(b))
	dir := t.TempDir()
	var done, total int64
	opts := UpdateOptions{Dir: dir, URL: url, Now: stopped(built), Progress: func(d, n int64) { done, total = d, n }}
	r, err := Update(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Updated || r.Feed != "active" || r.Database.Digest != b.Database.Digest || downloads.Load() != 1 {
		t.Errorf("result is %+v after %d downloads", r, downloads.Load())
	}
	if want := url + "/v6/" + filepath.Base(b.Archive); r.Database.Source != want {
		t.Errorf("source is %s, not %s", r.Database.Source, want)
	}
	if done == 0 || done != total {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	db := openDB(t, dir)
	if db.Info().Digest != b.Database.Digest || db.Info().Source != r.Database.Source {
		t.Errorf("info is %+v", db.Info())
	}

	// Update must also accept the URL of latest.json itself.
	opts.URL = url + "/v6/latest.json"
	r, err = Update(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if r.Updated || r.Database.Digest != b.Database.Digest || downloads.Load() != 1 {
		t.Errorf("result is %+v after %d downloads", r, downloads.Load())
	}
}

// TestLatestDownloadsNoDatabase checks that Latest reads only latest.json, and that an error does
// not contain the credentials of the URL.
func TestLatestDownloadsNoDatabase(t *testing.T) {
	b := mirror(t, records, built)
	url, downloads := serve(t, root(b))
	got, err := Latest(t.Context(), UpdateOptions{URL: url})
	if err != nil || !got.Built.Equal(built) || got.URL != url+"/v6/latest.json" || downloads.Load() != 0 {
		t.Errorf("%+v, %v, %d downloads", got, err, downloads.Load())
	}
	got, err = Latest(t.Context(), UpdateOptions{URL: "http://user:secret-password@127.0.0.1:1/"})
	if err == nil || strings.Contains(err.Error(), "secret") || got.URL != "http://127.0.0.1:1/v6/latest.json" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUpdateRepairsADamagedDatabase(t *testing.T) {
	b := mirror(t, records, built)
	url, downloads := serve(t, root(b))
	dir := t.TempDir()
	opts := UpdateOptions{Dir: dir, URL: url, Now: stopped(built)}
	if _, err := Update(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	corrupt(t, filepath.Join(currentFolder(t, dir), v6.VulnerabilityDBFileName))
	r, err := Update(t.Context(), opts)
	if err != nil || !r.Updated || downloads.Load() != 2 {
		t.Errorf("result is %+v after %d downloads: %v", r, downloads.Load(), err)
	}
	openDB(t, dir)
}

func TestOldDatabaseIsRemovedAfterItsLastReader(t *testing.T) {
	dir := install(t)
	old := filepath.Base(currentFolder(t, dir))
	reader := openDB(t, dir)

	newer := mirror(t, records, built.Add(time.Hour))
	url, _ := serve(t, root(newer))
	opts := UpdateOptions{Dir: dir, URL: url, Now: stopped(built)}
	if _, err := Update(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if openDB(t, dir).Info().Digest != newer.Database.Digest {
		t.Error("the newer one is not current")
	}
	if !slices.Contains(folders(t, dir), old) {
		t.Fatal("a database was removed under its reader")
	}
	if found := matches(t, reader, packageOf("npm", "json-schema", "0.3.0", "")); len(found) != 1 || reader.Err() != nil {
		t.Errorf("the reader of the old one has found %v, %v", ids(found), reader.Err())
	}
	if err := reader.readerLock.release(); err != nil {
		t.Fatal(err)
	}
	importFile(t, dir, newer.Archive)
	if slices.Contains(folders(t, dir), old) {
		t.Error("the old one is still there")
	}
}

// hostile is a feed that changes the responses of a valid mirror.
type hostile struct {
	dir    string
	latest func(doc map[string]any)
	serve  func(w http.ResponseWriter, r *http.Request) bool // serve returns true if it has responded.
}

func (h hostile) start(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.serve != nil && h.serve(w, r) {
			return
		}
		if h.latest == nil || !strings.HasSuffix(r.URL.Path, "latest.json") {
			http.FileServer(http.Dir(h.dir)).ServeHTTP(w, r)
			return
		}
		data, err := os.ReadFile(filepath.Join(h.dir, "v6", "latest.json"))
		if err != nil {
			t.Error(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Error(err)
		}
		h.latest(doc)
		if err := json.NewEncoder(w).Encode(doc); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func isArchive(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, ".tar.zst") }

// TestFailedUpdateIsNotAWarning checks that every failed update is an error that names the cause,
// and that the database directory stays unchanged. A scanner that only warned would use old data
// unnoticed.
func TestFailedUpdateIsNotAWarning(t *testing.T) {
	newer := mirror(t, records, built.Add(time.Hour))
	archive, err := os.ReadFile(newer.Archive)
	if err != nil {
		t.Fatal(err)
	}
	send := func(body []byte) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if isArchive(r) {
				_, _ = w.Write(body)
			}
			return isArchive(r)
		}
	}
	wrong := bytes.Clone(archive)
	wrong[len(wrong)/2] ^= 1
	set := func(key string, value any) func(map[string]any) {
		return func(doc map[string]any) { doc[key] = value }
	}
	for name, tt := range map[string]struct {
		feed hostile
		opts func(*UpdateOptions)
		want string
	}{
		"wrong bytes":       {feed: hostile{serve: send(wrong)}, want: "the file has checksum"},
		"truncated":         {feed: hostile{serve: send(archive[:len(archive)-9])}, want: "the file has checksum"},
		"nothing":           {feed: hostile{serve: send(nil)}, want: "the file has checksum"},
		"wrong checksum":    {feed: hostile{latest: set("checksum", "sha256:"+strings.Repeat("0", 64))}, want: "the file has checksum"},
		"no checksum":       {feed: hostile{latest: set("checksum", "")}, want: "which is not a sha256 checksum"},
		"weak checksum":     {feed: hostile{latest: set("checksum", "md5:d41d8cd98f00b204e9800998ecf8427e")}, want: "which is not a sha256 checksum"},
		"other schema":      {feed: hostile{latest: set("schemaVersion", "v7.0.0")}, want: "schema 7"},
		"no date":           {feed: hostile{latest: func(d map[string]any) { delete(d, "built") }}, want: "when its database was built"},
		"wrong date":        {feed: hostile{latest: set("built", "2027-01-01T00:00:00Z")}, want: "but the database states"},
		"path above":        {feed: hostile{latest: set("path", "../../secret.tar.zst")}, want: "not a file below the URL"},
		"absolute path":     {feed: hostile{latest: set("path", "/secret.tar.zst")}, want: "not a file below the URL"},
		"path with query":   {feed: hostile{latest: set("path", "a?b")}, want: "not a file below the URL"},
		"empty path":        {feed: hostile{latest: set("path", "")}, want: "not a file below the URL"},
		"archive not there": {feed: hostile{latest: set("path", "none.tar.zst")}, want: "404"},
		"no JSON": {feed: hostile{serve: func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, "<html>")
			return true
		}}, want: "latest.json"},
		"endless latest.json": {feed: hostile{serve: func(w http.ResponseWriter, r *http.Request) bool {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					break
				}
			}
			return true
		}}, want: "longer than"},
		"server error": {feed: hostile{serve: func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}}, want: "500 Internal Server Error"},
		"cut off": {feed: hostile{serve: func(w http.ResponseWriter, r *http.Request) bool {
			if isArchive(r) {
				w.Header().Set("Content-Length", fmt.Sprint(len(archive)))
				_, _ = w.Write(archive[:100])
			}
			return isArchive(r)
		}}, want: "unexpected EOF"},
		"stalled": {feed: hostile{serve: func(w http.ResponseWriter, r *http.Request) bool {
			if isArchive(r) {
				_, _ = w.Write(archive[:100])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}
			return isArchive(r)
		}}, opts: func(o *UpdateOptions) { o.IdleTimeout = 300 * time.Millisecond }, want: "stopped sending"},
		"too large, announced": {opts: func(o *UpdateOptions) { o.Limits.Archive = 1000 }, want: "the limit is 1000"},
		"too large, streamed": {feed: hostile{serve: func(w http.ResponseWriter, r *http.Request) bool {
			if isArchive(r) {
				w.(http.Flusher).Flush()
				_, _ = w.Write(archive)
			}
			return isArchive(r)
		}}, opts: func(o *UpdateOptions) { o.Limits.Archive = 1000 }, want: "larger than 1000"},
		"database too large": {opts: func(o *UpdateOptions) { o.Limits.Database = 1000 }, want: "larger than"},
		"other than pinned":  {opts: func(o *UpdateOptions) { o.Checksum = "sha256:" + strings.Repeat("1", 64) }, want: "pinned"},
		"pin misspelt":       {opts: func(o *UpdateOptions) { o.Checksum = "1234" }, want: "expected sha256:"},
		"no clock":           {opts: func(o *UpdateOptions) { o.Now = nil }, want: "no clock"},
		"offline":            {opts: func(o *UpdateOptions) { o.Transport = offline{} }, want: "network is unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := install(t)
			info, before := openInfo(t, dir), folders(t, dir)
			tt.feed.dir = root(newer)
			opts := UpdateOptions{Dir: dir, URL: tt.feed.start(t), Now: stopped(built)}
			if tt.opts != nil {
				tt.opts(&opts)
			}
			r, err := Update(t.Context(), opts)
			if r != nil {
				t.Errorf("there is a result together with the error: %+v", r)
			}
			wantError(t, err, tt.want)
			unchanged(t, dir, before, info)
		})
	}
}

type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("network is unreachable")
}

func openInfo(t *testing.T, dir string) evidence.Database {
	t.Helper()
	db, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.Info()
}

// TestFeedCannotGoBack checks that Update refuses an older database unless AllowOlder is set. A
// feed that goes back in time hides newer advisories.
func TestFeedCannotGoBack(t *testing.T) {
	dir := install(t)
	info, before := openInfo(t, dir), folders(t, dir)
	older := mirror(t, records, built.Add(-24*time.Hour))
	url, downloads := serve(t, root(older))
	opts := UpdateOptions{Dir: dir, URL: url, Now: stopped(built)}
	_, err := Update(t.Context(), opts)
	wantError(t, err, "2026-06-22T12:00:00Z", "2026-06-23T12:00:00Z")
	unchanged(t, dir, before, info)
	if downloads.Load() != 0 {
		t.Error("the older database was downloaded")
	}

	opts.AllowOlder = true
	if r, err := Update(t.Context(), opts); err != nil || !r.Updated || openInfo(t, dir).Digest != older.Database.Digest {
		t.Errorf("result is %+v, %v", r, err)
	}
}

func TestPinnedDatabaseIsInstalled(t *testing.T) {
	b := mirror(t, records, built)
	url, _ := serve(t, root(b))
	dir := t.TempDir()
	if _, err := Update(t.Context(), UpdateOptions{Dir: dir, URL: url, Checksum: b.Checksum, Now: stopped(built)}); err != nil {
		t.Fatal(err)
	}
	openDB(t, dir)
}

func TestCredentialsAreUsedAndNeverShown(t *testing.T) {
	const secret = "hunter2"
	b := mirror(t, records, built)
	var (
		refuse atomic.Bool
		asked  atomic.Int64
	)
	feed := hostile{dir: root(b), serve: func(w http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		if user, pass, _ := r.BasicAuth(); user != "bob" || pass != secret || r.URL.Query().Get("sig") != secret {
			t.Errorf("%s came without credentials", r.URL.Path)
		}
		if refuse.Load() && isArchive(r) {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}}
	url := strings.Replace(feed.start(t), "http://", "http://bob:"+secret+"@", 1) + "/?sig=" + secret + "#" + secret
	dir := t.TempDir()
	check := func(what, text string) {
		t.Helper()
		if strings.Contains(text, secret) || strings.Contains(text, "bob") {
			t.Errorf("%s shows credentials: %s", what, text)
		}
	}

	refuse.Store(true)
	_, err := Update(t.Context(), UpdateOptions{Dir: dir, URL: url, Now: stopped(built)})
	wantError(t, err, "403")
	check("the error", err.Error())
	_, err = Update(t.Context(), UpdateOptions{Dir: dir, URL: url, Now: stopped(built), Transport: offline{}})
	wantError(t, err, "unreachable")
	check("the error", err.Error())
	_, err = Update(t.Context(), UpdateOptions{Dir: dir, URL: "https://bob:" + secret + "@%zz/", Now: stopped(built)})
	wantError(t, err, "not a URL")
	check("the error", err.Error())
	_, err = Update(t.Context(), UpdateOptions{Dir: dir, URL: "ftp://bob:" + secret + "@example.com/", Now: stopped(built)})
	wantError(t, err, "https")
	check("the error", err.Error())

	refuse.Store(false)
	r, err := Update(t.Context(), UpdateOptions{Dir: dir, URL: url, Now: stopped(built)})
	if err != nil {
		t.Fatal(err)
	}
	check("the source", r.Database.Source)
	text, err := os.ReadFile(filepath.Join(currentFolder(t, dir), recordName))
	if err != nil {
		t.Fatal(err)
	}
	check("the record", string(text))
	if n := asked.Load(); n < 4 {
		t.Errorf("only %d requests", n)
	}
}

func TestFeedWithoutTLSIsRefused(t *testing.T) {
	dir := t.TempDir()
	opts := UpdateOptions{Dir: dir, URL: "http://feed.example/db", Now: stopped(built), Transport: offline{}}
	_, err := Update(t.Context(), opts)
	wantError(t, err, "https")
	opts.InsecurePlainHTTP = true
	_, err = Update(t.Context(), opts)
	wantError(t, err, "unreachable")
}

func TestFeedCannotRedirectAwayFromTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.RedirectHandler("http://feed.example/v6/latest.json?token=hunter2", http.StatusFound))
	t.Cleanup(s.Close)
	_, err := Update(t.Context(), UpdateOptions{Dir: t.TempDir(), URL: s.URL, Now: stopped(built), Transport: s.Client().Transport})
	wantError(t, err, "refused a redirect", "https")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error shows a token: %v", err)
	}
}

func TestCancelledUpdateLeavesNothingBehind(t *testing.T) {
	b := mirror(t, records, built)
	ctx, cancel := context.WithCancel(t.Context())
	feed := hostile{dir: root(b), serve: func(w http.ResponseWriter, r *http.Request) bool {
		if isArchive(r) {
			_, _ = w.Write([]byte("begin"))
			w.(http.Flusher).Flush()
			cancel()
			<-r.Context().Done()
		}
		return isArchive(r)
	}}
	dir := t.TempDir()
	_, err := Update(ctx, UpdateOptions{Dir: dir, URL: feed.start(t), Now: stopped(built)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if left := folders(t, dir); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
}
