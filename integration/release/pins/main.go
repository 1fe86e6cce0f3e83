// Command pins writes the version and the SHA-256 of each archive of a release into the actions of
// this repository. The release process runs it after a release:
//
//	go run ./integration/release/pins checksums.txt action.yml .github/actions/verify/action.yml
//
// The checksums must name exactly one version, and an archive for each platform of the actions. If a
// file cannot be changed, pins changes none. Running it again changes nothing.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pins:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: pins checksums.txt ACTION.yml...")
	}
	sums, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	values, err := pins(sums)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	changed := make([][]byte, len(args)-1)
	for i, file := range args[1:] {
		action, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if changed[i], err = fill(action, values); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	for i, file := range args[1:] {
		if err := os.WriteFile(file, changed[i], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// platforms are the platforms of the archives, in the spelling of the file names.
var platforms = []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64", "windows_amd64", "windows_arm64"}

var archive = regexp.MustCompile(`^([0-9a-f]{64}) [ *]imagegate_([0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?)_([a-z]+_[a-z0-9]+)\.(tar\.xz|zip)$`)

// pins returns the value of each variable in an action.
func pins(sums []byte) (map[string]string, error) {
	values := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(sums)); lines.Scan(); {
		m := archive.FindStringSubmatch(lines.Text())
		if m == nil || !slices.Contains(platforms, m[3]) || (m[4] == "zip") != strings.HasPrefix(m[3], "windows") {
			continue // a package or an SBOM
		}
		name := "SHA256_" + strings.ToUpper(m[3])
		if values[name] != "" {
			return nil, fmt.Errorf("two archives for %s", m[3])
		}
		if values["VERSION"] != "" && values["VERSION"] != m[2] {
			return nil, fmt.Errorf("the archives have the versions %s and %s", values["VERSION"], m[2])
		}
		values["VERSION"], values[name] = m[2], m[1]
	}
	for _, p := range platforms {
		if values["SHA256_"+strings.ToUpper(p)] == "" {
			return nil, fmt.Errorf("no archive for %s", p)
		}
	}
	return values, nil
}

// fill sets the variables in an action. Every variable must be there once.
func fill(action []byte, values map[string]string) ([]byte, error) {
	for name, value := range values {
		line := regexp.MustCompile(`(?m)^( +` + name + `:) "[^"\n]*"$`)
		if n := len(line.FindAll(action, -1)); n != 1 {
			return nil, fmt.Errorf("the variable %s is set %d times, not once", name, n)
		}
		action = line.ReplaceAll(action, []byte(`${1} "`+value+`"`))
	}
	return action, nil
}
