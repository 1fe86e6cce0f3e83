package catalog

import (
	"testing"
)

// TestNoSpellingOfOSReleaseHidesTheDistribution checks that quoteRelease finds the distribution in
// every spelling of os-release that a shell reads as the same values.
func TestNoSpellingOfOSReleaseHidesTheDistribution(t *testing.T) {
	const want = "ID=\"debian\"\nVERSION_ID=\"12\"\n"
	for name, content := range map[string]string{
		"no quotes":           "ID=debian\nVERSION_ID=12\n",
		"double quotes":       "ID=\"debian\"\nVERSION_ID=\"12\"\n",
		"single quotes":       "ID='debian'\nVERSION_ID='12'\n",
		"mixed quotes":        "ID='deb'\"ian\"\nVERSION_ID=1'2'\n",
		"escapes":             "ID=deb\\ian\nVERSION_ID=\\12\n",
		"escape in quotes":    "ID=\"debian\"\nVERSION_ID='12'\nNAME=\n",
		"Windows line ends":   "ID=debian\r\nVERSION_ID='12'\r\n",
		"no last line end":    "ID=debian\nVERSION_ID='12'",
		"a byte order mark":   "\ufeffID=debian\nVERSION_ID='12'",
		"blanks":              "  ID = debian  \n\tVERSION_ID='12'\t\n\n",
		"comments":            "# ID=alpine\nID=debian # not alpine\n  # VERSION_ID=3\nVERSION_ID='12' # bookworm\n",
		"export":              "export ID=debian\nexport VERSION_ID='12'\n",
		"a later value":       "ID=alpine\nVERSION_ID='3'\nID='debian'\nVERSION_ID=12\n",
		"lines of other text": "hello\nID=debian\n=x\n1=2\nVERSION_ID=12\nfoo-bar=1\n",
	} {
		if got := string(quoteRelease([]byte(content))); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestValuesInOSRelease(t *testing.T) {
	for written, want := range map[string]string{
		`'Debian GNU/Linux 12 (bookworm)'`: `Debian GNU/Linux 12 (bookworm)`,
		`Red Hat Linux`:                    `Red Hat Linux`,
		`"it's"`:                           `it's`,
		`'it'\''s'`:                        `it's`,
		`"a \"b\" \$c \\d \e"`:             `a "b" $c \d \e`,
		`'a\b'`:                            `a\b`,
		`https://x/#fragment`:              `https://x/#fragment`,
		`"rhel centos"`:                    `rhel centos`,
	} {
		if got, ok := unquote(written); got != want || !ok {
			t.Errorf("%s: %q, %v", written, got, ok)
		}
	}
}

// TestUnreadableOSReleaseNamesNoDistribution checks that quoteRelease returns no distribution if a
// value is empty or a line is malformed. syft and the image's own programs may read a malformed
// line differently.
func TestUnreadableOSReleaseNamesNoDistribution(t *testing.T) {
	for _, content := range []string{"ID='debian\n", "ID=\"debian\n", "ID=debian'\n", "ID=debian\\", "ID=alpine\nID='debian\n", "ID=\n", "ID=''\n", "#ID=debian\n", "\x00\xff"} {
		if got := string(quoteRelease([]byte(content))); got != "" {
			t.Errorf("%q: %q", content, got)
		}
	}
}
