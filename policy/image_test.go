package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
)

// configured returns evidence of an image that no rule in these tests denies.
func configured() evidence.Input {
	in := cleanInput()
	p := &in.Platforms[0]
	p.Config = &evidence.ImageConfig{
		User: "1000", Labels: map[string]string{"org.opencontainers.image.source": "https://git.example/app", "empty": " "},
		ExposedPorts: []string{"8080/tcp"}, Created: now.Add(-24 * time.Hour),
	}
	p.Size = 500_000_000
	p.Layers = []evidence.Layer{{Digest: "sha256:1", DiffID: "sha256:2", Size: 499_000_000}, {Digest: "sha256:3", DiffID: "sha256:4", Size: 900_000}}
	p.Base = &evidence.Base{Name: "registry.example/base/debian:12", Digest: "sha256:" + strings.Repeat("e", 64)}
	return in
}

func imageRule(r ImageRule) *Policy {
	r.Name = "i"
	p := blockAll()
	p.Image = []ImageRule{r}
	return p
}

// evaluateConfig evaluates the rule on the evidence of configured, after spoil has changed the
// evidence.
func evaluateConfig(r ImageRule, spoil func(*evidence.Platform)) Decision {
	in := configured()
	spoil(&in.Platforms[0])
	return imageRule(r).Evaluate(in, now)
}

func TestRootIsNotAUserLikeOthers(t *testing.T) {
	for user, root := range map[string]bool{
		"": true, "0": true, "root": true, "0:0": true, "root:x": true, "0:1000": true, "root:": true, ":1000": true, ":": true,
		"00": true, "+0": true, "-0": true, "-1": true, " root": true, "0 ": true, "4294967296": true, "99999999999999999999": true,
		"containeradministrator": true,
		"1000":                   false, "1000:0": false, "app": false, "app:root": false, "rooty": false, "nobody:nogroup": false, "0x0": false, "ContainerUser": false,
	} {
		d := evaluateConfig(ImageRule{NotRoot: true}, func(p *evidence.Platform) { p.Config.User = user })
		if root == d.Passed {
			t.Errorf("%q passed: %v", user, d.Passed)
		}
	}
}

