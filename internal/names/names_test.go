package names

import (
	"slices"
	"strings"
	"testing"
)

func TestSpellingsHaveOneCanonicalName(t *testing.T) {
	for want, spellings := range map[string][]string{
		"docker.io/library/nginx": {"nginx", "docker.io/nginx", "docker.io/library/nginx", "index.docker.io/nginx", "Docker.IO/library/nginx",
			"registry-1.docker.io/library/nginx", "registry-1.docker.io:443/nginx", "docker.io./nginx", "library/nginx", "docker://nginx",
			"registry.hub.docker.com/library/nginx"},
		"docker.io/team/app": {"team/app", "index.docker.io:0443/team/app", "docker://docker.io/team/app"},
		"ghcr.io/team/app":   {"ghcr.io/team/app", "GHCR.io/team/app", "ghcr.io:443/team/app", "ghcr.io.:00443/team/app", "ghcr.io:80/team/app", "ghcr.io//team/./app", "ghcr.io/x/../team/app"},
		"localhost:5000/a/b": {"localhost:5000/a/b", "LocalHost:05000/a/b", "127.0.0.1:5000/a/b", "[::1]:5000/a/b", "[0:0:0:0:0:0:0:1]:5000/a/b",
			"[::ffff:127.0.0.1]:5000/a/b", "127.8.9.1:5000/a/b", "0.0.0.0:5000/a/b", "registry.localhost:5000/a/b"},
		"localhost/a":                       {"localhost/a", "127.0.0.1/a", "[::1]:80/a"},
		"10.0.0.1:5000/a":                   {"10.0.0.1:5000/a", "[::ffff:10.0.0.1]:5000/a"},
		"[fd00::1]:5000/a":                  {"[FD00:0::1]:5000/a", "[fd00::0001]:05000/a"},
		"oci:ghcr.io/team/app":              {"oci:ghcr.io/team/app", "oci:./ghcr.io/team/app/", "oci:ghcr.io/x/../team/app"},
		"docker-daemon:docker.io/library/a": {"docker-daemon:a", "docker-daemon:index.docker.io/a"},
		"docker://oci:5000/a":               {"docker://oci:5000/a", "docker://OCI:05000/a"},
	} {
		for _, s := range spellings {
			if got := Canonical(s); got != want {
				t.Errorf("Canonical(%q) = %q, want %q", s, got, want)
			}
		}
		if got := Canonical(want); got != want {
			t.Errorf("Canonical(%q) = %q: not idempotent", want, got)
		}
	}
}

func TestNamesOfDifferentRepositoriesStayDifferent(t *testing.T) {
	all := []string{"ghcr.io/team/app", "ghcr.io:5000/team/app", "ghcr.io.attacker.test/team/app", "docker.io/team/app", "docker.io/library/app",
		"oci:ghcr.io/team/app", "oci-archive:ghcr.io/team/app", "docker-archive:ghcr.io/team/app", "docker-daemon:ghcr.io/team/app",
		"oci:5000/app", "docker://oci:5000/app", "localhost:5000/app", "localhost:5001/app", "127.0.0.1.example/app", "notlocalhost:5000/app"}
	seen := map[string]string{}
	for _, s := range all {
		c := Canonical(s)
		if other, ok := seen[c]; ok {
			t.Errorf("%q and %q are both %q", s, other, c)
		}
		seen[c] = s
	}
}

func TestPattern(t *testing.T) {
	for pattern, want := range map[string]string{
		"*": "*", "**": "*",
		"docker.io/library/*":         "docker.io/library/*",
		"index.docker.io/team/*":      "docker.io/team/*",
		"team/*":                      "docker.io/team/*",
		"nginx":                       "docker.io/library/nginx",
		"docker.io/nginx":             "docker.io/library/nginx",
		"docker.io/*":                 "docker.io/*",
		"GHCR.io:443/Team/*":          "ghcr.io/team/*",
		"127.0.0.1:*/x/*":             "localhost:*/x/*",
		"[::1]:05000/x":               "localhost:5000/x",
		"*.Example.com/*":             "*.example.com/*",
		"*/team/app":                  "*/team/app",
		"docker://ghcr.io/*":          "ghcr.io/*",
		"docker://oci:5000/*":         "docker://oci:5000/*",
		"oci:*":                       "oci:*",
		"oci:./builds/*":              "builds/*",
		"oci:./*":                     "oci:./*",
		"docker-daemon:team/*":        "docker-daemon:docker.io/team/*",
		"docker-daemon:*":             "docker-daemon:*",
		"registry.example/legacy/*":   "registry.example/legacy/*",
		"registry.example.:0443/a*/b": "registry.example/a*/b",
	} {
		if strings.HasPrefix(pattern, "oci:./b") {
			want = "oci:" + want
		}
		if got := Pattern(pattern); got != want {
			t.Errorf("Pattern(%q) = %q, want %q", pattern, got, want)
		}
		if got := Pattern(want); got != want {
			t.Errorf("Pattern(%q) = %q: not idempotent", want, got)
		}
	}
}

