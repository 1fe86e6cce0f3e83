package lab

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// Deb is an installed Debian package.
type Deb struct {
	Name, Version string
	// Source is the source package in dpkg's notation: "openssl" or "openssl (3.0.1-1)". Default:
	// the name of the package.
	Source string
	// Arch is dpkg's name of the architecture. Default: the architecture of the image.
	Arch string
	// License is the short name of the license in the package's copyright file. Default: the
	// package has no copyright file.
	License string
	// Files are further files of the package. The package database has their checksums.
	Files []File
}

// Apk is an installed Alpine or Wolfi package.
type Apk struct {
	Name, Version string
	// Origin is the source package. Default: Name.
	Origin string
	// Arch is apk's name of the architecture. Default: the architecture of the image.
	Arch    string
	License string
	// Files are files of the package. The package database has their checksums.
	Files []File
}

// NPM is an installed npm package.
type NPM struct {
	// Name may have a scope, "@scope/name".
	Name, Version, License string
}

// install returns the files of the os-release file, the packages and the Go binary.
func install(spec ImageSpec, arch string) ([]File, error) {
	files := osRelease(spec.OSRelease)
	files = append(files, dpkg(spec.DebPackages, arch)...)
	files = append(files, apk(spec.ApkPackages, spec.OSRelease, arch)...)
	for _, p := range spec.NPM {
		manifest, err := json.MarshalIndent(struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			License string `json:"license,omitempty"`
		}{p.Name, p.Version, p.License}, "", "  ")
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: "usr/lib/node_modules/" + p.Name + "/package.json", Content: string(manifest) + "\n"})
	}
	if len(spec.GoBinary) > 0 {
		files = append(files, File{Path: spec.binaryPath(), Content: string(spec.GoBinary), Mode: 0o755})
	}
	return files, nil
}

// osRelease returns the os-release file in /usr/lib and the link to it in /etc; see os-release(5).
func osRelease(release string) []File {
	id, version, _ := strings.Cut(release, " ")
	if id == "" {
		return nil
	}
	name := map[string]string{
		"debian": "Debian GNU/Linux", "ubuntu": "Ubuntu", "alpine": "Alpine Linux", "wolfi": "Wolfi",
		"rhel": "Red Hat Enterprise Linux", "rocky": "Rocky Linux", "almalinux": "AlmaLinux",
	}[id]
	if name == "" {
		name = id
	}
	var b strings.Builder
	fmt.Fprintf(&b, "PRETTY_NAME=%q\nNAME=%q\nID=%s\n", strings.TrimSpace(name+" "+version), name, id)
	if version != "" {
		fmt.Fprintf(&b, "VERSION_ID=%q\n", version)
	}
	if like := map[string]string{"ubuntu": "debian", "rocky": "rhel centos fedora", "almalinux": "rhel centos fedora"}[id]; like != "" {
		fmt.Fprintf(&b, "ID_LIKE=%q\n", like)
	}
	return []File{
		{Path: "usr/lib/os-release", Content: b.String()},
		{Path: "etc/os-release", Link: "../usr/lib/os-release"},
	}
}

// RemoveOSRelease returns a layer that deletes the os-release files. The distribution is then
// unknown, so the advisories of the distribution are not matched.
func RemoveOSRelease() []File {
	return []File{Whiteout("etc/os-release"), Whiteout("usr/lib/os-release")}
}

// dpkg returns the status database and the files of the packages; see deb-control(5) and
// dpkg-query(1).
func dpkg(packages []Deb, arch string) []File {
	if len(packages) == 0 {
		return nil
	}
	if other, ok := map[string]string{"386": "i386", "arm": "armhf", "ppc64le": "ppc64el"}[arch]; ok {
		arch = other
	}
	var status strings.Builder
	var files []File
	for _, p := range packages {
		if p.Arch == "" {
			p.Arch = arch
		}
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nPriority: optional\nSection: misc\nInstalled-Size: 64\n", p.Name)
		fmt.Fprintf(&status, "Maintainer: Lab <lab@example.invalid>\nArchitecture: %s\n", p.Arch)
		if p.Source != "" {
			fmt.Fprintf(&status, "Source: %s\n", p.Source)
		}
		fmt.Fprintf(&status, "Version: %s\nDescription: %s, as installed by the lab\n\n", p.Version, p.Name)

		list, sums := "/.\n", ""
		if p.License != "" {
			at := "usr/share/doc/" + p.Name + "/copyright"
			text := "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: none\nLicense: " + p.License + "\n"
			sum := md5.Sum([]byte(text)) // dpkg writes MD5 checksums
			files = append(files, File{Path: at, Content: text})
			list += "/" + at + "\n"
			sums = hex.EncodeToString(sum[:]) + "  " + at + "\n"
		}
		for _, f := range p.Files {
			files = append(files, f)
			list += "/" + f.Path + "\n"
			if f.Link == "" { // dpkg does not record a checksum for a link
				sum := md5.Sum([]byte(f.Content))
				sums += hex.EncodeToString(sum[:]) + "  " + f.Path + "\n"
			}
		}
		files = append(files,
			File{Path: "var/lib/dpkg/info/" + p.Name + ".list", Content: list},
			File{Path: "var/lib/dpkg/info/" + p.Name + ".md5sums", Content: sums})
	}
	return append([]File{{Path: "var/lib/dpkg/status", Content: status.String()}}, files...)
}

// apk returns the database of installed packages and their files; see apk-db(5).
func apk(packages []Apk, release, arch string) []File {
	if len(packages) == 0 {
		return nil
	}
	if other, ok := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "x86", "arm": "armv7"}[arch]; ok {
		arch = other
	}
	var installed, world strings.Builder
	var owned []File
	for _, p := range packages {
		if p.Arch == "" {
			p.Arch = arch
		}
		if p.Origin == "" {
			p.Origin = p.Name
		}
		sum := sha1.Sum([]byte(p.Name + "-" + p.Version)) // apk writes SHA-1 checksums
		fmt.Fprintf(&installed, "C:Q1%s\nP:%s\nV:%s\nA:%s\nS:1024\nI:4096\n", base64.StdEncoding.EncodeToString(sum[:]), p.Name, p.Version, p.Arch)
		fmt.Fprintf(&installed, "T:%s, as installed by the lab\nU:https://example.invalid/%s\n", p.Name, p.Name)
		if p.License != "" {
			fmt.Fprintf(&installed, "L:%s\n", p.License)
		}
		fmt.Fprintf(&installed, "o:%s\nm:Lab <lab@example.invalid>\nt:%d\n", p.Origin, Created.Unix())
		for _, f := range p.Files {
			sum := sha1.Sum([]byte(f.Content))
			fmt.Fprintf(&installed, "F:%s\nR:%s\na:0:0:644\nZ:Q1%s\n", path.Dir(f.Path), path.Base(f.Path), base64.StdEncoding.EncodeToString(sum[:]))
			owned = append(owned, f)
		}
		fmt.Fprintln(&installed)
		fmt.Fprintln(&world, p.Name)
	}
	files := []File{
		{Path: "lib/apk/db/installed", Content: installed.String()},
		{Path: "etc/apk/world", Content: world.String()},
	}
	files = append(files, owned...)
	if id, version, _ := strings.Cut(release, " "); id == "alpine" {
		if parts := strings.SplitN(version, ".", 3); len(parts) >= 2 {
			files = append(files, File{
				Path:    "etc/apk/repositories",
				Content: "https://dl-cdn.alpinelinux.org/alpine/v" + parts[0] + "." + parts[1] + "/main\n",
			})
		}
	}
	return files
}
