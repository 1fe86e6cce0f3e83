package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// spelled lists repositories. Each has equivalent spellings, and patterns that match it.
var spelled = []struct{ spellings, patterns []string }{
	{[]string{"index.docker.io/library/nginx", "docker.io/nginx", "nginx", "Registry-1.docker.io:443/library/nginx", "docker.io./nginx", "registry.hub.docker.com/library/nginx"},
		[]string{"docker.io/library/*", "docker.io/nginx", "nginx", "library/*", "index.docker.io/library/nginx", "*docker.io/*", "docker.io:*/library/*", "index.docker.i*/nginx", "docker.io/ng*", "*"}},
	{[]string{"index.docker.io/team/app", "docker.io/team/app", "team/app", "DOCKER.io:0443/team/app"},
		[]string{"docker.io/team/*", "team/*", "team/app", "*/team/app", "index.docker.io/*", "registry-1.docker.io/team/app"}},
	{[]string{"ghcr.io/prod/app", "GHCR.io/prod/app", "ghcr.io:443/prod/app", "ghcr.io.:00443/prod/app"},
		[]string{"ghcr.io/*", "GHCR.IO/prod/*", "ghcr.io:443/prod/*", "ghcr.io:*/prod/app", "*.io/prod/*", "*ghcr.io:443/*"}},
	{[]string{"localhost:5000/prod/app", "LocalHost:5000/prod/app", "127.0.0.1:5000/prod/app", "127.0.0.1:05000/prod/app", "[::1]:5000/prod/app", "127.0.0.2:5000/prod/app", "r.localhost:5000/prod/app", "0.0.0.0:5000/prod/app"},
		[]string{"localhost:5000/prod/*", "127.0.0.1:5000/*", "[::1]:*/prod/*", "localhost:*/prod/app", "127.0.0.*:5000/prod/app", "local*:5000/*"}},
}

// TestNoSpellingEscapesAScope checks that a stricter scope applies to every spelling of the
// repository, and that all decisions are equal.
func TestNoSpellingEscapesAScope(t *testing.T) {
	for _, tt := range spelled {
		for _, pattern := range tt.patterns {
			p := parsed(t, fmt.Sprintf("version: 1\nrules: [{name: all, effect: warn}]\nimages:\n  - match: %q\n    rules: [{name: strict, severity: high}]\n", pattern))
			var first Decision
			for i, spelling := range tt.spellings {
				in := withFindings(finding("CVE-1", evidence.SeverityHigh))
				in.Image.Repository = spelling
				d := p.Evaluate(in, now)
				denied(t, d, "vulnerability strict")
				if i == 0 {
					first = d
				} else if diff := cmp.Diff(first, d); diff != "" {
					t.Errorf("pattern %s, image %s: %s", pattern, spelling, diff)
				}
			}
		}
	}
}

// TestExceptionsDoNotDependOnSpelling checks that an exception applies to every spelling of the
// repository, and never to an image that only looks similar.
func TestExceptionsDoNotDependOnSpelling(t *testing.T) {
	evaluate := func(pattern, image string) Decision {
		p := parsed(t, fmt.Sprintf("version: 1\nrules: [{name: all}]\nexceptions: [{id: CVE-1, image: %q, reason: r, owner: o, expires: 2030-01-01}]\n", pattern))
		in := withFindings(finding("CVE-1", evidence.SeverityHigh))
		in.Image.Repository = image
		return p.Evaluate(in, now)
	}
	for i, tt := range spelled {
		for _, pattern := range tt.patterns {
			for _, spelling := range tt.spellings {
				passed(t, evaluate(pattern, spelling))
			}
			if pattern == "*" || strings.HasPrefix(pattern, "*.io") || strings.HasPrefix(pattern, "*docker") {
				continue
			}
			other := spelled[(i+2)%len(spelled)].spellings[0]
			denied(t, evaluate(pattern, other), "vulnerability all")
		}
	}
}