// TestImageRuleWithoutEvidenceIsNotFulfilled checks that missing evidence blocks even if the rule
// only warns. Every real image has this data.
func TestImageRuleWithoutEvidenceIsNotFulfilled(t *testing.T) {
	for name, r := range map[string]ImageRule{
		"notRoot": {NotRoot: true}, "noSecrets": {NoSecrets: true}, "labels": {Labels: []string{"a"}}, "ports": {Ports: []string{}},
		"maxAge": {MaxAge: time.Hour}, "maxSize": {MaxSize: 1 << 40}, "maxLayers": {MaxLayers: 100}, "nothing": {},
	} {
		r.Effect = Warn
		denied(t, imageRule(r).Evaluate(cleanInput(), now), "image i")
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestImageConditions(t *testing.T) {
	labels := func(p *evidence.Platform) map[string]string { return p.Config.Labels }
	for name, tt := range map[string]struct {
		rule  ImageRule
		spoil func(*evidence.Platform)
		want  []string // the expected messages
	}{
		"no secrets": {ImageRule{NoSecrets: true}, func(*evidence.Platform) {}, nil},
		"secrets": {ImageRule{NoSecrets: true}, func(p *evidence.Platform) {
			p.Config.Secrets = []evidence.Secret{{Where: "label x", Kind: "b"}, {Where: "environment variable TOKEN", Kind: "a"}}
		}, []string{
			`the image has a credential of the kind "a" in "environment variable TOKEN"`,
			`the image has a credential of the kind "b" in "label x"`,
		}},

		"label":      {ImageRule{Labels: []string{"org.opencontainers.image.source"}}, func(*evidence.Platform) {}, nil},
		"label like": {ImageRule{Labels: []string{"org.opencontainers.image.source=https://git.example/*"}}, func(*evidence.Platform) {}, nil},
		"label unlike": {ImageRule{Labels: []string{"org.opencontainers.image.source=https://other.example/*", "empty", "empty=*", "none", "none=*"}}, func(*evidence.Platform) {}, []string{
			`the label "org.opencontainers.image.source" is "https://git.example/app" and must match "https://other.example/*"`,
			`the label "empty" is blank`,
			`the image has no label "none"`,
			`the image has no label "none"`,
		}},
		"label in another case":   {ImageRule{Labels: []string{"a"}}, func(p *evidence.Platform) { labels(p)["A"] = "x" }, []string{`the image has no label "a"`}},
		"label with equals signs": {ImageRule{Labels: []string{"a=b=c"}}, func(p *evidence.Platform) { labels(p)["a"] = "b=c" }, nil},
		"hostile label": {ImageRule{Labels: []string{"a=b"}}, func(p *evidence.Platform) { labels(p)["a"] = "\x1b[31m" + strings.Repeat("x", 1000) }, []string{
			`the label "a" is "\x1b[31m` + strings.Repeat("x", 75) + `…" and must match "b"`,
		}},

		"port":          {ImageRule{Ports: []string{"8080/tcp"}}, func(*evidence.Platform) {}, nil},
		"no ports":      {ImageRule{Ports: []string{}}, func(p *evidence.Platform) { p.Config.ExposedPorts = nil }, nil},
		"ports":         {ImageRule{Ports: []string{}}, func(*evidence.Platform) {}, []string{`the image exposes the port "8080/tcp", which the policy does not allow`}},
		"port in range": {ImageRule{Ports: []string{"22", "8080-8081"}}, func(p *evidence.Platform) { p.Config.ExposedPorts = []string{"8081", "8080/TCP", "8080-8081/tcp"} }, nil},
		"port outside range": {ImageRule{Ports: []string{"8080-8081/tcp"}}, func(p *evidence.Platform) {
			p.Config.ExposedPorts = []string{"8082/tcp", "8079", "8080/udp", "8080-8082/tcp", "http", "", "8080/"}
		}, []string{
			`the image exposes the port "", which the policy does not allow`,
			`the image exposes the port "8079", which the policy does not allow`,
			`the image exposes the port "8080-8082/tcp", which the policy does not allow`,
			`the image exposes the port "8080/", which the policy does not allow`,
			`the image exposes the port "8080/udp", which the policy does not allow`,
			`the image exposes the port "8082/tcp", which the policy does not allow`,
			`the image exposes the port "http", which the policy does not allow`,
		}},

		"size at the limit": {ImageRule{MaxSize: 500_000_000}, func(*evidence.Platform) {}, nil},
		"a byte too large":  {ImageRule{MaxSize: 500_000_000}, func(p *evidence.Platform) { p.Size++ }, []string{"the image has 500000001 bytes, the limit is 500000000 bytes (500MB)"}},

		"layers at the limit": {ImageRule{MaxLayers: 2}, func(*evidence.Platform) {}, nil},
		"a layer too many":    {ImageRule{MaxLayers: 1}, func(*evidence.Platform) {}, []string{"the image has 2 layers, the limit is 1"}},
		"no layers at all":    {ImageRule{MaxLayers: 1}, func(p *evidence.Platform) { p.Layers = nil }, nil}, // the size is known, so the image really has no layers

		"base by name":      {ImageRule{Base: []string{"x", "registry.example/base/*"}}, func(*evidence.Platform) {}, nil},
		"base by digest":    {ImageRule{Base: []string{"sha256:" + strings.Repeat("e", 64)}}, func(*evidence.Platform) {}, nil},
		"base without name": {ImageRule{Base: []string{"*"}}, func(p *evidence.Platform) { p.Base.Name = "" }, nil},
		"no base":           {ImageRule{Base: []string{"*"}}, func(p *evidence.Platform) { p.Base = nil }, []string{"the image does not name its base image"}},
		"empty base":        {ImageRule{Base: []string{"*"}}, func(p *evidence.Platform) { p.Base = &evidence.Base{} }, []string{"the image does not name its base image"}},
		"another base": {ImageRule{Base: []string{"registry.example/base/*"}}, func(p *evidence.Platform) { p.Base = &evidence.Base{Name: "docker.io/library/debian"} },
			[]string{`the image was built on "docker.io/library/debian", which the policy does not allow`}},
		"a base that ends so": {ImageRule{Base: []string{"registry.example/base/*"}}, func(p *evidence.Platform) { p.Base.Name = "evil/registry.example/base/x" },
			[]string{`the image was built on "evil/registry.example/base/x@sha256:` + strings.Repeat("e", 80-len("evil/registry.example/base/x@sha256:")) + `…", which the policy does not allow`}},
	} {
		t.Run(name, func(t *testing.T) {
			d := evaluateConfig(tt.rule, tt.spoil)
			if d.Passed != (tt.want == nil) {
				t.Errorf("passed: %v", d.Passed)
			}
			messages := func(list []Violation) (got []string) {
				for _, v := range list {
					if v.Kind != KindImage || v.Rule != "i" || v.Platform != "linux/amd64" {
						t.Errorf("%+v", v)
					}
					got = append(got, v.Message)
				}
				return got
			}
			if diff := cmp.Diff(tt.want, messages(d.Violations)); diff != "" {
				t.Error(diff)
			}
			tt.rule.Effect = Warn
			d = evaluateConfig(tt.rule, tt.spoil)
			passed(t, d)
			if diff := cmp.Diff(tt.want, messages(d.Warnings)); diff != "" {
				t.Errorf("warned: %s", diff)
			}
		})
	}
}

func TestOldImageIsNotYoung(t *testing.T) {
	const limit = 90 * 24 * time.Hour
	p := imageRule(ImageRule{MaxAge: limit})
	in := configured()
	in.Platforms[0].Config.Created = now.Add(-limit + time.Hour)
	d := p.Evaluate(in, now)
	passed(t, d)
	if want := now.Add(time.Hour); !d.Until.Equal(want) {
		t.Errorf("until %v, want %v", d.Until, want)
	}
	passed(t, p.Evaluate(in, d.Until.Add(-1)))
	denied(t, p.Evaluate(in, d.Until), "image i")
}

func TestUndatedImageIsNotYoung(t *testing.T) {
	for name, created := range map[string]time.Time{
		"without a date": {}, "of 1970": time.Unix(0, 0), "of the future": now.Add(clock.Skew + 1),
	} {
		d := evaluateConfig(ImageRule{MaxAge: time.Hour}, func(p *evidence.Platform) { p.Config.Created = created })
		denied(t, d, "image i")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	d := evaluateConfig(ImageRule{MaxAge: time.Hour}, func(p *evidence.Platform) { p.Config.Created = now.Add(clock.Skew) })
	passed(t, d)
	// A creation date in the future violates the rule. The result changes at that date.
	in := configured()
	in.Platforms[0].Config.Created = now.Add(time.Hour)
	d = imageRule(ImageRule{MaxAge: time.Hour}).Evaluate(in, now)
	if want := now.Add(time.Hour - clock.Skew); !d.Until.Equal(want) {
		t.Errorf("until %v, want %v", d.Until, want)
	}
}

func TestLatestIsNotATag(t *testing.T) {
	p := imageRule(ImageRule{NotLatest: true})
	digest := "@sha256:" + strings.Repeat("a", 64)
	for reference, ok := range map[string]bool{
		"app": false, "app:latest": false, "registry.example:5000/team/app": false, "registry.example:5000/team/app:latest": false,
		"app:latest" + digest: false, "docker://app": false, "docker-daemon:app": false, "docker-daemon:app:latest": false,
		"oci:folder": false, "oci:/a@b/c": false, "oci:folder:docker.io/team/app:latest": false, "oci:folder:latest": false, "oci:/a/b/folder": false, "oci-archive:/a/b.tar": false,
		"docker-archive:b.tar": false, "docker-archive:b.tar:app": false, "docker-archive:b.tar:app:latest": false, "": false, "app:": false, "app@": false,

		"app:1": true, "registry.example:5000/team/app:1": true, "app" + digest: true, "app:1" + digest: true, "docker://app:1": true,
		"docker-daemon:app:1": true, "oci:folder:1": true, "oci:/a@b/c:1": true, "oci:/a@b/c" + digest: true, "oci:folder:docker.io/team/app:1": true, "oci:/a/b:1/2": true, "oci:folder" + digest: true, "docker-archive:b.tar:registry.example:5000/app:1": true,
		"app:latest-2024": true, "latest:1": true,
	} {
		in := cleanInput()
		in.Image.Reference = reference
		second := in.Platforms[0]
		second.Platform = "linux/arm64"
		in.Platforms = append(in.Platforms, second)
		d := p.Evaluate(in, now)
		if ok != d.Passed || len(d.Violations) > 1 {
			t.Errorf("%q passed: %v, %+v", reference, d.Passed, d.Violations)
		}
	}
}

func TestExceptionCoversAnImageRule(t *testing.T) {
	p := imageRule(ImageRule{NotRoot: true})
	p.Exceptions = []Exception{{Rule: "i", Reason: "r", Owner: "o", Expires: now.Add(1)}}
	in := configured()
	in.Platforms[0].Config.User = "root"
	passed(t, p.Evaluate(in, now))
	p.Exceptions[0].Package = "pkg:*"
	denied(t, p.Evaluate(in, now), "image i") // The exception is for a package, but the rule is not about a package.
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]ByteSize{
		"1B": 1, "500MB": 500_000_000, "500 MB": 500_000_000, "2kB": 2000, "2KB": 2000, "1KiB": 1024, "3MiB": 3 << 20, "2GB": 2_000_000_000,
		"2GiB": 2 << 30, "1TB": 1_000_000_000_000, "1TiB": 1 << 40, "9223372036854775807B": 1<<63 - 1, "8388607TiB": 8388607 << 40,
	} {
		got, err := parseSize(s)
		if err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", s, got, err, want)
		}
		if again, err := parseSize(got.String()); err != nil || again != got {
			t.Errorf("%q is written %s, which is %d, %v", s, got, again, err)
		}
	}
	for _, s := range []string{"", "5", "MB", "-5MB", "+5MB", "0MB", "1.5GB", "5mb", "5M", "05MB", "5  MB", "8388608TiB", "9223372036854775808B", "5 MB ", "0x5MB", "5MBB"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("%q is %d", s, got)
		}
	}
}

