package vulndb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/anchore/grype/grype/db/processors"
	"github.com/anchore/grype/grype/db/provider"
	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/build/transformers"
	osbuild "github.com/anchore/grype/grype/db/v6/build/transformers/os"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/syft/syft/pkg"
)

// ecosystem describes an OSV ecosystem in grype's terms: the package type, the version format and
// the distribution's release.
type ecosystem struct {
	typ    pkg.Type
	format string // the version format, as named in the database
	// system is the release of the distribution. It is nil for a language ecosystem.
	system *v6.OperatingSystem
}

// languages maps OSV's ecosystems for languages to grype's package types, with the version format
// that each matcher uses.
var languages = map[string]ecosystem{
	"crates.io":      {typ: pkg.RustPkg, format: "semver"},
	"GitHub Actions": {typ: pkg.GithubActionPkg, format: "semver"},
	"Go":             {typ: pkg.GoModulePkg, format: "go"},
	"Hex":            {typ: pkg.HexPkg, format: "semver"},
	"Maven":          {typ: pkg.JavaPkg, format: "maven"},
	"npm":            {typ: pkg.NpmPkg, format: "semver"},
	"NuGet":          {typ: pkg.DotnetPkg, format: "semver"},
	"Packagist":      {typ: pkg.PhpComposerPkg, format: "semver"},
	"Pub":            {typ: pkg.DartPubPkg, format: "semver"},
	"PyPI":           {typ: pkg.PythonPkg, format: "python"},
	"RubyGems":       {typ: pkg.GemPkg, format: "gem"},
	"SwiftURL":       {typ: pkg.SwiftPkg, format: "semver"},
}

// distributions maps OSV's ecosystems for distributions to grype's names. A key is the part of the
// ecosystem's name before the colon, such as "Debian".
var distributions = map[string]struct {
	namespace string
	typ       pkg.Type
	format    string
	rolling   bool
}{
	"Alpine":     {namespace: "alpine", typ: pkg.ApkPkg, format: "apk"},
	"Chainguard": {namespace: "chainguard", typ: pkg.ApkPkg, format: "apk", rolling: true},
	"Debian":     {namespace: "debian", typ: pkg.DebPkg, format: "dpkg"},
	"Ubuntu":     {namespace: "ubuntu", typ: pkg.DebPkg, format: "dpkg"},
	"Wolfi":      {namespace: "wolfi", typ: pkg.ApkPkg, format: "apk", rolling: true},
}

// lookupEcosystem parses OSV's name of an ecosystem, such as "npm" or "Debian:12".
func lookupEcosystem(osv string, state provider.State) (*ecosystem, error) {
	if eco, ok := languages[osv]; ok {
		return &eco, nil
	}
	family, release, _ := strings.Cut(osv, ":")
	d, ok := distributions[family]
	if !ok {
		known := slices.Concat(slices.Collect(maps.Keys(languages)), slices.Collect(maps.Keys(distributions)))
		slices.Sort(known)
		return nil, fmt.Errorf("ecosystem %q is not supported; supported ecosystems: %s", osv, strings.Join(known, ", "))
	}
	switch {
	case d.rolling && release == "":
		release = "rolling"
	case family == "Alpine":
		release = strings.TrimPrefix(release, "v")
	case family == "Ubuntu":
		release = strings.TrimSuffix(release, ":LTS")
	}
	if release == "" || strings.ContainsAny(release, ": +") {
		return nil, fmt.Errorf("ecosystem %q does not name a release of %s", osv, family)
	}
	system, err := operatingSystem(d.namespace+":"+release, d.format, state)
	if err != nil {
		return nil, fmt.Errorf("ecosystem %q: %w", osv, err)
	}
	return &ecosystem{typ: d.typ, format: d.format, system: system}, nil
}

// operatingSystem returns grype's description of a release. The description must have the codename,
// or grype would never find the row. grype's table of codenames is internal, so operatingSystem
// lets grype process a made-up record and reads the result.
func operatingSystem(namespace, format string, state provider.State) (*v6.OperatingSystem, error) {
	type fixedIn struct{ Name, NamespaceName, Version, VersionFormat string }
	type vulnerability struct {
		Name, NamespaceName string
		FixedIn             []fixedIn
	}
	record, err := json.Marshal(map[string]vulnerability{"Vulnerability": {
		Name: "CVE-0000-0000", NamespaceName: namespace,
		FixedIn: []fixedIn{{Name: "any", NamespaceName: namespace, Version: "1", VersionFormat: format}},
	}})
	if err != nil {
		return nil, err
	}
	entries, err := processors.NewV2OSProcessor(osbuild.Transform).Process(bytes.NewReader(record), state)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		row, ok := e.Data.(transformers.RelatedEntries)
		if !ok {
			continue
		}
		for _, related := range row.Related {
			if h, ok := related.(v6.AffectedPackageHandle); ok && h.OperatingSystem != nil {
				return h.OperatingSystem, nil
			}
		}
	}
	return nil, fmt.Errorf("grype does not support the distribution %s", namespace)
}

// parse parses a version in the format of the ecosystem. It returns an error if grype cannot
// compare the version with others.
func (e *ecosystem) parse(raw string) (*version.Version, error) {
	v := version.New(raw, e.parsed())
	if strings.ContainsAny(raw, " ,|<>=()\"'") {
		return nil, fmt.Errorf("version %q is not a single version", raw)
	}
	if err := v.Validate(); err != nil {
		return nil, fmt.Errorf("version %q is not a valid version of type %s: %w", raw, e.typ, err)
	}
	return v, nil
}

func (e *ecosystem) parsed() version.Format { return version.ParseFormat(e.format) }

// isPackageType reports whether grype has a package type with this name.
func isPackageType(ecosystem string) bool {
	return slices.Contains(pkg.AllPkgs, pkg.Type(ecosystem))
}