// TestLocalFolderDoesNotGetTheExceptionsOfARepository checks that the exceptions of a repository do
// not apply to a local folder with the name of the repository.
func TestLocalFolderDoesNotGetTheExceptionsOfARepository(t *testing.T) {
	evaluate := func(pattern, image string) Decision {
		p := parsed(t, fmt.Sprintf("version: 1\nrules: [{name: all}]\nexceptions: [{id: CVE-1, image: %q, reason: r, owner: o, expires: 2030-01-01}]\n", pattern))
		in := withFindings(finding("CVE-1", evidence.SeverityHigh))
		in.Image.Repository = image
		return p.Evaluate(in, now)
	}
	for _, transport := range []string{"oci", "oci-archive", "docker-archive", "docker-daemon"} {
		image := transport + ":ghcr.io/team/app"
		for _, pattern := range []string{"ghcr.io/team/app", "ghcr.io/*", "*/team/app", "*ghcr.io/team/app", "*:*", "docker://ghcr.io/*"} {
			denied(t, evaluate(pattern, image), "vulnerability all")
		}
		for _, pattern := range []string{"*", transport + ":*", transport + ":ghcr.io/team/*"} {
			passed(t, evaluate(pattern, image))
		}
		denied(t, evaluate(transport+":*", "ghcr.io/team/app"), "vulnerability all")
	}
	// A registry can have the name of a transport: the host "oci" is not the transport "oci:".
	denied(t, evaluate("oci:*", "docker://oci:5000/app"), "vulnerability all")
	passed(t, evaluate("docker://oci:5000/*", "docker://oci:5000/app"))
	denied(t, evaluate("docker://oci:5000/*", "oci:5000/app"), "vulnerability all")
}

// TestUnmatchedImagesAreDenied checks that "unmatchedImages: deny" denies an image that no scope
// matches.
func TestUnmatchedImagesAreDenied(t *testing.T) {
	policyText := func(unmatched string) string {
		return "version: 1\nrules: [{name: all}]\n" + unmatched + "images: [{match: registry.example/*, sbom: {minPackages: 0}}]\n"
	}
	in := withFindings()
	for _, image := range []string{"ghcr.io/team/app", "oci:registry.example/app", "registry.example.attacker.test/app", ""} {
		in.Image.Repository = image
		d := parsed(t, policyText("unmatchedImages: deny\n")).Evaluate(in, now)
		denied(t, d, "scope unmatchedImages")
		passed(t, parsed(t, policyText("")).Evaluate(in, now))
		passed(t, parsed(t, policyText("unmatchedImages: allow\n")).Evaluate(in, now))
	}
	in.Image.Repository = "REGISTRY.example:443/app"
	strict := parsed(t, policyText("unmatchedImages: deny\n"))
	passed(t, strict.Evaluate(in, now))
	// An image that matches a scope of only one policy in a Set is unmatched in the other policy.
	other := parsed(t, "version: 1\nrules: [{name: all}]\nunmatchedImages: deny\nimages: [{match: ghcr.io/*, sbom: {minPackages: 0}}]\n")
	denied(t, Set{strict, other}.Evaluate(in, now), "scope unmatchedImages")
	// The policy that ForImage returns gives the same result for the image.
	if own := strict.ForImage("registry.example/app"); own.UnmatchedImages != UnmatchedAllow {
		t.Error("the policy of ForImage denies a matched image")
	}
	if own := strict.ForImage("ghcr.io/app"); own.UnmatchedImages != UnmatchedDeny {
		t.Error("the policy of ForImage does not deny an unmatched image")
	}
}

func TestLintSuggestsTheCanonicalPattern(t *testing.T) {
	for pattern, want := range map[string]string{
		"docker.io/team/*":      "",
		"oci:*":                 "",
		"oci:builds/*":          "",
		"*":                     "",
		"*/team/app":            "",
		"localhost:5000/*":      "",
		"registry.example:*/x":  "",
		"team/*":                `canonical form is "docker.io/team/*"`,
		"index.docker.io/a/*":   `canonical form is "docker.io/a/*"`,
		"GHCR.io/a":             `canonical form is "ghcr.io/a"`,
		"ghcr.io:443/*":         `canonical form is "ghcr.io/*"`,
		"127.0.0.1:5000/*":      `canonical form is "localhost:5000/*"`,
		"ghcr.io/a:1":           `only the repository is compared: write "ghcr.io/a"`,
		"ghcr.io/a@sha256:*":    `only the repository is compared: write "ghcr.io/a"`,
		"oci:builds/app:latest": `only the repository is compared: write "oci:builds/app"`,
	} {
		got := match.Advice("the scope", pattern)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q", pattern, got)
		}
	}
}