func TestParseImage(t *testing.T) {
	p, err := Parse("p.yaml", []byte(minimal+`image:
  - {name: a, notRoot: true}
  - {name: b, noSecrets: true, effect: warn}
  - {name: c, labels: [maintainer, "vendor=Example*"]}
  - {name: d, ports: []}
  - {name: e, ports: [8080/tcp, 8000-8999]}
  - {name: f, maxAge: 90d}
  - {name: g, maxSize: 500MB}
  - {name: h, maxLayers: 40}
  - {name: i, base: ["registry.example/base/*"]}
  - {name: j, notLatest: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []ImageRule{
		{NotRoot: true}, {NoSecrets: true, Effect: Warn}, {Labels: []string{"maintainer", "vendor=Example*"}},
		{Ports: []string{}}, {Ports: []string{"8080/tcp", "8000-8999"}}, {MaxAge: 90 * ruleDay}, {MaxSize: 500_000_000},
		{MaxLayers: 40}, {Base: []string{"registry.example/base/*"}}, {NotLatest: true},
	}
	for i := range want {
		want[i].Name, want[i].Position = fmt.Sprintf("%c", 'a'+i), at(5+i, 5)
	}
	if diff := cmp.Diff(want, p.Image); diff != "" {
		t.Error(diff)
	}

	const keys = "notRoot, noSecrets, labels, ports, maxAge, maxSize, maxLayers, base, notLatest"
	misspelt := problems(t, minimal+"image:\n  - {name: a, notroot: true}\n")
	if want := `p.yaml:5:15: unknown key "notroot" in a rule about the image: did you mean "notRoot"?`; misspelt[len(misspelt)-1] != want {
		t.Errorf("%q", misspelt)
	}
	for rule, want := range map[string]string{
		"{name: all, notRoot: true}":           `5:12: another rule on line 3 is named "all"`,
		"{notRoot: true}":                      `5:5: a rule about the image has no "name", which is mandatory`,
		"{name: a}":                            `5:5: a rule about the image has 0 of the keys ` + keys + `: expected exactly one`,
		"{name: a, notRoot: true, maxAge: 1d}": `5:5: a rule about the image has 2 of the keys ` + keys + `: expected exactly one`,
		"{name: a, notRoot: false}":            `5:24: "notRoot": "false" can only be true: omit the key instead`,
		"{name: a, labels: []}":                `5:23: "labels" is empty: list at least one label`,
		"{name: a, labels: [\"=x\"]}":          `5:24: "labels": "=x" is not a label: expected name or name=pattern`,
		"{name: a, labels: [\"a*=x\"]}":        `5:24: "labels": "a*=x" is not a label: expected name or name=pattern`,
		"{name: a, ports: [0/tcp]}":            `5:23: "ports": "0/tcp" is not a port: expected a value such as 8080/tcp or 8000-8999/udp`,
		"{name: a, ports: [9-8]}":              `5:23: "ports": "9-8" is not a port: expected a value such as 8080/tcp or 8000-8999/udp`,
		"{name: a, ports: [65536/tcp]}":        `5:23: "ports": "65536/tcp" is not a port: expected a value such as 8080/tcp or 8000-8999/udp`,
		"{name: a, ports: [80/http]}":          `5:23: "ports": "80/http" is not a port: expected a value such as 8080/tcp or 8000-8999/udp`,
		"{name: a, ports: [8080]}":             `5:23: "ports" is a number: expected text in quotes`,
		"{name: a, ports: }":                   `5:22: "ports" is empty: expected a list`,
		"{name: a, maxSize: 500}":              `5:24: "maxSize" is a number: expected a size with a unit, such as 500MB`,
		"{name: a, maxSize: 500mb}":            `5:24: "maxSize": "500mb" is not a size: expected a value such as 500MB or 2GiB`,
		"{name: a, maxLayers: 0}":              `5:26: "maxLayers": "0" is not more than zero`,
		"{name: a, base: []}":                  `5:21: "base" is empty: list at least one base image`,
	} {
		got := problems(t, minimal+"image:\n  - "+rule+"\n")
		if diff := cmp.Diff([]string{"p.yaml:" + want}, got); diff != "" {
			t.Errorf("%s: %s", rule, diff)
		}
	}
}

// TestRuleNamesAreUniqueAcrossSections checks that names are unique, because an exception names a
// rule without its section.
func TestRuleNamesAreUniqueAcrossSections(t *testing.T) {
	got := problems(t, `version: 1
image: [{name: a, notRoot: true}]
packages: [{name: a, deny: "*"}]
licenses: [{name: a, unknown: true}]
rules: [{name: a}]
`)
	want := []string{
		`p.yaml:3:19: another rule on line 2 is named "a"`,
		`p.yaml:4:19: another rule on line 2 is named "a"`,
		`p.yaml:5:16: another rule on line 2 is named "a"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
