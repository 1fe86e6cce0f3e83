package gate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneRepositoryHasOneName(t *testing.T) {
	for written, want := range map[string]string{
		"nginx":                              "docker.io/library/nginx",
		"docker.io/team/app:1":               "docker.io/team/app",
		"docker://index.docker.io/team/app":  "docker.io/team/app",
		"GHCR.io:443/team/app:1":             "ghcr.io/team/app",
		"ghcr.io./team/app":                  "ghcr.io/team/app",
		"127.0.0.1:05000/team/app:1":         "localhost:5000/team/app",
		"LocalHost:5000/team/app":            "localhost:5000/team/app",
		"docker://oci:5000/app":              "docker://oci:5000/app",
		"oci:ghcr.io/team/app:1":             "oci:ghcr.io/team/app",
		"oci:./ghcr.io/team/app/:1":          "oci:ghcr.io/team/app",
		"oci-archive:/tmp/x/../app.tar":      "oci-archive:/tmp/app.tar",
		"docker-archive:app.tar:ghcr.io/a:1": "docker-archive:app.tar",
		"docker-daemon:ghcr.io/team/app:1":   "docker-daemon:ghcr.io/team/app",
	} {
		src, err := ParseSource(written)
		if err != nil || src.Repository() != want {
			t.Errorf("%s: %q, %v, want %q", written, src.Repository(), err, want)
		}
	}
}

// TestAmbiguousReferencesAreRefused checks that ParseSource refuses references that a resolver or a
// registry may read as the name of another repository.
func TestAmbiguousReferencesAreRefused(t *testing.T) {
	for _, written := range []string{"ghcr.іo/team/app", "ｇｈｃｒ.io/team/app", "127.1:5000/app", "ghcr.io/prod/../x/app", "ghcr.io//prod/app", "ghcr.io:/app"} {
		if src, err := ParseSource(written); err == nil {
			t.Errorf("%s is taken for %s", written, src.Repository())
		}
	}
}

// TestPathsWithColonsAndAtSigns checks that ParseSource uses the name of an existing file or folder
// as the path, even if it has colons and at signs.
func TestPathsWithColonsAndAtSigns(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	dir := t.TempDir()
	for _, p := range []string{"a@b/c", "with space", "x:y", "2026-11-30T01:17/app", "plain", "team@sha256/app"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"x:y.tar", "a@b.tar", "with space.tar", "p.tar.gz"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for written, want := range map[string]Source{
		"oci:a@b/c":                          {Path: "a@b/c"},
		"oci:" + dir + "/a@b/c":              {Path: dir + "/a@b/c"},
		"oci:a@b/c:1":                        {Path: "a@b/c", Tag: "1"},
		"oci:a@b/c@" + digest:                {Path: "a@b/c"},
		"oci:with space:1":                   {Path: "with space", Tag: "1"},
		"oci:x:y":                            {Path: "x:y"},
		"oci:x:y:1":                          {Path: "x:y", Tag: "1"},
		"oci:x:y:docker.io/team/app:1":       {Path: "x:y", Tag: "docker.io/team/app:1"},
		"oci:plain:docker.io/team/app:1":     {Path: "plain", Tag: "docker.io/team/app:1"},
		"oci:plain:":                         {Path: "plain"},
		"oci:2026-11-30T01:17/app:1":         {Path: "2026-11-30T01:17/app", Tag: "1"},
		"oci:team@sha256/app":                {Path: "team@sha256/app"},
		"oci-archive:x:y.tar":                {Path: "x:y.tar"},
		"oci-archive:x:y.tar:tag":            {Path: "x:y.tar", Tag: "tag"},
		"oci-archive:a@b.tar@" + digest:      {Path: "a@b.tar"},
		"oci-archive:with space.tar:tag":     {Path: "with space.tar", Tag: "tag"},
		"docker-archive:x:y.tar":             {Path: "x:y.tar"},
		"docker-archive:p.tar.gz":            {Path: "p.tar.gz"},
		"docker-archive:x:y.tar:ghcr.io/a:1": {Path: "x:y.tar"},
		// If no file or folder with one of the possible names exists, the first colon ends the
		// path.
		"oci:nowhere:1":         {Path: "nowhere", Tag: "1"},
		"oci:nowhere:b/c:1":     {Path: "nowhere", Tag: "b/c:1"},
		"oci-archive:none@b:1":  {Path: "none@b", Tag: "1"},
		"oci-archive:plain:tag": {Path: "plain", Tag: "tag"}, // The folder "plain" is not an archive.
	} {
		got, err := ParseSource(written)
		if err != nil || got.Path != want.Path || got.Tag != want.Tag {
			t.Errorf("%s: path %q, tag %q, %v", written, got.Path, got.Tag, err)
		}
		if hasDigest := strings.HasSuffix(written, digest); hasDigest != (got.Digest.String() == digest) {
			t.Errorf("%s: digest %s", written, got.Digest)
		}
	}
	if src, err := ParseSource("docker-archive:x:y.tar:ghcr.io/a:1"); err != nil || src.Ref == nil || src.Ref.Name() != "ghcr.io/a:1" {
		t.Errorf("%v, %v", src.Ref, err)
	}
}

// TestLocalPathIsNeverGuessed checks that ParseSource returns an error if a source is ambiguous or
// incomplete.
func TestLocalPathIsNeverGuessed(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"app", "app:1"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for written, want := range map[string]string{
		"oci:app:1":                              "several paths",
		"oci:app:1:2":                            "several paths",
		"oci::1":                                 "the path is missing",
		"oci:@sha256:" + strings.Repeat("a", 64): "the path is missing",
		"oci:app@sha256:123":                     "sha256",
		"oci:app@sha512:123":                     "sha512",
		"oci:":                                   "after the transport is missing",
		"oci://ghcr.io/app":                      "not begin with \"oci://\"",
		"https://ghcr.io/app":                    "not begin with \"https://\"",
		"http://ghcr.io/app:1":                   "not begin with \"http://\"",
		"docker://":                              "after the transport is missing",
	} {
		if src, err := ParseSource(written); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", written, src, err)
		}
	}
}

func TestAssumedTagIsKnown(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for written, want := range map[string]bool{
		"nginx": true, "r.example:5000/a": true, "docker://r.example/a": true, "docker-daemon:a": true, "docker-daemon:r.example:5000/a": true,
		"nginx:latest": false, "r.example:5000/a:1": false, "r.example/a" + digest: false, "r.example/a:1" + digest: false,
		"docker-daemon:a:1": false, "oci:layout": false, "docker-archive:a.tar": false, "docker://a:1": false,
	} {
		src, err := ParseSource(written)
		if err != nil || src.AssumesTag() != want {
			t.Errorf("%s: %t, %v, want %t", written, src.AssumesTag(), err, want)
		}
	}
}