// TestMonotoneInUnmatchedImages checks that "unmatchedImages: deny" never lets an image pass that
// would be denied without it.
func TestMonotoneInUnmatchedImages(t *testing.T) {
	for seed := range uint64(2000) {
		g := newGenerator(seed)
		p, in := g.policy(), g.input()
		before := p.Evaluate(in, now)
		stricter := *p
		stricter.UnmatchedImages = UnmatchedDeny
		if after := stricter.Evaluate(in, now); after.Passed && !before.Passed {
			t.Fatalf("seed %d: denying unmatched images lets the image pass", seed)
		}
	}
}

// spelling returns one of the spellings of a repository in spelled. It varies the name, port,
// trailing dot and letter case of the host, and the transport, and may omit default values.
func (g generator) spelling(repository int) string {
	host := pick(g, [][]string{
		{"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", ""},
		{"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", ""},
		{"ghcr.io"},
		{"localhost", "127.0.0.1", "[::1]", "[0:0::1]", "[::ffff:127.0.0.1]", "127.1.2.3", "0.0.0.0", "a.b.localhost"},
	}[repository]...)
	path := pick(g, [][]string{{"library/nginx", "nginx"}, {"team/app"}, {"prod/app"}, {"prod/app"}}[repository]...)
	if host == "" {
		return pick(g, "", "docker://") + path
	}
	if host[0] != '[' && !strings.HasPrefix(host, "127.") && host != "0.0.0.0" && g.IntN(3) == 0 {
		host += "."
	}
	if repository == 3 {
		host += pick(g, ":5000", ":05000", ":0005000")
	} else {
		host += pick(g, "", "", ":443", ":0443", ":80")
	}
	letters := []byte(host)
	for i, c := range letters {
		if 'a' <= c && c <= 'z' && g.IntN(4) == 0 {
			letters[i] = c - 'a' + 'A'
		}
	}
	return pick(g, "", "", "docker://") + string(letters) + "/" + path
}

// imagePattern returns a spelling of a repository as an image pattern, with wildcards at random
// places.
func (g generator) imagePattern() string {
	p := []byte(g.spelling(g.IntN(len(spelled))))
	for range g.IntN(3) {
		from := g.IntN(len(p))
		to := from + g.IntN(len(p)-from+1)
		p = append(append(append([]byte{}, p[:from]...), '*'), p[to:]...)
	}
	return string(p)
}

// TestDecisionsDoNotDependOnSpelling checks that, for any patterns, every spelling of a repository
// leads to the same decision.
func TestDecisionsDoNotDependOnSpelling(t *testing.T) {
	for seed := range uint64(3000) {
		g := newGenerator(seed)
		set := g.set()
		for _, p := range set {
			p.UnmatchedImages = pick(g, UnmatchedAllow, UnmatchedDeny)
			for i := range p.Images {
				p.Images[i].Match = []string{g.imagePattern()}
			}
			for i := range p.Exceptions {
				p.Exceptions[i].Image = pick(g, "", g.imagePattern(), g.imagePattern())
			}
		}
		in := g.input()
		repository := g.IntN(len(spelled))
		in.Image.Repository = g.spelling(repository)
		one := set.Evaluate(in, now)
		first := in.Image.Repository
		in.Image.Repository = g.spelling(repository)
		if diff := cmp.Diff(one, set.Evaluate(in, now)); diff != "" {
			t.Fatalf("seed %d: %s and %s: %s", seed, first, in.Image.Repository, diff)
		}
	}
}

// TestEverySpellingIsAPatternForTheRepository checks that every spelling of a repository, used as a
// pattern, matches every spelling of this repository and of no other.
func TestEverySpellingIsAPatternForTheRepository(t *testing.T) {
	for seed := range uint64(5000) {
		g := newGenerator(seed)
		a, b := g.IntN(len(spelled)), g.IntN(len(spelled))
		pattern, image := g.spelling(a), g.spelling(b)
		if got := match.NewImagePattern(pattern).Match(match.NewImage(image)); got != (a == b) {
			t.Fatalf("seed %d: pattern %s, image %s: %v", seed, pattern, image, got)
		}
		if match.NewImagePattern("oci:*").Match(match.NewImage(image)) || match.NewImagePattern(pattern).Match(match.NewImage("oci:"+strings.TrimPrefix(image, "docker://"))) {
			t.Fatalf("seed %d: %s and a folder of that name are mixed up", seed, pattern)
		}
	}
}
