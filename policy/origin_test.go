package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

func TestDatabaseOfUnknownOriginIsNotTrusted(t *testing.T) {
	p := blockAll()
	p.Database.Origins = []string{"https://mirror.example/*", "vulnerability.db"}
	for source, ok := range map[string]bool{
		"https://mirror.example/v6/latest.json":      true,
		"vulnerability.db":                           true,
		"https://mirror.example":                     false,
		"https://mirror.example.evil/x":              false,
		"http://mirror.example/v6/latest.json":       false,
		"https://evil/https://mirror.example/latest": false,
		"": false,
	} {
		in := cleanInput()
		in.Database.Source = source
		if d := p.Evaluate(in, now); ok {
			passed(t, d)
		} else {
			denied(t, d, "database database.origins")
		}
	}
	p.Database.Origins = []string{"*"}
	denied(t, p.Evaluate(cleanInput(), now), "database database.origins") // The origin is empty, so it is unknown.
	p.Database.Origins = []string{}
	denied(t, p.Evaluate(cleanInput(), now), "database database.origins")
}

func TestDistributionOutsideTheListIsNotAllowed(t *testing.T) {
	p := blockAll()
	p.Distribution.Allow = []string{"debian 12", "alpine 3.*", "wolfi"}
	for _, tt := range []struct {
		id, version string
		ok          bool
	}{
		{"debian", "12", true},
		{"debian", "12.1", false},
		{"debian", "11", false},
		{"debian", "", false},
		{"alpine", "3.20.1", true},
		{"alpine", "3", false},
		{"alpine", "33.1", false},
		{"wolfi", "", true},
		{"wolfi", "20230201", false},
		{"Debian", "12", false},
		{"", "", false},
		{"", "debian 12", false},
	} {
		in := cleanInput()
		in.Platforms[0].Distribution = evidence.Distribution{ID: tt.id, Version: tt.version}
		d := p.Evaluate(in, now)
		if tt.ok {
			passed(t, d)
			continue
		}
		denied(t, d, "distribution distribution.allow")
		warns := *p
		warns.Distribution.NotAllowed = Warn
		d = warns.Evaluate(in, now)
		passed(t, d)
		if len(d.Warnings) != 1 {
			t.Errorf("warnings: %+v", d.Warnings)
		}
	}
	p.Distribution.Allow = []string{"*"}
	in := cleanInput()
	in.Platforms[0].Distribution = evidence.Distribution{}
	denied(t, p.Evaluate(in, now), "distribution distribution.allow")
}

func TestOverrideHasItsOwnDistributions(t *testing.T) {
	p, err := Parse("p.yaml", []byte(minimal+`distribution: {allow: [alpine 3.*]}
images:
  - match: registry.example/team/*
    distribution: {allow: [debian 12]}
`))
	if err != nil {
		t.Fatal(err)
	}
	in := cleanInput()
	passed(t, p.Evaluate(in, now))
	in.Image.Repository = "registry.example/other"
	denied(t, p.Evaluate(in, now), "distribution distribution.allow")
}

func TestParseOrigins(t *testing.T) {
	p, err := Parse("p.yaml", []byte(minimal+`database:
  origins: ["https://mirror.example/*"]
distribution:
  allow: [debian 12, wolfi]
  notAllowed: warn
`))
	if err != nil {
		t.Fatal(err)
	}
	want := DistributionRule{Position: at(6, 1), Allow: []string{"debian 12", "wolfi"}, NotAllowed: Warn}
	if diff := cmp.Diff(want, p.Distribution); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(DatabaseRule{Position: at(4, 1), MaxAge: DefaultMaxAge, Origins: []string{"https://mirror.example/*"}}, p.Database); diff != "" {
		t.Error(diff)
	}
	for section, want := range map[string]string{
		"database: {origins: []}":                 `4:21: "origins" is empty: list at least one origin`,
		"distribution: {allow: []}":               `4:23: "allow" is empty: no image would be allowed`,
		"distribution: {allow: [Debian 12]}":      `4:24: "allow": "Debian 12" is not an id and version of os-release, such as "debian 12" or "alpine 3.*"`,
		"distribution: {allow: [debian 12 slim]}": `4:24: "allow": "debian 12 slim" is not an id and version of os-release, such as "debian 12" or "alpine 3.*"`,
		"distribution: {notAllowed: deny}":        `4:28: "notAllowed": unknown effect "deny": expected block or warn`,
	} {
		got := problems(t, minimal+section+"\n")
		if diff := cmp.Diff([]string{"p.yaml:" + want}, got); diff != "" {
			t.Errorf("%s: %s", section, diff)
		}
	}
}
