package versions

import "testing"

func TestUpgradeFixesEverything(t *testing.T) {
	for _, tt := range []struct {
		name, purlType, installed string
		fixes                     [][]string
		want                      string
	}{
		{"one fix", "deb", "3.0.11-1~deb12u1", [][]string{{"3.0.15-1~deb12u1"}}, "3.0.15-1~deb12u1"},
		{"the highest of Debian's", "deb", "3.0.11-1~deb12u1", [][]string{{"3.0.14-1~deb12u2"}, {"3.0.15-1~deb12u1"}, {"3.0.13-1~deb12u1"}}, "3.0.15-1~deb12u1"},
		{"a tilde sorts first", "deb", "1.0-1", [][]string{{"1.1-1~deb12u1"}, {"1.1-1"}}, "1.1-1"},
		{"an epoch counts", "deb", "1:1.0-1", [][]string{{"1:1.2"}, {"1:1.1"}}, "1:1.2"},
		{"RPM releases", "rpm", "1:3.0.1-1.el9", [][]string{{"1:3.0.7-9.el9"}, {"1:3.0.7-27.el9"}}, "1:3.0.7-27.el9"},
		{"Alpine releases", "apk", "3.1.4-r0", [][]string{{"3.1.4-r5"}, {"3.1.4-r10"}}, "3.1.4-r10"},
		{"numbers, not texts", "npm", "1.2.1", [][]string{{"1.2.9"}, {"1.2.10"}, {"1.2.4"}}, "1.2.10"},
		{"a prerelease", "npm", "1.0.0", [][]string{{"2.0.0-rc1"}, {"1.9.0"}}, "2.0.0-rc1"},
		{"the line of the installed version", "golang", "go1.25.3", [][]string{{"1.25.13", "1.26.6"}}, "1.25.13"},
		{"the newer line", "golang", "go1.26.0", [][]string{{"1.25.13", "1.26.6"}}, "1.26.6"},
		{"between two fixes of the newer line", "golang", "go1.26.1", [][]string{{"1.26.6", "1.25.13"}, {"1.26.2", "1.25.8"}}, "1.26.6"},
		{"an old line", "golang", "go1.19.8", [][]string{{"1.19.10", "1.20.5"}}, "1.19.10"},
		{"a fix only in the newer line", "golang", "go1.25.3", [][]string{{"1.25.13", "1.26.6"}, {"1.26.2"}}, "1.26.6"},
		{"a fix only in an old line is outgrown", "golang", "go1.25.3", [][]string{{"1.25.5", "1.26.0"}, {"1.26.2"}}, "1.26.2"},
		{"majors", "npm", "5.1.0", [][]string{{"5.28.3", "6.6.1"}, {"5.26.2", "6.0.1"}}, "5.28.3"},
		{"a higher version of the same major", "npm", "5.1.0", [][]string{{"5.26.2", "6.6.1"}, {"5.28.4"}}, "5.28.4"},
		{"a line without a fix of its own", "gem", "5.2.1", [][]string{{"5.2.8.1", "6.0.5.1", "6.1.6.1"}, {"5.3.0"}}, "6.0.5.1"},
		{"lines that another vulnerability shows", "golang", "go1.25.3", [][]string{{"1.25.4", "2.0.1"}, {"1.26.2"}, {"1.25.13", "1.26.6"}}, "2.0.1"},
		{"the same line as the lower fix", "golang", "go1.25.3", [][]string{{"1.25.4", "2.0.1"}, {"1.25.13", "1.26.6"}}, "1.25.13"},
		{"no installed version", "npm", "", [][]string{{"5.28.3", "6.6.1"}}, "6.6.1"},
		{"an installed version without an order", "npm", "latest", [][]string{{"5.28.3", "6.6.1"}, {"7.0.0"}}, "7.0.0"},
		{"Python", "pypi", "2.0", [][]string{{"2.31.0"}, {"2.32.0rc1"}, {"2.32.0"}}, "2.32.0"},
		{"Maven", "maven", "4.1.77.Final", [][]string{{"4.1.94.Final"}, {"4.1.100.Final"}}, "4.1.100.Final"},
		{"gems", "gem", "2.2.6", [][]string{{"2.2.6.4", "3.0.9.1"}, {"2.2.8"}}, "2.2.8"},
		{"dotted numbers of any type", "generic", "3.11.1", [][]string{{"3.11.9"}, {"3.11.10"}}, "3.11.10"},
		{"four numbers in NuGet", "nuget", "1.0.0.1", [][]string{{"1.0.0.9"}, {"1.0.0.10"}}, "1.0.0.10"},
		{"large dotted numbers", "generic", "1", [][]string{{"99999999999999999999999"}, {"2"}}, "99999999999999999999999"},
		{"one text of a type without an order", "generic", "a", [][]string{{"b"}, {"b"}}, "b"},
	} {
		got, err := Upgrade(tt.purlType, tt.installed, tt.fixes)
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestUpgradeIsNotGuessed(t *testing.T) {
	for name, fixes := range map[string][][]string{
		"no finding":                {},
		"a finding without a fix":   {{"1.0.0"}, {}},
		"texts without an order":    {{"b"}, {"c"}},
		"one text without an order": {{"1.0.0"}, {"c"}},
	} {
		if got, err := Upgrade("npm", "0.1.0", fixes); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got, err := Upgrade("generic", "1", [][]string{{"1.0-a"}, {"1.0-b"}}); err == nil {
		t.Errorf("a type without an order: %q", got)
	}
}

func TestHighest(t *testing.T) {
	if got, err := Highest("golang", []string{"1.26.6", "1.25.13", "1.9.0"}); err != nil || got != "1.26.6" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Highest("golang", nil); err == nil {
		t.Errorf("of nothing: %q", got)
	}
}

// FuzzUpgrade checks that the result of Upgrade is a fixed version, at least as high as a fix of
// each vulnerability, and higher than the installed version if such a fix exists.
func FuzzUpgrade(f *testing.F) {
	f.Add("golang", "1.25.3", "1.25.13", "1.26.6", "1.26.2")
	f.Add("deb", "1:1.0-1", "1:1.2", "1.3", "2:0")
	f.Add("generic", "1", "1.1", "1.2", "x")
	f.Fuzz(func(t *testing.T, purlType, installed, a, b, c string) {
		fixes := [][]string{{a, b}, {c}}
		got, err := Upgrade(purlType, installed, fixes)
		if err != nil {
			return
		}
		for _, versions := range fixes {
			reached := false
			for _, v := range versions {
				n, err := order(purlType, got, v)
				reached = reached || err == nil && n >= 0
			}
			if !reached {
				t.Errorf("%s: %q is below every one of %q", purlType, got, versions)
			}
		}
		if got != a && got != b && got != c {
			t.Errorf("%q is not a fixed version", got)
		}
	})
}

// TestUpgradeNeverGoesBack checks that Upgrade returns an error if all fixed versions are below the
// installed version. They belong to other release lines, so installing one would be a downgrade.
func TestUpgradeNeverGoesBack(t *testing.T) {
	for _, c := range []struct {
		purlType, installed string
		fixes               [][]string
	}{
		{"npm", "4.0.0", [][]string{{"3.2.1"}, {"4.0.5"}}},
		{"npm", "4.0.0", [][]string{{"3.2.1"}}},
		{"rpm", "1:2.1-1", [][]string{{"2.4-1"}, {"1:2.2-1"}}},
	} {
		if got, err := Upgrade(c.purlType, c.installed, c.fixes); err == nil {
			t.Errorf("%s %s with the fixes %v: %q", c.purlType, c.installed, c.fixes, got)
		}
	}
}
