package integration

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

// TestCredentials checks that imagegate takes credentials from the Docker configuration or from a
// credential helper that the configuration names. With wrong or no credentials, the error names the
// staging registry and has a hint to log in. The output never contains a secret.
func TestCredentials(t *testing.T) {
	cache := database(t)
	r, err := lab.StartRegistry(lab.Options{User: "robot", Password: "s3cret-word"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	img, err := lab.Image(fixedSpec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Push(t.Context(), r.Ref("team/app:1"), img, remote.WithAuth(r.Authenticator())); err != nil {
		t.Fatal(err)
	}
	plain, err := r.DockerConfig()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	helper := "#!/bin/sh\nread server\necho '{\"ServerURL\":\"'$server'\",\"Username\":\"robot\",\"Secret\":\"s3cret-word\"}'\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-lab"), []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	wrong := base64.StdEncoding.EncodeToString([]byte("robot:wr0ng-word"))
	for name, c := range map[string]struct {
		config string
		want   int
	}{
		"none":   {`{}`, 4},
		"wrong":  {`{"auths":{"` + r.Host() + `":{"auth":"` + wrong + `"}}}`, 4},
		"config": {string(plain), 0},
		"helper": {`{"credHelpers":{"` + r.Host() + `":"lab"}}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "config.json"), []byte(c.config))
			write(t, filepath.Join(dir, "policy.yaml"), []byte("version: 1\nrules:\n  - name: no critical\n    severity: critical\n"))
			t.Setenv("DOCKER_CONFIG", dir)
			out, stderr := imagegateRun(t, dir, cache, c.want, "check", r.Ref("team/app:1"), "--policy", filepath.Join(dir, "policy.yaml"))
			if c.want == 4 && (!strings.Contains(stderr, "staging registry") || !strings.Contains(stderr, "log in with \"docker login")) {
				t.Errorf("it says %s", stderr)
			}
			for _, secret := range []string{"s3cret-word", "wr0ng-word", wrong} {
				if strings.Contains(out+stderr, secret) {
					t.Errorf("a secret is in the output:\n%s%s", out, stderr)
				}
			}
		})
	}
}
