package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checksums returns a checksums.txt with an archive for each platform, and other files.
func checksums(version string) string {
	var b strings.Builder
	for i, p := range platforms {
		ext := "tar.xz"
		if strings.HasPrefix(p, "windows") {
			ext = "zip"
		}
		fmt.Fprintf(&b, "%064x  imagegate_%s_%s.%s\n", i+1, version, p, ext)
		fmt.Fprintf(&b, "%064x  imagegate_%s_%s.%s.spdx.json\n", i+100, version, p, ext)
	}
	fmt.Fprintf(&b, "%064x  imagegate_%s_linux_amd64.deb\n", 99, version)
	return b.String()
}

// actions returns copies of the actions of this repository.
func actions(t *testing.T) []string {
	t.Helper()
	var files []string
	for i, from := range []string{"../../../action.yml", "../../../.github/actions/verify/action.yml"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), fmt.Sprintf("action%d.yml", i))
		write(t, file, string(data))
		files = append(files, file)
	}
	return files
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPinsFillBothActions(t *testing.T) {
	sums := filepath.Join(t.TempDir(), "checksums.txt")
	files := actions(t)
	for _, version := range []string{"0.2.0", "0.2.0", "0.3.0-rc.1"} { // again, and for the next release
		write(t, sums, checksums(version))
		if err := run(append([]string{sums}, files...)); err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{`        VERSION: "` + version + `"`, fmt.Sprintf(`        SHA256_LINUX_AMD64: "%064x"`, 1), fmt.Sprintf(`        SHA256_WINDOWS_ARM64: "%064x"`, 6)} {
				if strings.Count(string(data), want+"\n") != 1 {
					t.Errorf("%s: no line %q", file, want)
				}
			}
		}
	}
}

// TestPinsRefuseAnIncompleteRelease checks that no action changes if a checksum or a variable is
// missing or ambiguous.
func TestPinsRefuseAnIncompleteRelease(t *testing.T) {
	good := checksums("0.2.0")
	for name, c := range map[string]struct{ sums, cut, says string }{
		"no archives":        {"", "", "no archive for linux_amd64"},
		"a missing archive":  {strings.ReplaceAll(good, "darwin_arm64.tar.xz", "plan9_arm64.tar.xz"), "", "no archive for darwin_arm64"},
		"two versions":       {strings.Replace(good, "imagegate_0.2.0_darwin_arm64", "imagegate_0.3.0_darwin_arm64", 1), "", "the versions"},
		"two archives":       {good + good, "", "two archives"},
		"a wrong kind":       {strings.Replace(good, "windows_arm64.zip", "windows_arm64.tar.xz", 1), "", "no archive for windows_arm64"},
		"a missing variable": {good, "SHA256_DARWIN_ARM64", "the variable SHA256_DARWIN_ARM64 is set 0 times"},
	} {
		t.Run(name, func(t *testing.T) {
			sums := filepath.Join(t.TempDir(), "checksums.txt")
			write(t, sums, c.sums)
			files := actions(t)
			second, err := os.ReadFile(files[1])
			if err != nil {
				t.Fatal(err)
			}
			if c.cut != "" {
				write(t, files[1], strings.ReplaceAll(string(second), c.cut, "OTHER"))
			}
			before, _ := os.ReadFile(files[0])
			if err := run(append([]string{sums}, files...)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if after, _ := os.ReadFile(files[0]); !bytes.Equal(before, after) {
				t.Error("the first action changed")
			}
		})
	}
}
