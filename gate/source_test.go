package gate

import "testing"

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

// TestAmbiguousReferencesAreRefused: what a resolver or a registry may read as the
// name of another repository.
func TestAmbiguousReferencesAreRefused(t *testing.T) {
	for _, written := range []string{"ghcr.іo/team/app", "ｇｈｃｒ.io/team/app", "127.1:5000/app", "ghcr.io/prod/../x/app", "ghcr.io//prod/app", "ghcr.io:/app"} {
		if src, err := ParseSource(written); err == nil {
			t.Errorf("%s is taken for %s", written, src.Repository())
		}
	}
}
