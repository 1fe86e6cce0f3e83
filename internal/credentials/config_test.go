package credentials

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/imagegate/imagegate/internal/disk"
)

const secret = "s3cr3t-canary"

// world is a home folder with credential configurations, for a test.
type world struct {
	*testing.T
	dir string
	env map[string]string
}

func newWorld(t *testing.T) *world {
	return &world{T: t, dir: t.TempDir(), env: map[string]string{}}
}

func (w *world) write(name, content string) string {
	w.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// helper installs the shell script docker-credential-NAME as a credential helper.
func (w *world) helper(name, script string) {
	w.Helper()
	path := w.write("bin/docker-credential-"+name, "#!/bin/sh\n"+script+"\n")
	if err := os.Chmod(path, 0o700); err != nil {
		w.Fatal(err)
	}
	w.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func (w *world) resolve(repository string) (authn.AuthConfig, error) {
	w.Helper()
	host, _, _ := strings.Cut(repository, "/")
	k := New(Options{Getenv: func(key string) string { return w.env[key] }, Home: w.dir, RunDir: filepath.Join(w.dir, "rundir")})
	auth, err := k.Resolve(resource{host: host, full: repository})
	if err != nil {
		return authn.AuthConfig{}, err
	}
	config, err := auth.Authorization()
	if err != nil {
		w.Fatal(err)
	}
	return authn.AuthConfig{Username: config.Username, Password: config.Password, IdentityToken: config.IdentityToken}, nil
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func auths(key string) string {
	return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, encoded("me:"+secret))
}

var mine = authn.AuthConfig{Username: "me", Password: secret}

func TestCredentialsAreFoundUnderEverySpelling(t *testing.T) {
	for _, tt := range []struct{ repository, key string }{
		{"reg.example:5000/team/app", "reg.example:5000"},
		{"reg.example:5000/team/app", "REG.example:5000"},
		{"reg.example:5000/team/app", "http://reg.example:5000"},
		{"reg.example:5000/team/app", "https://reg.example:5000/v2/"},
		{"reg.example:5000/team/app", "reg.example:5000/v1/"},
		{"reg.example:5000/team/app", "reg.example:5000/team"},
		{"reg.example:5000/team/app", "reg.example:5000/team/app"},
		{"reg.example/team/app", "reg.example:443"},
		{"127.0.0.1:5000/team/app", "127.0.0.1:5000"},
		{"index.docker.io/team/app", "https://index.docker.io/v1/"},
		{"index.docker.io/team/app", "https://index.docker.io"},
		{"index.docker.io/team/app", "index.docker.io"},
		{"index.docker.io/team/app", "docker.io"},
		{"index.docker.io/team/app", "https://docker.io"},
		{"index.docker.io/team/app", "registry-1.docker.io"},
		{"index.docker.io/team/app", "https://index.docker.io/v2/"},
		{"index.docker.io/team/app", "docker.io/team"},
	} {
		w := newWorld(t)
		w.write(".docker/config.json", auths(tt.key))
		if got, err := w.resolve(tt.repository); err != nil || got != mine {
			t.Errorf("%s with the key %s: %v, %v", tt.repository, tt.key, got, err)
		}
	}
}

func TestCredentialsDoNotGoToAnotherRegistry(t *testing.T) {
	for _, tt := range []struct{ repository, key string }{
		{"reg.example:5000/team/app", "reg.example"},
		{"reg.example/team/app", "reg.example:5000"},
		{"reg.example/teams/app", "reg.example/team"},
		{"reg.example/team-evil/app", "reg.example/team"},
		{"reg.example/team.evil/app", "reg.example/team"},
		{"reg.example/team", "reg.example/team/app"},
		{"reg.example/x/team/app", "reg.example/team"},
		{"reg.example/TEAM/app", "reg.example/team"},
		{"other.example/team/app", "reg.example/team"},
		{"reg.example:8443/team/app", "reg.example/team"},
		{"index.docker.io/teams/app", "docker.io/team"},
		{"index.docker.io.attacker.test/team/app", "docker.io/team"},
		{"reg.example/team/app2", "reg.example/team/app"},
		{"reg.example.attacker.test/team/app", "reg.example"},
		{"localhost:5000/team/app", "127.0.0.1:5000"},
		{"127.0.0.2:5000/team/app", "127.0.0.1:5000"},
		{"docker.io.attacker.test/a", "docker.io"},
	} {
		w := newWorld(t)
		w.write(".docker/config.json", auths(tt.key))
		if got, err := w.resolve(tt.repository); err != nil || got != (authn.AuthConfig{}) {
			t.Errorf("%s with the key %s: %v, %v", tt.repository, tt.key, got, err)
		}
	}
}

func TestMostSpecificEntryWins(t *testing.T) {
	w := newWorld(t)
	w.write(".docker/config.json", fmt.Sprintf(`{"auths":{"r.example":{"auth":%q},"r.example/team":{"auth":%q},"r.example/team/app":{}}}`,
		encoded("other:x"), encoded("me:"+secret)))
	if got, err := w.resolve("r.example/team/app"); err != nil || got != mine {
		t.Errorf("%v, %v", got, err)
	}
}

func TestConfigFilesOfDockerAndPodman(t *testing.T) {
	for name, set := range map[string]func(w *world){
		"docker":             func(w *world) { w.write(".docker/config.json", auths("r.example")) },
		"DOCKER_CONFIG":      func(w *world) { w.env["DOCKER_CONFIG"] = filepath.Dir(w.write("d/config.json", auths("r.example"))) },
		"DOCKER_AUTH_CONFIG": func(w *world) { w.env["DOCKER_AUTH_CONFIG"] = auths("r.example") },
		"REGISTRY_AUTH_FILE": func(w *world) { w.env["REGISTRY_AUTH_FILE"] = w.write("x.json", auths("r.example")) },
		"XDG_RUNTIME_DIR": func(w *world) {
			w.env["XDG_RUNTIME_DIR"] = w.dir + "/run"
			w.write("run/containers/auth.json", auths("r.example"))
		},
		"XDG_RUNTIME_DIR, and a docker configuration without the registry": func(w *world) {
			w.env["XDG_RUNTIME_DIR"] = w.dir + "/run"
			w.write("run/containers/auth.json", auths("r.example"))
			w.write(".docker/config.json", `{"auths":{"r.example":{}}}`)
		},
		"REGISTRY_AUTH_FILE, and a docker configuration without the registry": func(w *world) {
			w.env["REGISTRY_AUTH_FILE"] = w.write("x.json", auths("r.example"))
			w.write(".docker/config.json", `{"auths":{}}`)
		},
		"podman's default for root": func(w *world) { w.write("rundir/auth.json", auths("r.example")) },
		"podman's default":          func(w *world) { w.write(".config/containers/auth.json", auths("r.example")) },
	} {
		w := newWorld(t)
		set(w)
		if got, err := w.resolve("r.example/a"); err != nil || got != mine {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestEntryForms(t *testing.T) {
	for name, entry := range map[string]string{
		"auth":                     fmt.Sprintf(`{"auth":%q}`, encoded("me:"+secret)),
		"a line end behind":        fmt.Sprintf(`{"auth":%q}`, encoded("me:"+secret+"\n")),
		"a Windows line end":       fmt.Sprintf(`{"auth":%q}`, encoded("me:"+secret+"\r\n")),
		"without padding":          fmt.Sprintf(`{"auth":%q}`, strings.TrimRight(encoded("me:"+secret), "=")),
		"user and password":        fmt.Sprintf(`{"username":"me","password":%q}`, secret),
		"user, password and email": fmt.Sprintf(`{"username":"me","password":%q,"email":"a@b"}`, secret),
	} {
		w := newWorld(t)
		w.write(".docker/config.json", fmt.Sprintf(`{"auths":{"r.example":%s}}`, entry))
		if got, err := w.resolve("r.example/a"); err != nil || got != mine {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	w := newWorld(t)
	w.write(".docker/config.json", `{"auths":{"r.example":{"identitytoken":"t"}}}`)
	if got, err := w.resolve("r.example/a"); err != nil || got.IdentityToken != "t" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestInvalidConfigurationIsAnError checks that the error for an invalid configuration names the
// file or the helper, and does not contain the secret.
func TestInvalidConfigurationIsAnError(t *testing.T) {
	for name, tt := range map[string]struct{ config, names string }{
		"truncated":                           {`{"auths":`, "config.json: not valid JSON"},
		"truncated in a secret":               {`{"auths":{"r.example":{"auth":"` + secret, "config.json: not valid JSON"},
		"not JSON":                            {secret, "config.json: not valid JSON"},
		"of another type":                     {`{"auths":"` + secret + `"}`, `"auths" has the wrong type`},
		"a number for a store":                {`{"credsStore":123456}`, `"credsStore" has the wrong type`},
		"auth that is not base64":             {`{"auths":{"r.example":{"auth":"!!` + secret + `"}}}`, `entry "r.example"`},
		"auth without a user":                 {fmt.Sprintf(`{"auths":{"r.example":{"auth":%q}}}`, encoded(secret)), `entry "r.example"`},
		"a number for a secret":               {`{"auths":{"r.example":{"username":"me","password":123456}}}`, `entry "r.example"`},
		"a control character":                 {fmt.Sprintf(`{"auths":{"r.example":{"auth":%q}}}`, encoded("me:"+secret+"\x01x")), "control character"},
		"a store that is missing":             {`{"credsStore":"missing"}`, "docker-credential-missing"},
		"a helper that is missing":            {`{"credHelpers":{"r.example":"missing"}}`, "docker-credential-missing"},
		"a helper elsewhere":                  {`{"credHelpers":{"r.example":"../evil"}}`, "must not contain a slash"},
		"a helper that fails":                 {`{"credHelpers":{"r.example":"broken"}}`, "token expired, run: aws sso login"},
		"a helper that fails with the answer": {`{"credHelpers":{"r.example":"leaky"}}`, "docker-credential-leaky"},
		"a helper without an answer":          {`{"credHelpers":{"r.example":"silent"}}`, "docker-credential-silent"},
	} {
		w := newWorld(t)
		w.write(".docker/config.json", tt.config)
		w.helper("broken", `echo "token expired, run: aws sso login" >&2; exit 1`)
		w.helper("leaky", fmt.Sprintf(`echo '{"Username":"me","Secret":%q}'; exit 1`, secret))
		w.helper("silent", `echo `+secret)
		_, err := w.resolve("r.example/a")
		var config *ConfigError
		if !errors.As(err, &config) || !strings.Contains(err.Error(), tt.names) || !strings.Contains(err.Error(), "r.example") ||
			!strings.Contains(err.Error(), "config.json") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "123456") || strings.Contains(err.Error(), encoded(secret))) {
			t.Errorf("%s: the secret is in %q", name, err)
		}
	}
}

// TestUnreadableDefaultFileIsIgnored checks that an unusable file in a default location is ignored,
// because HOME may be another user's folder. In a location that a variable names, it is an error.
func TestUnreadableDefaultFileIsIgnored(t *testing.T) {
	places := map[string]string{"HOME, Docker": ".docker/config.json", "HOME, podman": ".config/containers/auth.json",
		"XDG_RUNTIME_DIR": "run/containers/auth.json", "XDG_CONFIG_HOME": "xdg/containers/auth.json"}
	for name, file := range places {
		spoil := map[string]func(w *world){
			"a folder":     func(w *world) { w.write(file+"/x", "") },
			"below a file": func(w *world) { w.write(filepath.Dir(file), "") },
			"a secret of others": func(w *world) {
				if err := os.Chmod(w.write(file, auths("r.example")), 0); err != nil {
					w.Fatal(err)
				}
			},
		}
		if os.Geteuid() == 0 {
			delete(spoil, "a secret of others") // root can read every file, so this case does not apply
		}
		for kind, do := range spoil {
			w := newWorld(t)
			do(w)
			if strings.HasPrefix(name, "XDG_") {
				dir, _, _ := strings.Cut(file, "/")
				w.env[name] = filepath.Join(w.dir, dir)
			}
			if got, err := w.resolve("r.example/a"); err != nil || got != (authn.AuthConfig{}) {
				t.Errorf("%s, %s: %v, %v", name, kind, got, err)
			}
			w.env["REGISTRY_AUTH_FILE"] = filepath.Join(w.dir, file)
			var config *ConfigError
			if _, err := w.resolve("r.example/a"); !errors.As(err, &config) {
				t.Errorf("%s, %s, named: %v", name, kind, err)
			}
		}
	}
}

// TestFileThatOthersCanWriteIsNotUsed checks that a configuration file is refused if another user
// could have added a credential helper to it. A file that others can only read, or that is mounted
// from another user, is used.
func TestFileThatOthersCanWriteIsNotUsed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the access lists of the system decide")
	}
	for name, place := range map[string]func(w *world) string{
		"in HOME":            func(w *world) string { return ".docker/config.json" },
		"REGISTRY_AUTH_FILE": func(w *world) string { w.env["REGISTRY_AUTH_FILE"] = w.dir + "/x.json"; return "x.json" },
		"XDG_RUNTIME_DIR":    func(w *world) string { w.env["XDG_RUNTIME_DIR"] = w.dir; return "containers/auth.json" },
	} {
		w := newWorld(t)
		path := w.write(place(w), auths("r.example"))
		for mode, refused := range map[os.FileMode]bool{0o666: true, 0o602: true, 0o644: false, 0o664: false, 0o600: false} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			got, err := w.resolve("r.example/a")
			var untrusted *disk.UntrustedError
			if refused != (errors.As(err, &untrusted) && errors.As(err, new(*ConfigError))) || refused != (got != mine) {
				t.Errorf("%s with mode %o: %v, %v", name, mode, got, err)
			}
		}
	}
}

// TestInvalidEntryOfAnotherRegistryIsIgnored checks that a faulty entry for another registry is
// ignored.
func TestInvalidEntryOfAnotherRegistryIsIgnored(t *testing.T) {
	good := fmt.Sprintf(`"r.example":{"auth":%q}`, encoded("me:"+secret))
	for name, config := range map[string]string{
		"auth of another":         `{"auths":{"x":{"auth":"!!"},` + good + `}}`,
		"type of another":         `{"auths":{"x":7,` + good + `}}`,
		"helper of another":       `{"credHelpers":{"other.example":"missing"},"auths":{` + good + `}}`,
		"store, and auths has it": `{"credsStore":"missing","auths":{` + good + `}}`,
	} {
		w := newWorld(t)
		w.write(".docker/config.json", config)
		if got, err := w.resolve("r.example/a"); err != nil || got != mine {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, config := range map[string]string{"empty": "", "blank": "\n", "null": "null", "auth of another": `{"auths":{"x":{"auth":"!!"}}}`, "helper of another": `{"credHelpers":{"x":"missing"}}`} {
		w := newWorld(t)
		w.write(".docker/config.json", config)
		if got, err := w.resolve("r.example/a"); err != nil || got != (authn.AuthConfig{}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestHelpers(t *testing.T) {
	answer := fmt.Sprintf(`echo '{"ServerURL":"x","Username":"me","Secret":%q}'`, secret)
	w := newWorld(t)
	w.helper("good", `read -r server; echo "$server" >>`+w.dir+`/asked; `+answer)
	w.helper("none", `echo "credentials not found in native keychain"; exit 1`)
	w.helper("token", `echo '{"Username":"<token>","Secret":"t"}'`)
	for config, want := range map[string]authn.AuthConfig{
		`{"credsStore":"good"}`:                                              mine,
		`{"credHelpers":{"r.example":"good"}}`:                               mine,
		`{"credHelpers":{"r.example":"good"},"credsStore":"missing"}`:        mine,
		`{"credHelpers":{"https://r.example/v2/":"good"}}`:                   mine,
		`{"credsStore":"none"}`:                                              {},
		`{"credsStore":"token"}`:                                             {IdentityToken: "t"},
		strings.Replace(auths("r.example"), "{", `{"credsStore":"none",`, 1): mine,
	} {
		w.write(".docker/config.json", config)
		if got, err := w.resolve("r.example/a"); err != nil || got != want {
			t.Errorf("%s: %v, %v", config, got, err)
		}
	}
	w.write("asked", "")
	w.write(".docker/config.json", `{"credsStore":"good"}`)
	if _, err := w.resolve("index.docker.io/library/nginx"); err != nil {
		t.Error(err)
	}
	if asked, _ := os.ReadFile(w.dir + "/asked"); strings.TrimSpace(string(asked)) != "https://index.docker.io/v1/" {
		t.Errorf("asked for %q", asked)
	}
}

func TestUnreadableConfigurationIsAnError(t *testing.T) {
	w := newWorld(t)
	path := w.write(".docker/config.json/x", "")
	w.env["DOCKER_CONFIG"] = filepath.Join(w.dir, ".docker")
	if _, err := w.resolve("r.example/a"); err == nil {
		t.Errorf("the folder %s is taken for no configuration", filepath.Dir(path))
	}
}
