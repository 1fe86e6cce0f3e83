package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate/cache"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/doctor"
)

const doctorPassword = "correct-horse-battery"

// clinic is a working setup of registries, key, database and folders. Each test case breaks one
// part of it.
type clinic struct {
	t         *testing.T
	records   string // path of the folder with the database records
	dir       string
	staging   string // host
	approved  string // host
	logins    map[string]string
	clockSkew time.Duration // error of the approved registry's clock
	feed      string        // URL of the mirror
	temp      string        // folder
	args      []string
}

// newClinic starts two registries and a mirror, and makes a key, a database and the folders. In the
// registries, "writer" may do everything, and "reader" may only read.
func newClinic(t *testing.T) *clinic {
	t.Helper()
	records, err := filepath.Abs("../../examples/records")
	if err != nil {
		t.Fatal(err)
	}
	c := &clinic{t: t, records: records, dir: t.TempDir(), logins: map[string]string{}}
	c.staging = c.serve(func(http.Header) {})
	c.approved = c.serve(func(h http.Header) {
		h.Set("Date", time.Now().Add(c.clockSkew).UTC().Format(http.TimeFormat))
	})
	c.login(c.staging, "reader", doctorPassword)
	c.login(c.approved, "writer", doctorPassword)
	tag, err := name.NewTag(c.staging + "/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, empty.Image, remote.WithAuth(&authn.Basic{Username: "writer", Password: doctorPassword})); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", c.dir)
	t.Setenv("DOCKER_CONFIG", c.dir)
	t.Setenv("XDG_RUNTIME_DIR", c.dir)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(c.dir, "config"))
	t.Setenv("COSIGN_PASSWORD", doctorPassword)
	t.Chdir(c.dir)
	c.run("key", "generate")
	mirror := c.database(time.Now())
	feed := httptest.NewServer(http.FileServer(http.Dir(mirror)))
	t.Cleanup(feed.Close)
	c.feed, c.temp = feed.URL, c.folder("temp")
	kept, err := cache.Open(cache.Options{Dir: filepath.Join(c.dir, "cache", "catalog"), Max: 1 << 20, Now: time.Now, Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Put("sha256:1", []byte("an SBOM")); err != nil {
		t.Fatal(err)
	}
	c.args = []string{c.staging + "/team/app:1", c.approved + "/prod/app:1", "--key", "cosign.key"}
	return c
}

func (c *clinic) folder(name string) string {
	dir := filepath.Join(c.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// serve starts a registry that requires a login. tamper may change the headers of its responses.
func (c *clinic) serve(tamper func(http.Header)) (host string) {
	content := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tamper(w.Header())
		user, password, _ := r.BasicAuth()
		switch {
		case password != doctorPassword:
			w.Header().Set("WWW-Authenticate", `Basic realm="clinic"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		case user != "writer" && r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, `{"errors":[{"code":"DENIED"}]}`, http.StatusForbidden)
		default:
			content.ServeHTTP(w, r)
		}
	}))
	c.t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// login adds a user's credentials for host to the Docker configuration file.
func (c *clinic) login(host, user, password string) {
	c.logins[host] = base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	auths := map[string]any{}
	for host, auth := range c.logins {
		auths[host] = map[string]string{"auth": auth}
	}
	data, err := json.Marshal(map[string]any{"auths": auths})
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, "config.json"), data, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// database installs a vulnerability database that was built at the given time, and returns the URL
// of its mirror.
func (c *clinic) database(at time.Time) (mirror string) {
	c.t.Helper()
	now := func() time.Time { return at }
	to := c.t.TempDir()
	built, err := vulndb.Build(c.t.Context(), vulndb.BuildOptions{From: c.records, To: to, TempDir: c.t.TempDir(), Now: now})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "cache", "db")); err != nil {
		c.t.Fatal(err)
	}
	if _, err := vulndb.Import(c.t.Context(), vulndb.ImportOptions{Dir: filepath.Join(c.dir, "cache", "db"), File: built.Archive, Now: now}); err != nil {
		c.t.Fatal(err)
	}
	return to
}

func (c *clinic) run(args ...string) {
	c.t.Helper()
	var errs bytes.Buffer
	if code := Run(c.t.Context(), append([]string{"imagegate"}, args...), Streams{In: strings.NewReader(""), Out: io.Discard, Err: &errs}); code != exit.OK {
		c.t.Fatalf("%q: exit code %d\n%s", args, code, &errs)
	}
}

// mount mounts a small file system, which only root can do.
func (c *clinic) mount(name string, flags uintptr) string {
	dir := c.folder(name)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, "size=1m,mode=700"); err != nil {
		c.t.Skipf("mounting a small disk: %v", err)
	}
	c.t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			c.t.Error(err)
		}
	})
	return dir
}

// examine runs "imagegate doctor" in the clinic and returns its results, its exit code and its
// output.
func (c *clinic) examine() (results []doctor.Result, code int, output string) {
	c.t.Helper()
	var out, errs bytes.Buffer
	// Use flags instead of variables, because the flag library keeps the values of variables from
	// earlier runs in this process.
	args := []string{"imagegate", "doctor", "--output", "json", "--cache-dir", filepath.Join(c.dir, "cache"), "--temp-dir", c.temp, "--url", c.feed}
	code = Run(c.t.Context(), append(args, c.args...), Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	var document struct {
		SchemaVersion int
		Checks        []doctor.Result
	}
	if err := json.Unmarshal(out.Bytes(), &document); err != nil || document.SchemaVersion != doctor.SchemaVersion {
		c.t.Fatalf("%v\n%s%s", err, &out, &errs)
	}
	return document.Checks, code, out.String() + errs.String()
}

// TestDoctorNamesEachPlantedFault breaks one part of the setup at a time. doctor must report that
// fault, the command that fixes it and the exit code of a run. It must not report any other fault.
func TestDoctorNamesEachPlantedFault(t *testing.T) {
	hour := -time.Hour
	expired := "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(hour).Unix())) + ".c2ln"
	for _, fault := range []struct {
		name    string
		plant   func(*clinic)
		check   string
		status  doctor.Status
		message string
		mend    string // $STAGING and $APPROVED are hosts, $DIR is the folder of the clinic
		code    int
	}{
		{"nothing", func(*clinic) {}, "", doctor.OK, "", "", exit.OK},
		{"wrong password", func(c *clinic) { c.login(c.staging, "reader", "wrong-password") },
			"registry staging", doctor.Fail, `refuses the login of user "reader" from ~/config.json: the user, the password or the token is wrong`, "docker login $STAGING", exit.RegistryCode},
		{"no push right", func(c *clinic) { c.login(c.approved, "reader", doctorPassword) },
			"registry approved", doctor.Fail, `accepts the login of user "reader" from ~/config.json, but does not let it write to $APPROVED/prod/app`, "docker login $APPROVED", exit.RegistryCode},
		{"expired token", func(c *clinic) { c.login(c.approved, "writer", expired) },
			"registry approved", doctor.Fail, "its token expired at " + time.Now().Add(hour).UTC().Format("2006-01-02T15:"), "docker login $APPROVED", exit.RegistryCode},
		{"no login", func(c *clinic) { delete(c.logins, c.staging); c.login(c.approved, "writer", doctorPassword) },
			"registry staging", doctor.Fail, "no credentials for it were found", "docker login $STAGING", exit.RegistryCode},
		{"clock off by an hour", func(c *clinic) { c.clockSkew = time.Hour },
			"clock", doctor.Fail, "the clock of this machine is 1h0m0s behind the clock of $APPROVED", "sudo timedatectl set-ntp true", exit.Failure},
		{"old database", func(c *clinic) { c.database(time.Now().AddDate(0, 0, -30)) },
			"database", doctor.Fail, "720h0m0s ago; the maximum age is 120h0m0s", "imagegate db update --url $FEED --cache-dir $DIR/cache", exit.DatabaseCode},
		{"corrupt cache", func(c *clinic) {
			entries, err := filepath.Glob(filepath.Join(c.dir, "cache", "catalog", "*.zst"))
			if err != nil || len(entries) != 1 {
				c.t.Fatalf("%v, %v", entries, err)
			}
			if err := os.Truncate(entries[0], 50); err != nil {
				c.t.Fatal(err)
			}
		}, "cache", doctor.Warn, "1 of 1 entries are damaged", "imagegate cache prune --cache-max 0 --cache-dir $DIR/cache", exit.OK},
		{"full disk", func(c *clinic) { c.temp = c.mount("small", 0) },
			"disk temp", doctor.Fail, "1.0 MB free for images", "$LARGER", exit.Failure},
		{"unreachable mirror", func(c *clinic) { c.feed = "http://127.0.0.1:1/db?token=secret-of-the-mirror" },
			"network database", doctor.Fail, "reading http://127.0.0.1:1/db/v6/latest.json: dial tcp 127.0.0.1:1: connect: connection refused", "imagegate db import database.tar.zst --cache-dir $DIR/cache", exit.DatabaseCode},
		{"key of the wrong kind", func(c *clinic) { c.args[3] = "cosign.pub" },
			"key", doctor.Fail, "it is a public key, and the command needs the private key", "export IMAGEGATE_KEY=cosign.key", exit.TrustCode},
		{"wrong password of the key", func(c *clinic) { c.t.Setenv("COSIGN_PASSWORD", "wrong-password") },
			"key", doctor.Fail, "the password is wrong", "read -rs COSIGN_PASSWORD && export COSIGN_PASSWORD", exit.TrustCode},
		{"key of an unknown service", func(c *clinic) { c.args[3] = "evil://key" },
			"key", doctor.Fail, `unknown scheme of key "evil://key"`, "export IMAGEGATE_KEY=awskms:///alias/NAME", exit.UsageCode},
		{"unwritable temp", func(c *clinic) { c.temp = c.mount("frozen", syscall.MS_RDONLY) },
			"temp", doctor.Fail, "read-only file system", `mkdir -p -m 700 "$HOME/.imagegate-temp" && export IMAGEGATE_TEMP_DIR="$HOME/.imagegate-temp"`, exit.Failure},
		{"temp of everyone", func(c *clinic) {
			if err := os.Chmod(filepath.Join(c.dir, "temp"), 0o777); err != nil {
				c.t.Fatal(err)
			}
		}, "temp", doctor.Fail, "writable by other users", "chmod go-w $DIR/temp", exit.UsageCode},
	} {
		t.Run(fault.name, func(t *testing.T) {
			c := newClinic(t)
			fault.plant(c)
			larger := "export IMAGEGATE_TEMP_DIR=/path/on/a/larger/disk"
			if free, err := disk.Free(c.dir); err == nil && free >= 4<<30 {
				larger = fmt.Sprintf("mkdir -p -m 700 %[1]s/cache/temp && export IMAGEGATE_TEMP_DIR=%[1]s/cache/temp", c.dir)
			}
			expand := strings.NewReplacer("$LARGER", larger, "$STAGING", c.staging, "$APPROVED", c.approved, "$DIR", c.dir, "$FEED", c.feed).Replace
			results, code, output := c.examine()
			found := false
			for _, r := range results {
				switch {
				case r.Name == fault.check && r.Status != doctor.OK:
					found = true
					if r.Status != fault.status || !strings.Contains(r.Message, expand(fault.message)) || r.Mend != expand(fault.mend) {
						t.Errorf("%+v", r)
					}
				case r.Status != doctor.OK && !strings.HasPrefix(r.Name, "disk"):
					t.Errorf("another complaint: %+v", r)
				}
			}
			if found != (fault.check != "") {
				t.Errorf("found %v:\n%s", found, output)
			}
			if code != fault.code && fault.check != "" {
				t.Errorf("exit code %d, want %d", code, fault.code)
			}
			for _, secret := range []string{doctorPassword, "wrong-password", "secret-of-the-mirror", expired} {
				if strings.Contains(output, secret) {
					t.Errorf("the output has the secret %q:\n%s", secret, output)
				}
			}
		})
	}
}
