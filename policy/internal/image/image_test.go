package image

import (
	"slices"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

func TestRootIsNotAUserLikeOthers(t *testing.T) {
	for user, want := range map[string]bool{
		"": true, "0": true, "root": true, "0:0": true, "root:x": true, ":1000": true, "00": true, "-1": true, " root": true,
		"4294967296": true, "containeradministrator": true,
		"1000": false, "1000:0": false, "app:root": false, "rooty": false, "0x0": false, "ContainerUser": false,
	} {
		if got := RunsAsRoot(user); got != want {
			t.Errorf("%q: %v", user, got)
		}
	}
}

func TestLatestIsNotATag(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for reference, want := range map[string]bool{
		"": true, "app": true, "app:latest": true, "registry.example:5000/team/app": true, "app:latest" + digest: true, "docker://app": true,
		"oci:/a@b/c": true, "oci:folder:docker.io/team/app:latest": true, "docker-archive:b.tar": true, "app@": true,
		"app:1": false, "app" + digest: false, "registry.example:5000/team/app:1": false, "oci:/a@b/c:1": false, "app:latest-2024": false, "latest:1": false,
	} {
		if got := Floats(reference); got != want {
			t.Errorf("%q: %v", reference, got)
		}
	}
}

// TestLabelValueThatLooksLikeACredentialIsNotQuoted checks that messages about labels do not quote
// values that look like credentials.
func TestLabelValueThatLooksLikeACredentialIsNotQuoted(t *testing.T) {
	c := &evidence.ImageConfig{Labels: map[string]string{"team": "a", "blank": " ", "token": "s3cr3t"}, HiddenLabels: []string{"token"}}
	for label, want := range map[string]string{
		"team": "", "team=a": "", "team=*": "", "blank=*": "", "token=s3*": "",
		"team=b":  `the label "team" is "a" and must match "b"`,
		"blank":   `the label "blank" is blank`,
		"none":    `the image has no label "none"`,
		"token=x": `the label "token" must match "x"; its value looks like a credential and is not shown`,
	} {
		if got := LabelFault(c, label); got != want {
			t.Errorf("%s: %q, want %q", label, got, want)
		}
	}
	for label, ok := range map[string]bool{"a": true, "a=b*": true, "": false, "=b": false, " a": false, "a*": false} {
		if err := CheckLabel(label); (err == nil) != ok {
			t.Errorf("%q: %v", label, err)
		}
	}
}

func TestUnwantedPorts(t *testing.T) {
	allowed := []string{"8080", "8000-8010/tcp", "8011-8020/TCP", "53/udp"}
	exposed := []string{"8080/tcp", "8080/udp", "8005", "8009-8012", "53/udp", "53", "x", "0/tcp"}
	if got, want := UnwantedPorts(exposed, allowed), []string{"0/tcp", "53", "8009-8012", "8080/udp", "x"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := UnwantedPorts([]string{"80"}, nil); len(got) != 1 {
		t.Errorf("an empty list allows %q", got)
	}
	for ports, ok := range map[string]bool{"80": true, "80-90/udp": true, "1/sctp": true, "90-80": false, "0": false, "65536": false, "80/icmp": false, "": false} {
		if err := CheckPorts(ports); (err == nil) != ok {
			t.Errorf("%q: %v", ports, err)
		}
	}
}

func TestBaseIsKnownUnderEverySpelling(t *testing.T) {
	for _, tt := range []struct {
		pattern, base string
		want          bool
	}{
		{"docker.io/library/debian:12", "debian:12", true},
		{"debian:12", "index.docker.io/library/debian:12", true},
		{"docker.io/library/debian*", "docker.io/debian:12@sha256:0", true},
		{"GHCR.io:443/base/*", "ghcr.io/base/app:1", true},
		{"ghcr.io/base/*", "GHCR.io/base/app:1", true},
		{"docker.io/library/debian:12", "debian:11", false},
		{"docker.io/library/debian:12", "registry.example/library/debian:12", false},
		{"ghcr.io/base/*", "oci:ghcr.io/base/app", false},
	} {
		if got := BaseFault(&evidence.Base{Name: tt.base}, []string{tt.pattern}) == ""; got != tt.want {
			t.Errorf("%s allows %s: %v", tt.pattern, tt.base, got)
		}
	}
}
