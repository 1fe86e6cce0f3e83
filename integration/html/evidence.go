package main

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// now is the time of the run in every report, so that the pages are the same each time.
var now = time.Date(2026, 11, 30, 9, 12, 0, 0, time.UTC)

func day(offset int) time.Time { return now.Truncate(24*time.Hour).AddDate(0, 0, offset) }

// digest returns a made-up digest for a name. The same name always gives the same digest.
func digest(of string) string {
	sum := sha256.Sum256([]byte(of))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pkg is a package of the made-up image. Base packages are in layers of the base image.
type pkg struct {
	name, version, kind, license string
	base                         bool
}

// vulnerability is a finding of the made-up image. Fixed is how many days ago the fix became
// available, if there is a fix.
type vulnerability struct {
	id, alias, pkg, fix string
	severity            evidence.Severity
	fixed               int
	epss, cvss          float64
	kev                 bool
	text                string
}

const (
	negligible = evidence.SeverityNegligible
	low        = evidence.SeverityLow
	medium     = evidence.SeverityMedium
	high       = evidence.SeverityHigh
	critical   = evidence.SeverityCritical
	unknown    = evidence.SeverityUnknown
)

var packages = []pkg{
	{"libc6", "2.36-9+deb12u7", "deb", "LGPL-2.1-only", true},
	{"libc-bin", "2.36-9+deb12u7", "deb", "LGPL-2.1-only", true},
	{"libssl3", "3.0.13-1~deb12u1", "deb", "Apache-2.0", true},
	{"openssl", "3.0.13-1~deb12u1", "deb", "Apache-2.0", true},
	{"zlib1g", "1:1.2.13.dfsg-1", "deb", "Zlib", true},
	{"libexpat1", "2.5.0-1", "deb", "MIT", true},
	{"libpam-modules", "1.5.2-6+deb12u1", "deb", "BSD-3-Clause", true},
	{"libpam0g", "1.5.2-6+deb12u1", "deb", "BSD-3-Clause", true},
	{"libgnutls30", "3.7.9-2+deb12u2", "deb", "LGPL-2.1-or-later", true},
	{"perl-base", "5.36.0-7+deb12u1", "deb", "Artistic-2.0", true},
	{"libgcrypt20", "1.10.1-3", "deb", "LGPL-2.1-or-later", true},
	{"libsystemd0", "252.22-1~deb12u1", "deb", "LGPL-2.1-or-later", true},
	{"coreutils", "9.1-1", "deb", "GPL-3.0-or-later", true},
	{"tar", "1.34+dfsg-1.2", "deb", "GPL-3.0-only", true},
	{"bash", "5.2.15-2+b7", "deb", "GPL-3.0-or-later", true},
	{"dpkg", "1.21.22", "deb", "GPL-2.0-or-later", true},
	{"apt", "2.6.1", "deb", "GPL-2.0-or-later", true},
	{"ncurses-base", "6.4-4", "deb", "X11", true},
	{"util-linux", "2.38.1-5+b1", "deb", "GPL-2.0-or-later", true},
	{"login", "1:4.13+dfsg1-1+b1", "deb", "BSD-3-Clause", true},
	{"node", "20.11.1", "binary", "MIT", true},
	{"curl", "7.88.1-10+deb12u5", "deb", "curl", false},
	{"libcurl4", "7.88.1-10+deb12u5", "deb", "curl", false},
	{"express", "4.18.2", "npm", "MIT", false},
	{"body-parser", "1.20.1", "npm", "MIT", false},
	{"path-to-regexp", "0.1.7", "npm", "MIT", false},
	{"cookie", "0.5.0", "npm", "MIT", false},
	{"send", "0.18.0", "npm", "MIT", false},
	{"serve-static", "1.15.0", "npm", "MIT", false},
	{"qs", "6.11.0", "npm", "BSD-3-Clause", false},
	{"axios", "1.6.7", "npm", "MIT", false},
	{"follow-redirects", "1.15.5", "npm", "MIT", false},
	{"form-data", "4.0.0", "npm", "MIT", false},
	{"lodash", "4.17.20", "npm", "MIT", false},
	{"semver", "7.5.1", "npm", "ISC", false},
	{"ws", "8.16.0", "npm", "MIT", false},
	{"jsonwebtoken", "8.5.1", "npm", "MIT", false},
	{"cross-spawn", "7.0.3", "npm", "MIT", false},
	{"braces", "3.0.2", "npm", "MIT", false},
	{"micromatch", "4.0.5", "npm", "MIT", false},
	{"undici", "5.28.3", "npm", "MIT", false},
	{"tough-cookie", "4.1.2", "npm", "BSD-3-Clause", false},
	{"word-wrap", "1.2.3", "npm", "MIT", false},
	{"mongodb-memory-server", "9.1.6", "npm", "SSPL-1.0", false},
	{"debug", "2.6.9", "npm", "MIT", false},
	{"ms", "2.0.0", "npm", "MIT", false},
	{"shop-checkout", "2.14.0", "npm", "", false},
}

var vulnerabilities = []vulnerability{
	{"CVE-2023-45853", "", "zlib1g", "", critical, 0, 0.031, 9.8, false, "MiniZip in zlib through 1.3 has an integer overflow and a resulting heap-based buffer overflow in zipOpenNewFileInZip4_64 via a long filename, comment or extra field."},
	{"CVE-2024-45491", "", "libexpat1", "2.5.0-1+deb12u1", critical, 60, 0.012, 9.8, false, "dtdCopy in xmlparse.c in libexpat before 2.6.3 can have an integer overflow for nDefaultAtts on 32-bit platforms."},
	{"CVE-2024-45492", "", "libexpat1", "2.5.0-1+deb12u1", critical, 60, 0.013, 9.8, false, "nextScaffoldPart in xmlparse.c in libexpat before 2.6.3 can have an integer overflow for m_groupSize on 32-bit platforms."},
	{"CVE-2023-52425", "", "libexpat1", "2.5.0-1+deb12u1", high, 60, 0.009, 7.5, false, "libexpat through 2.5.0 allows a denial of service (resource consumption) because many full reparsings are required for a large token."},
	{"CVE-2024-28757", "", "libexpat1", "2.5.0-1+deb12u2", high, 21, 0.010, 7.5, false, "libexpat through 2.6.1 allows an XML entity expansion attack when there is isolated use of external parsers."},
	{"CVE-2024-2961", "", "libc6", "2.36-9+deb12u8", high, 70, 0.912, 7.3, true, "The iconv() function in the GNU C Library may overflow the output buffer passed to it by up to 4 bytes when converting strings to the ISO-2022-CN-EXT character set."},
	{"CVE-2024-33599", "", "libc-bin", "2.36-9+deb12u7", high, 8, 0.007, 7.6, false, "nscd: Stack-based buffer overflow in netgroup cache."},
	{"CVE-2024-33602", "", "libc-bin", "2.36-9+deb12u7", medium, 8, 0.006, 4.0, false, ""},
	{"CVE-2019-1010023", "", "libc6", "", negligible, 0, 0.008, 5.4, false, ""},
	{"CVE-2024-5535", "", "libssl3", "3.0.15-1~deb12u1", critical, 64, 0.046, 9.1, false, "Calling the OpenSSL API function SSL_select_next_proto with an empty supported client protocols buffer may cause a crash or memory contents to be sent to the peer."},
	{"CVE-2024-5535", "", "openssl", "3.0.15-1~deb12u1", critical, 64, 0.046, 9.1, false, "Calling the OpenSSL API function SSL_select_next_proto with an empty supported client protocols buffer may cause a crash or memory contents to be sent to the peer."},
	{"CVE-2024-6119", "", "libssl3", "3.0.14-1~deb12u2", high, 62, 0.022, 7.5, false, "Applications performing certificate name checks may attempt to read an invalid memory address, resulting in abnormal termination of the application process."},
	{"CVE-2024-9143", "", "libssl3", "3.0.15-1~deb12u1", low, 40, 0.005, 4.3, false, ""},
	{"CVE-2024-22365", "", "libpam0g", "1.5.2-6+deb12u2", medium, 9, 0.001, 5.5, false, ""},
	{"CVE-2025-6020", "", "libpam-modules", "1.5.2-6+deb12u2", high, 5, 0.002, 7.8, false, "The module pam_namespace in linux-pam may access user-controlled paths without proper protection, allowing local users to elevate their privileges to root."},
	{"CVE-2024-28834", "", "libgnutls30", "3.7.9-2+deb12u3", medium, 33, 0.004, 5.3, false, ""},
	{"CVE-2024-28835", "", "libgnutls30", "3.7.9-2+deb12u3", medium, 33, 0.003, 5.0, false, ""},
	{"CVE-2023-47038", "", "perl-base", "5.36.0-7+deb12u2", high, 11, 0.003, 7.8, false, "A crafted regular expression, when compiled by perl, can cause a one-byte attacker-controlled buffer overflow in a heap-allocated buffer."},
	{"CVE-2023-31484", "", "perl-base", "5.36.0-7+deb12u3", high, 4, 0.008, 8.1, false, "CPAN.pm before 2.35 does not verify TLS certificates when downloading distributions over HTTPS."},
	{"CVE-2024-2236", "", "libgcrypt20", "", medium, 0, 0.002, 5.9, false, ""},
	{"CVE-2018-6829", "", "libgcrypt20", "", negligible, 0, 0.007, 7.5, false, ""},
	{"CVE-2013-4392", "", "libsystemd0", "", negligible, 0, 0.001, 0, false, ""},
	{"CVE-2016-2781", "", "coreutils", "", low, 0, 0.001, 6.5, false, ""},
	{"CVE-2005-2541", "", "tar", "", negligible, 0, 0.011, 0, false, ""},
	{"CVE-2022-3219", "", "apt", "", low, 0, 0.001, 3.3, false, ""},
	{"CVE-2023-50495", "", "ncurses-base", "", medium, 0, 0.001, 6.5, false, ""},
	{"CVE-2022-0563", "", "util-linux", "", negligible, 0, 0.001, 5.5, false, ""},
	{"CVE-2023-4641", "", "login", "", medium, 0, 0.001, 5.5, false, ""},
	{"CVE-2024-27983", "", "node", "20.12.1", high, 120, 0.551, 8.2, false, "An attacker can make the Node.js HTTP/2 server unavailable by sending a small amount of HTTP/2 frames packets with a few HTTP/2 frames inside."},
	{"CVE-2024-22019", "", "node", "20.11.1", high, 6, 0.013, 7.5, false, "A vulnerability in Node.js HTTP servers allows an attacker to send a specially crafted HTTP request with chunked encoding, leading to resource exhaustion."},
	{"CVE-2024-2398", "", "libcurl4", "7.88.1-10+deb12u6", high, 48, 0.028, 8.6, false, "When an application tells libcurl it wants to allow HTTP/2 server push and the amount of received headers exceeds the limit, libcurl leaks memory."},
	{"CVE-2024-7264", "", "libcurl4", "7.88.1-10+deb12u7", medium, 30, 0.015, 6.5, false, ""},
	{"CVE-2024-2398", "", "curl", "7.88.1-10+deb12u6", high, 48, 0.028, 8.6, false, "When an application tells libcurl it wants to allow HTTP/2 server push and the amount of received headers exceeds the limit, libcurl leaks memory."},
	{"GHSA-qwcr-r2fm-qrc7", "CVE-2024-45590", "body-parser", "1.20.3", high, 80, 0.005, 7.5, false, "body-parser is vulnerable to denial of service when URL encoding is enabled."},
	{"GHSA-9wv6-86v2-598j", "CVE-2024-45296", "path-to-regexp", "0.1.10", high, 80, 0.002, 7.5, false, "In certain cases, path-to-regexp outputs a regular expression that can be exploited to cause poor performance."},
	{"GHSA-rhx6-c78j-4q9w", "CVE-2024-52798", "path-to-regexp", "0.1.12", high, 3, 0.003, 7.5, false, "The regular expression that is vulnerable to backtracking can be generated in versions before 0.1.12 of path-to-regexp."},
	{"GHSA-rv95-896h-c2vc", "CVE-2024-29041", "express", "4.19.2", medium, 90, 0.001, 6.1, false, ""},
	{"GHSA-qw6h-vgh9-j6wx", "CVE-2024-43796", "express", "4.20.0", low, 80, 0.001, 5.0, false, ""},
	{"GHSA-pxg6-pf52-xh8x", "CVE-2024-47764", "cookie", "0.7.0", low, 55, 0.001, 0, false, ""},
	{"GHSA-m6fv-jmcg-4jfg", "CVE-2024-43799", "send", "0.19.0", low, 80, 0.001, 5.0, false, ""},
	{"GHSA-cm22-4g7w-348p", "CVE-2024-43800", "serve-static", "1.16.0", low, 80, 0.001, 5.0, false, ""},
	{"GHSA-8hc4-vh64-cxmj", "CVE-2024-39338", "axios", "1.7.4", high, 100, 0.004, 7.5, false, "axios allows server-side request forgery via unexpected behavior where requests for path relative URLs get processed as protocol relative URLs."},
	{"GHSA-jr5f-v2jv-69x6", "CVE-2025-27152", "axios", "1.8.2", high, 7, 0.002, 7.7, false, "Requests to an absolute URL can leak credentials and allow server-side request forgery, even when a base URL is set."},
	{"GHSA-cxjh-pqwp-8mfp", "CVE-2024-28849", "follow-redirects", "1.15.6", medium, 90, 0.004, 6.5, false, ""},
	{"GHSA-fjxv-7rqg-78g4", "CVE-2025-7783", "form-data", "4.0.4", critical, 35, 0.006, 9.4, false, "form-data uses Math.random() to select a boundary value for multipart form-encoded data. An attacker who can observe other values can inject additional parameters."},
	{"GHSA-35jh-r3h4-6jhm", "CVE-2021-23337", "lodash", "4.17.21", high, 400, 0.012, 7.2, false, "Lodash versions prior to 4.17.21 are vulnerable to command injection via the template function."},
	{"GHSA-29mw-wpgm-hmr9", "CVE-2020-28500", "lodash", "4.17.21", medium, 400, 0.004, 5.3, false, ""},
	{"GHSA-c2qf-rxjj-qqgw", "CVE-2022-25883", "semver", "7.5.2", high, 400, 0.004, 7.5, false, "Versions of the package semver before 7.5.2 are vulnerable to regular expression denial of service via the function new Range."},
	{"GHSA-3h5v-q93c-6h6q", "CVE-2024-37890", "ws", "8.17.1", high, 150, 0.005, 7.5, false, "A request with a number of headers exceeding the server.maxHeadersCount threshold could be used to crash a ws server."},
	{"GHSA-8cf7-32gw-wr33", "CVE-2022-23539", "jsonwebtoken", "9.0.0", high, 400, 0.002, 8.1, false, "Versions up to 8.5.1 of jsonwebtoken could be misconfigured so that legacy, insecure key types are used for signature verification."},
	{"GHSA-hjrf-2m68-5959", "CVE-2022-23541", "jsonwebtoken", "9.0.0", medium, 400, 0.001, 6.3, false, ""},
	{"GHSA-3xgq-45jj-v275", "CVE-2024-21538", "cross-spawn", "7.0.5", high, 18, 0.002, 7.7, false, "Versions of the package cross-spawn before 7.0.5 are vulnerable to regular expression denial of service due to improper input sanitization."},
	{"GHSA-grv7-fg5c-xmjg", "CVE-2024-4068", "braces", "3.0.3", high, 170, 0.003, 7.5, false, "The NPM package braces fails to limit the number of characters it can handle, which could lead to memory exhaustion."},
	{"GHSA-952p-6rrq-rcjv", "CVE-2024-4067", "micromatch", "4.0.8", medium, 90, 0.002, 5.3, false, ""},
	{"GHSA-c76h-2ccp-4975", "CVE-2025-22150", "undici", "5.28.5", medium, 30, 0.001, 6.8, false, ""},
	{"GHSA-72xf-g2v4-qvf3", "CVE-2023-26136", "tough-cookie", "4.1.3", medium, 400, 0.021, 6.5, false, ""},
	{"GHSA-j8xg-fqg3-53r7", "CVE-2023-26115", "word-wrap", "1.2.4", medium, 400, 0.003, 5.3, false, ""},
	{"GHSA-gxpj-cx7g-858c", "CVE-2017-16137", "debug", "", unknown, 0, 0.009, 0, false, ""},
}

var platforms = []string{"linux/amd64", "linux/arm64"}

const (
	repository = "staging.example/shop/checkout"
	approved   = "registry.example/shop/checkout"
)

// input returns the evidence about the made-up image.
func input() evidence.Input {
	in := evidence.Input{
		Image: evidence.Image{Reference: repository + ":2.14.0", Repository: repository, Digest: digest("index"), MediaType: "application/vnd.oci.image.index.v1+json"},
		Database: evidence.Database{
			Schema: "6.1.9", Built: now.Add(-31 * time.Hour), Digest: digest("database"), Source: "https://grype.anchore.io/databases/v6/latest.json",
			Providers: []evidence.Provider{{Name: "debian", Captured: now.Add(-34 * time.Hour)}, {Name: "github", Captured: now.Add(-33 * time.Hour)},
				{Name: "kev", Captured: now.Add(-35 * time.Hour)}, {Name: "epss", Captured: now.Add(-36 * time.Hour)}},
			Advisories: []evidence.Advisories{{Distribution: "debian 12", Count: 38214}, {Type: "npm", Count: 5120}, {Type: "binary", Count: 1000, AtLeast: true, ByCPE: true}},
		},
		Baseline: baseline(),
		VEX: []evidence.VEXStatement{
			{ID: "CVE-2023-45853", Products: []string{"pkg:deb/debian/zlib1g"}, Status: evidence.VEXNotAffected, Justification: "vulnerable_code_not_present",
				Impact: "Debian does not build minizip into zlib1g", Document: "checkout.openvex.json", Author: "platform@shop.example", Timestamp: day(-12)},
			{ID: "CVE-2024-27983", Products: []string{"pkg:generic/node"}, Status: evidence.VEXUnderInvestigation, Document: "checkout.openvex.json", Author: "platform@shop.example", Timestamp: day(-3)},
		},
	}
	for _, name := range platforms {
		in.Platforms = append(in.Platforms, platform(name))
	}
	return in
}

// platform returns the evidence about one platform of the image. The layers have the same order on
// each platform.
func platform(name string) evidence.Platform {
	p := evidence.Platform{
		Platform: name, Digest: digest(name), Size: 78_412_004,
		Distribution: evidence.Distribution{ID: "debian", Version: "12", Name: "Debian GNU/Linux 12 (bookworm)", EndOfLife: time.Date(2028, 6, 30, 0, 0, 0, 0, time.UTC)},
		Base:         &evidence.Base{Name: "docker.io/library/node:20-bookworm-slim", Digest: digest("base" + name)},
		Config:       &evidence.ImageConfig{User: "", Created: now.Add(-4 * time.Hour), ExposedPorts: []string{"8080/tcp"}},
		Findings:     []evidence.Finding{}, Suppressed: []evidence.Suppressed{},
		Unknowns: []evidence.Unknown{{Location: evidence.Location{Path: "/srv/app/vendor/reports.jar", Layer: layer(name, 7)}, Cataloger: "java-archive", Reason: "unable to read zip: not a valid zip file", Class: evidence.UnknownArchive}},
	}
	for n := range 8 {
		p.Layers = append(p.Layers, evidence.Layer{Digest: digest(layer(name, n)), DiffID: layer(name, n), Size: int64(9_000_000 - n*800_000), FromBase: n < 4})
	}
	known := map[string]evidence.Package{}
	for n, one := range packages {
		found := one.found(name, n)
		p.Packages = append(p.Packages, found)
		found.Licenses = nil
		known[one.name] = found
	}
	own := known["shop-checkout"]
	p.Unmatched = []evidence.Unmatched{{Package: &own, Reason: evidence.FirstParty}}
	for _, v := range vulnerabilities {
		p.Findings = append(p.Findings, v.finding(known[v.pkg]))
	}
	return p
}

func layer(platform string, n int) string { return digest(platform + string(rune('a'+n))) }

func (p pkg) found(platform string, n int) evidence.Package {
	out := evidence.Package{Name: p.name, Version: p.version, Type: p.kind}
	if p.license != "" {
		out.Licenses = []string{p.license}
	}
	at := 4 + n%4
	if p.base {
		at = n % 4
	}
	path := "/var/lib/dpkg/status"
	switch p.kind {
	case "deb":
		out.PURL = "pkg:deb/debian/" + p.name + "@" + p.version + "?distro=debian-12"
	case "npm":
		out.PURL, path = "pkg:npm/"+p.name+"@"+p.version, "/srv/app/node_modules/"+p.name+"/package.json"
	default:
		out.PURL, path = "pkg:generic/"+p.name+"@"+p.version, "/usr/local/bin/"+p.name
	}
	out.Found = []evidence.Location{{Path: path, Layer: layer(platform, at)}}
	return out
}

func (v vulnerability) finding(p evidence.Package) evidence.Finding {
	f := evidence.Finding{
		ID: v.id, Package: p, Severity: v.severity, FixState: evidence.FixNone, Published: day(-30 - v.fixed), Description: v.text,
		EPSS: &evidence.EPSS{Score: v.epss, Percentile: 0.5, Date: day(-1)}, Namespace: "debian:distro:debian:12", URL: "https://security-tracker.debian.org/tracker/" + v.id,
		Matched: []evidence.Match{{Type: "exact-direct-match", Matcher: "dpkg-matcher", Constraint: "< " + v.fix}},
	}
	if p.Type == "npm" {
		f.Namespace, f.URL = "github:language:javascript", "https://github.com/advisories/"+v.id
	}
	if v.alias != "" {
		f.Aliases = []string{v.alias}
	}
	if v.cvss > 0 {
		f.CVSS = []evidence.CVSS{{Version: "3.1", Score: v.cvss}}
	}
	if v.kev {
		f.KEV = &evidence.KEV{Added: day(-40), Due: day(-19)}
	}
	if v.fix != "" {
		f.FixState, f.Fixes = evidence.FixAvailable, []evidence.Fix{{Version: v.fix, Available: day(-v.fixed)}}
	}
	return f
}

// baseline returns a baseline with the older findings, and with some findings that the image no
// longer has.
func baseline() *evidence.Baseline {
	b := &evidence.Baseline{Digests: []string{digest("approved")}}
	kinds := map[string]string{}
	for _, p := range packages {
		kinds[p.name] = p.kind
	}
	for _, name := range platforms {
		for _, v := range vulnerabilities {
			if v.severity == medium || v.severity == low || v.severity == negligible || v.id == "CVE-2023-45853" {
				b.Findings = append(b.Findings, evidence.BaselineFinding{Platform: name, ID: v.id, Type: kinds[v.pkg], Name: v.pkg})
			}
		}
		for _, gone := range []string{"CVE-2024-0553", "CVE-2024-0567"} {
			b.Findings = append(b.Findings, evidence.BaselineFinding{Platform: name, ID: gone, Type: "deb", Name: "libgnutls30"})
		}
		b.Findings = append(b.Findings, evidence.BaselineFinding{Platform: name, ID: "GHSA-wf5p-g6vw-rhxx", Aliases: []string{"CVE-2023-45857"}, Type: "npm", Name: "axios"})
	}
	return b
}
