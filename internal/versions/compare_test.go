package versions

import (
	"strings"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	for purlType, lines := range map[string]string{
		"deb": `
			3.0.11-1~deb12u2 < 3.0.13
			3.0.13-1~deb12u1 > 3.0.13
			1:9.2p1-2 = 1:9.2p1-2
			1:9.2p1-2 < 2:0
			1.0~rc1 < 1.0
			1.10 > 1.9
			1.0-1 < 1.0-1+b1
			0:1.0 = 0:1.0
			1:1.2 > 1.3`,
		"apk": `
			3.1.4-r5 > 3.1.4-r4
			3.1.4-r5 > 3.1.4
			1.2_rc1 < 1.2
			1.10 > 1.9
			1.2.3a > 1.2.3`,
		"rpm": `
			3.0.7-27.el9 > 3.0.7-24.el9
			3.0.7-27.el9 > 3.0.7
			3.0.1-99 < 3.0.7
			1:1.0-1 > 0:9.9-1
			1:1.0-1 = 1:1.0-1
			0:1.0 = 0:1.0
			1.0 < 1:0.1
			1.0~rc1 < 1.0
			1.0~rc1-1 < 1.0
			1.0~rc1 > 1.0~beta
			1.0^git1 > 1.0
			1.0^git1 < 1.0.1
			1.0^git1~pre < 1.0^git1
			1.0^ < 1.0.1
			1.0^~x > 1.0~x
			1.010 = 1.10
			1.10 > 1.9
			1.a < 1.1
			1.0a > 1.0
			1.0a < 1.0b
			1_0 = 1.0
			1.. = 1
			6.0.rc1 > 6.0
			2.0.1a = 2.0.1a
			20101122 > 20101121`,
		"npm": `
			4.17.20 < 4.17.21
			4.17.21 = 4.17.21
			5.0.0-rc.1 < 5.0.0
			10.0.0 > 9.0.0
			1.2 = 1.2.0`,
		"golang": `
			v0.17.0 < v0.18.0
			go1.22.1 > go1.21.9
			go1.22.1 = 1.22.1
			v2.0.0+incompatible = v2.0.0
			v0.0.0-20240101000000-abcdefabcdef < v0.0.0-20250101000000-abcdefabcdef`,
		"cargo": `
			0.9.9 < 0.10.0`,
		"pypi": `
			2.31.0 < 2.32.0
			1!1.0 > 9.0
			1.0rc1 < 1.0
			1.0.post1 > 1.0
			1.0+local > 1.0
			1.0.0 = 1`,
		"gem": `
			2.2.8 < 2.2.19
			1.0 = 1.0.0
			1.0.rc1 < 1.0
			1.0.rc1 > 1.0.beta2
			1.0.0.rc1 = 1.rc1
			1.0.a10 > 1.0.a9
			1.0.a < 1.0.b
			1.2 > 1.1.9.9
			0010 = 10`,
		"maven": `
			2.14.1 < 2.17.0
			1.0-SNAPSHOT < 1.0
			1.0-rc1 < 1.0
			1.10 > 1.9
			1.0.0 = 1.0`,
	} {
		for line := range strings.Lines(strings.TrimSpace(lines)) {
			f := strings.Fields(line)
			want := map[string]int{"<": -1, "=": 0, ">": 1}[f[1]]
			got, err := Compare(purlType, f[0], f[2])
			if err != nil || sign(got) != want {
				t.Errorf("%s: %s: %d, %v", purlType, strings.TrimSpace(line), got, err)
			}
			if got, err := Compare(purlType, f[2], f[0]); err != nil || sign(got) != -want {
				t.Errorf("%s: %s turned about: %d, %v", purlType, strings.TrimSpace(line), got, err)
			}
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

// TestEpochIsNotNewerThanEverything checks that CompareMinimum ignores the epoch of a version if
// the minimum has none. Strictly, 1:1.0 is newer than 3.0.13, but the author of the minimum
// "3.0.13" did not mean that.
func TestEpochIsNotNewerThanEverything(t *testing.T) {
	for _, purlType := range []string{"deb", "rpm"} {
		for version, want := range map[string]int{"1:1.0-1": -1, "1:3.0.13": 0, "1:3.0.14-1": 1} {
			if got, err := CompareMinimum(purlType, version, "3.0.13"); err != nil || sign(got) != want {
				t.Errorf("%s %s: %d, %v", purlType, version, got, err)
			}
		}
		if got, err := CompareMinimum(purlType, "9.0", "1:3.0.13"); err != nil || got >= 0 {
			t.Errorf("%s without an epoch: %d, %v", purlType, got, err)
		}
	}
}

// TestMinimumWithoutRelease checks that a minimum for an RPM package can omit the release.
func TestMinimumWithoutRelease(t *testing.T) {
	for version, want := range map[string]int{"3.0.7-27.el9": 0, "1:3.0.7-27.el9": 0, "3.0.7": 0, "3.0.8-1": 1, "3.0.6-99": -1, "3.0.7~rc1-1": -1} {
		if got, err := CompareMinimum("rpm", version, "3.0.7"); err != nil || sign(got) != want {
			t.Errorf("%s: %d, %v", version, got, err)
		}
	}
	if got, err := CompareMinimum("rpm", "3.0.7-24.el9", "3.0.7-27.el9"); err != nil || got >= 0 {
		t.Errorf("an older release: %d, %v", got, err)
	}
}

func TestVersionThatCannotBeComparedIsNotNewEnough(t *testing.T) {
	for _, tt := range []struct{ purlType, version, least string }{
		{"gem", "1.0-x86_64-linux", "1.0"},
		{"gem", "x", "1.0"},
		{"gem", "1.0", "1..0"},
		{"generic", "1.0", "1.0"},
		{"", "1.0", "1.0"},
		{"npm", "", "1.0.0"},
		{"npm", "1.0.0", ""},
		{"npm", "latest", "1.0.0"},
		{"npm", "1.0.0.0", "1.0.0"},
		{"golang", "(devel)", "1.0.0"},
		{"golang", "UNKNOWN", "1.0.0"},
		{"deb", "abc", "1.0"},
		{"deb", "x:1.0", "x:0"},
		{"deb", "-1:1.0", "1:0"},
		{"deb", "1.0", "a"},
		{"apk", "1.0-x", "1.0"},
		{"apk", "abc", "1.0"},
		{"pypi", "one", "1.0"},
		{"maven", "unknown", "1.0"},
		{"maven", "${project.version}", "1.0"},
		{"rpm", "a:1.0", "0:1.0"},
		{"rpm", "-1:1.0", "0:1.0"},
		{"rpm", "0:1:1.0", "0:1.0"},
		{"rpm", "(none)", "1.0"},
		{"rpm", "1.0-1-1", "1.0"},
		{"rpm", "-1", "1.0"},
		{"npm", "1.0.0 ", "1.0.0"},
		{"deb", "1.0é", "1.0"},
		{"deb", "99999999999999999999", "1.0"}, // the number is larger than an int
		{"apk", "99999999999999999999", "1.0"},
		{"maven", "99999999999999999999", "1.0"},
		{"deb", strings.Repeat("1.", 200) + "1", "1.0"},
	} {
		if got, err := Compare(tt.purlType, tt.version, tt.least); err == nil {
			t.Errorf("%s: %q and %q compare as %d", tt.purlType, tt.version, tt.least, got)
		}
		if got, err := CompareMinimum(tt.purlType, tt.version, tt.least); err == nil {
			t.Errorf("%s: %q and the minimum %q compare as %d", tt.purlType, tt.version, tt.least, got)
		}
	}
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("rpm", "1:1.0~rc1^git-2.el9", "1.0")
	f.Add("deb", "1:9.2p1-2+deb12u3", "9.2")
	f.Add("apk", "1.2.3_p1-r0", "1.2.3")
	f.Add("maven", "1.0-SNAPSHOT", "1.0.Final")
	f.Add("pypi", "1!1.0.post1.dev2+local", "1")
	f.Add("gem", "1.0.rc1", "2.2.19")
	f.Add("golang", "v0.0.0-20240101000000-abcdefabcdef", "go1.22")
	f.Fuzz(func(t *testing.T, purlType, version, least string) {
		if _, err := Compare(purlType, version, least); err != nil {
			return
		}
		if _, err := CompareMinimum(purlType, version, least); err != nil {
			t.Errorf("%s: %q compares with %q but not with it as a minimum: %v", purlType, version, least, err)
		}
		if got, err := Compare(purlType, least, least); err != nil || got != 0 {
			t.Errorf("%s: %q is not as new as itself: %d, %v", purlType, least, got, err)
		}
	})
}