func TestNormalizeKeepsTheRegistryAddress(t *testing.T) {
	for ref, want := range map[string]string{
		"nginx":                         "nginx",
		"nginx:1":                       "nginx:1",
		"team/app@sha256:abc":           "team/app@sha256:abc",
		"GHCR.io:443/team/app:V1":       "ghcr.io/team/app:V1",
		"ghcr.io./team/app":             "ghcr.io/team/app",
		"LocalHost:05000/a:1":           "localhost:5000/a:1",
		"127.0.0.1:443/a":               "127.0.0.1:443/a",
		"[::1]:5000/a":                  "[::1]:5000/a",
		"docker.io/nginx":               "index.docker.io/nginx",
		"Registry-1.Docker.io:443/t/a":  "index.docker.io/t/a",
		"registry.example:080/team/app": "registry.example:80/team/app",
	} {
		if got, err := Normalize(ref); err != nil || got != want {
			t.Errorf("Normalize(%q) = %q, %v, want %q", ref, got, err, want)
		}
	}
}

func TestAmbiguousNamesAreRefused(t *testing.T) {
	for _, ref := range []string{"ghcr.іo/team/app", "ｇｈｃｒ.io/team/app", "ghcr。io.x/team/app", "127.1/a", "127.1:5000/a", "2130706433:5000/a", "0x7f.1/a",
		"0177.0.0.1:5000/a", "127.0.0.01/a", "ghcr.io:/a", "ghcr.io:0/a", "ghcr.io:65536/a", "ghcr.io:+443/a", "ghcr..io/a", "ghcr.io../a",
		"ghcr.io//team/app", "ghcr.io/x/../team/app", "ghcr.io/./team/app", "ghcr.io/team/app/", "team//app", "[127.0.0.1]:5000/a", "[::1/a"} {
		if got, err := Normalize(ref); err == nil {
			t.Errorf("Normalize(%q) = %q, want an error", ref, got)
		}
	}
}

// FuzzCanonical checks that Canonical is idempotent and agrees with Normalize. It also checks that
// Canonical maps every spelling from Spellings back to the canonical name.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"nginx", "ghcr.io/team/app", "LOCALHOST:05000/a/b", "[::1]:5000/a", "oci:x/y", "docker://oci:5000/a", "docker.io./a", "::1/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		normal, err := Normalize(strings.TrimPrefix(s, registryPrefix))
		if err != nil && !IsLocal(s) {
			return
		}
		name := Canonical(s)
		if again := Canonical(name); again != name {
			t.Fatalf("Canonical(%q) = %q, and of that %q", s, name, again)
		}
		if IsLocal(s) || IsLocal(normal) || strings.HasPrefix(s, registryPrefix) {
			return
		}
		if got := Canonical(normal); got != name {
			t.Fatalf("Normalize(%q) = %q is %q, and the former is %q", s, normal, got, name)
		}
		for _, spelling := range Spellings(name) {
			if got := Canonical(spelling); got != name {
				t.Fatalf("%q is a spelling of %q and is %q", spelling, name, got)
			}
		}
	})
}

func TestSpellingsBeginWithTheCanonicalName(t *testing.T) {
	got := Spellings("docker.io/library/nginx")
	for _, want := range []string{"docker.io/library/nginx", "index.docker.io/nginx", "registry-1.docker.io:443/library/nginx"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is missing from %q", want, got)
		}
	}
	if got[0] != "docker.io/library/nginx" {
		t.Errorf("the first is %q", got[0])
	}
	if got := Spellings("oci:a/b"); len(got) != 1 {
		t.Errorf("%q", got)
	}
}
