package reference

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func hintOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint()
	}
	return ""
}

// TestMistakesAreExplained checks that the error or hint for each typical mistake says what to type
// instead.
func TestMistakesAreExplained(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, file := range []string{"app.tar", "nginx.json", "layout/oci-layout", "plain/x"} {
		if i := strings.IndexByte(file, '/'); i > 0 {
			if err := os.Mkdir(file[:i], 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := func(s string) error { _, err := Source(s); return err }
	tag := func(s string) error { _, err := Tags([]string{s}); return err }
	approved := func(s string) error { _, err := Approved(s); return err }
	repository := func(s string) error { _, err := Repository(s); return err }
	for _, c := range []struct {
		parse      func(string) error
		typed      string
		want, hint string
	}{
		{source, "http://r.example/a:1", `remove "http://"`, "--insecure-registry r.example"},
		{source, "http://127.0.0.1:5000/a:1", `remove "http://"`, ""},
		{source, "https://r.example/a:1", `remove "https://"`, ""},
		{source, "./app.tar", "use docker-archive:./app.tar", ""},
		{source, "app.tar", "use docker-archive:app.tar", ""},
		{source, "./nginx.json", "is a file", ""},
		{source, "./none.tar", "but the file does not exist", ""},
		{source, "~/app.tar", "but the file does not exist", ""},
		{source, "layout", "use oci:layout", ""},
		{source, "./plain", "use oci:./plain", ""},
		{source, "r.example:5000", "use r.example:5000/REPOSITORY:TAG", ""},
		{source, "127.0.0.1:5000", "is a registry without a repository", ""},
		{source, "localhost:5000", "is a registry without a repository", ""},
		{source, "r.example/a b", "could not parse", ""},
		{tag, "r.example/a", "has no tag: use r.example/a:TAG", ""},
		{tag, "r.example:5000/a", "has no tag: use r.example:5000/a:TAG", ""},
		{tag, "r.example/a:", "the tag is empty", ""},
		{tag, "r.example/a@sha256:" + strings.Repeat("a", 64), "needs a tag, not a digest: use r.example/a:TAG", ""},
		{tag, "r.example:5000/a:1@sha256:" + strings.Repeat("a", 64), "use r.example:5000/a:TAG", ""},
		{tag, "r.example/Team/App:1", "use r.example/team/app:1", ""},
		{tag, "r.example/a:1 2", "must be registry/repository:tag", ""},
		{tag, "http://r.example/a:1", `remove "http://"`, "--insecure-registry r.example"},
		{approved, "https://r.example/a:1", `remove "https://"`, ""},
		{approved, "r.example/a", "with a tag or digest", ""},
		{repository, "http://r.example/a", `remove "http://"`, "--insecure-registry"},
		{repository, "r.example/a:1", "without a tag or digest", ""},
	} {
		err := c.parse(c.typed)
		if err == nil || !strings.Contains(err.Error(), c.want) || (hintOf(err) == "") != (c.hint == "") || !strings.Contains(hintOf(err), c.hint) {
			t.Errorf("%s: %v; hint %q", c.typed, err, hintOf(err))
		}
	}
	for _, good := range []string{"plain", "nginx.json", "nginx", "r.example/a:1", "docker://app.tar", "docker-archive:app.tar", "oci:layout", "app:5000", "docker://r.example:5000"} {
		if err := source(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	if got, err := Tags([]string{"docker://r.example/a:1", "r.example/a:v1.2-Rc"}); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Repository("docker://r.example/a"); err != nil || got.Name() != "r.example/a" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestApprovedNamesAreNormalized checks that promote and verify use the same repository name for
// every spelling of an approved reference.
func TestApprovedNamesAreNormalized(t *testing.T) {
	for _, s := range []string{"ghcr.io/team/app:1", "GHCR.io/team/app:1", "ghcr.io:443/team/app:1", "ghcr.io./team/app:1", "docker://ghcr.io/team/app:1", "docker://GHCR.io:443/team/app:1"} {
		tags, err := Tags([]string{s})
		if err != nil || tags[0].Name() != "ghcr.io/team/app:1" {
			t.Errorf("%s: %s, %v", s, tags, err)
		}
		ref, err := Approved(s)
		if err != nil || ref.Name() != "ghcr.io/team/app:1" {
			t.Errorf("%s: %s, %v", s, ref, err)
		}
	}
	for _, s := range []string{"ghcr.io/team/../app:1", "docker://ghcr.io/team/../app:1", "docker://docker://ghcr.io/app:1", "docker:///app:1", "docker://",
		"oci:dir:1", "https://ghcr.io/team/app:1"} {
		if ref, err := Tags([]string{s}); err == nil {
			t.Errorf("%s is taken for %s", s, ref)
		}
	}
}

// TestDestinationIsGivenOnce checks that an image is not promoted onto itself, and that no
// destination is given twice, in any spelling.
func TestDestinationIsGivenOnce(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for _, c := range []struct {
		staging  string
		approved []string
		want     string // "" if the destinations are fine
	}{
		{"r.example/a:1", []string{"r.example/a:1"}, "is the same as the staging reference"},
		{"r.example/a:1" + digest, []string{"r.example/a:1"}, "is the same as the staging reference"},
		{"127.0.0.1:5000/a:1", []string{"x.example/a:1", "localhost:5000/a:1"}, `"localhost:5000/a:1" is the same as the staging reference`},
		{"nginx", []string{"docker.io/library/nginx:latest"}, "is the same as the staging reference"},
		{"r.example/a:1", []string{"x.example/a:1", "x.example/a:1"}, "is given twice"},
		{"r.example/a:1", []string{"x.example/a:1", "x.example/a:2", "X.example:443/a:1"}, `"x.example/a:1" and "X.example:443/a:1" are the same`},
		{"r.example/a:1", []string{"r.example/a:2", "x.example/a:1", "x.example/b:1"}, ""},
		{"r.example/a" + digest, []string{"r.example/a:1"}, ""},
		{"oci:layout", []string{"x.example/a:1"}, ""},
	} {
		src, err := Source(c.staging)
		if err != nil {
			t.Fatal(err)
		}
		tags, err := Destinations(src, c.approved)
		if c.want == "" && (err != nil || len(tags) != len(c.approved)) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s to %s: %v, %v", c.staging, c.approved, tags, err)
		}
	}
}
