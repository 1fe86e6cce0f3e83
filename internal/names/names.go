// Package names gives every image repository one spelling, so that names can be compared as text.
//
// [Normalize] rewrites a reference for requests: the new spelling reaches the same registry.
// [Canonical] returns the name for comparisons: different addresses of one registry become equal.
// [Pattern] returns a pattern in the form that is compared with canonical names. [Spellings] lists
// the other spellings of a canonical name that a pattern with a wildcard in its host may match.
//
// The package does not resolve DNS names. So a registry with a second DNS name, or one that is also
// used by its IP address, still has several names.
package names

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// DockerHub is the canonical host of Docker Hub.
const DockerHub = "docker.io"

// wireDockerHub is the host that the registry client connects to.
const wireDockerHub = "index.docker.io"

// hubHosts are the hosts that serve Docker Hub.
var hubHosts = []string{DockerHub, wireDockerHub, "registry-1.docker.io", "registry.hub.docker.com"}

// loopbackHosts are the most common names of this machine. isLoopback also accepts others.
var loopbackHosts = []string{"localhost", "127.0.0.1", "[::1]"}

const loopback = "localhost"

// Transports of images that are not in a registry, as in gate.Transport.
var (
	pathTransports = []string{"oci", "oci-archive", "docker-archive"}
	transports     = append([]string{daemon}, pathTransports...)
)

const (
	daemon         = "docker-daemon"
	registryPrefix = "docker://"
)

// IsLocal reports whether a name or pattern begins with a transport such as "oci:", so that it is
// about images that are not in a registry.
func IsLocal(name string) bool {
	_, _, local := cutTransport(name)
	return local
}

func cutTransport(name string) (transport, rest string, local bool) {
	transport, rest, ok := strings.Cut(name, ":")
	return transport, rest, ok && slices.Contains(transports, transport)
}

// Canonical returns the name of a repository for comparisons with other names and with patterns.
// Canonical is idempotent.
//
// For a registry, the host is in lower case, without a trailing dot and without the ports 80 and
// 443. All hosts of Docker Hub become docker.io, and all loopback addresses become localhost. A
// name without a registry is on Docker Hub, where "library/" is added to a name of one element. For
// an image outside registries, the transport is part of the name: "oci:builds/app".
func Canonical(name string) string {
	if transport, rest, local := cutTransport(name); local {
		if transport == daemon {
			return transport + ":" + Canonical(rest)
		}
		return transport + ":" + cleanPath(rest)
	}
	if name = strings.TrimPrefix(name, registryPrefix); name == "" {
		return ""
	}
	host, repository := split(name)
	return join(Host(host), path.Clean("/" + repository)[1:])
}

// split separates the host and the repository of a name as the docker command does. A name without
// a host is on Docker Hub. On Docker Hub, "library/" is added to a repository of one element. The
// repository is returned in lower case.
func split(name string) (host, repository string) {
	host, repository, ok := strings.Cut(name, "/")
	if ok && isHost(host) {
		if slices.Contains(hubHosts, Host(host)) && !strings.Contains(repository, "/") {
			repository = "library/" + repository
		}
		return host, lower(repository)
	}
	if !ok {
		name = "library/" + name
	}
	return DockerHub, lower(name)
}

// isHost reports whether the first component of a name is a registry: it contains a dot or a colon,
// or it is "localhost".
func isHost(component string) bool {
	return strings.ContainsAny(component, ".:") || lower(component) == loopback
}

// join joins a host and a repository. If the result could be read as the path of a folder or file,
// such as "oci:5000/app", join adds the prefix "docker://".
func join(host, repository string) string {
	if name := host + "/" + repository; !IsLocal(name) {
		return name
	}
	return registryPrefix + host + "/" + repository
}

func cleanPath(p string) string {
	if p == "" {
		return ""
	}
	return path.Clean(p)
}

// Host returns the canonical form of a registry's host with its port.
func Host(s string) string {
	name, port := splitPort(lower(s))
	name = canonicalHost(name)
	return name + canonicalPort(name, port)
}

func canonicalHost(host string) string {
	host = strings.TrimRight(host, ".")
	if slices.Contains(hubHosts, host) {
		return DockerHub
	}
	if isLoopback(host) {
		return loopback
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr = addr.Unmap(); addr.Is6() {
			return "[" + addr.String() + "]"
		}
		return addr.String()
	}
	return host
}

// canonicalPort returns ":" and the port, or "" for the default ports 80 and 443. A host of one
// label always has a port, because without a port it would look like a repository on Docker Hub.
func canonicalPort(host, port string) string {
	port = trimZeros(port)
	switch {
	case !isHost(host):
		return ":" + cmp.Or(port, "443")
	case port == "", port == "80", port == "443":
		return ""
	}
	return ":" + port
}

func trimZeros(port string) string {
	if trimmed := strings.TrimLeft(port, "0"); trimmed != "" || port == "" {
		return trimmed
	}
	return "0"
}

// IsLoopback reports whether a host, with or without a port, is this machine.
func IsLoopback(s string) bool {
	host, _ := splitPort(lower(s))
	return isLoopback(strings.TrimRight(host, "."))
}

// isLoopback reports whether a host is this machine. It accepts the unspecified addresses, because
// they connect to this machine, and the names below localhost:
// https://www.rfc-editor.org/rfc/rfc6761#section-6.3
func isLoopback(host string) bool {
	if host == loopback || strings.HasSuffix(host, "."+loopback) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && (addr.Unmap().IsLoopback() || addr.Unmap().IsUnspecified())
}

// splitPort separates a host from its port. IPv6 addresses are returned without brackets.
func splitPort(s string) (host, port string) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, port, _ = strings.Cut(rest, "]")
		return host, strings.TrimPrefix(port, ":")
	}
	if strings.Count(s, ":") > 1 { // several colons are an IPv6 address without brackets
		return s, ""
	}
	host, port, _ = strings.Cut(s, ":")
	return host, port
}

// lower converts ASCII letters to lower case. It leaves other letters unchanged, as DNS does.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Pattern returns the canonical form of a pattern for image names. "*" matches any characters. The
// rules of [Canonical] apply unless the host has a wildcard. Like a reference, a pattern without a
// registry means Docker Hub. A pattern that begins with a wildcard means all registries.
func Pattern(pattern string) string {
	if transport, rest, local := cutTransport(pattern); local {
		if transport == daemon {
			return transport + ":" + strings.TrimPrefix(Pattern(rest), registryPrefix)
		}
		return transport + ":" + cleanPathPattern(rest)
	}
	if strings.Trim(pattern, "*") == "" {
		return "*"
	}
	pattern = lower(strings.TrimPrefix(pattern, registryPrefix))
	host, repository, ok := strings.Cut(pattern, "/")
	name, port := splitPort(host)
	switch {
	case strings.Contains(name, "*"):
		return pattern
	case !ok:
		return join(DockerHub, "library/"+pattern)
	case !isHost(host):
		return join(DockerHub, pattern)
	}
	name = canonicalHost(name)
	if name == DockerHub && !strings.ContainsAny(repository, "/*") {
		repository = "library/" + repository
	}
	if strings.Contains(port, "*") {
		return join(name+":"+port, repository)
	}
	return join(name+canonicalPort(name, port), repository)
}

func cleanPathPattern(p string) string {
	if !strings.Contains(p, "*") {
		return cleanPath(p)
	}
	// "./*" must not become "*", because "*" also matches absolute paths.
	if rest, ok := strings.CutPrefix(p, "./"); ok && !strings.HasPrefix(rest, "*") {
		return rest
	}
	return p
}

// Spellings returns the possible spellings of a canonical name, for comparison with a pattern that
// has a wildcard in its host or port. The canonical name comes first.
func Spellings(canonical string) []string {
	out := []string{canonical}
	host, repository, ok := strings.Cut(canonical, "/")
	if !ok || IsLocal(canonical) || strings.HasPrefix(canonical, registryPrefix) {
		return out
	}
	name, port := splitPort(host)
	ports := []string{"", ":443", ":80"}
	if port != "" {
		ports = []string{":" + port}
	}
	hosts, repositories := []string{strings.TrimSuffix(host, ":"+port)}, []string{repository}
	switch name {
	case DockerHub:
		hosts = hubHosts
		if short, ok := strings.CutPrefix(repository, "library/"); ok {
			repositories = append(repositories, short)
		}
	case loopback:
		hosts = loopbackHosts
	}
	for _, h := range hosts {
		for _, p := range ports {
			for _, r := range repositories {
				if s := h + p + "/" + r; s != canonical {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// Normalize rewrites the registry of a reference to the spelling for requests: lower case, without
// a trailing dot, without leading zeros in the port, and without port 443 after a DNS name. The
// rest of the reference is unchanged.
//
// Normalize rejects names that a resolver, an HTTP client or a registry may read as another name:
// letters outside ASCII, numeric hosts that are not IP addresses, empty ports, and the path
// elements "", "." and "..".
func Normalize(ref string) (string, error) {
	host, rest, ok := strings.Cut(ref, "/")
	if !ok || !isHost(host) {
		return ref, checkPath(ref)
	}
	normal, err := NormalizeHost(host)
	if err != nil {
		return "", fmt.Errorf("registry %q: %w", host, err)
	}
	return normal + "/" + rest, checkPath(rest)
}

// checkPath rejects path elements that servers and proxies remove.
func checkPath(rest string) error {
	for element := range strings.SplitSeq(rest, "/") {
		if i := strings.IndexAny(element, ":@"); i >= 0 {
			element = element[:i]
		}
		if element == "" || element == "." || element == ".." {
			return fmt.Errorf("repository %q has an empty, \".\" or \"..\" element", rest)
		}
	}
	return nil
}

// NormalizeHost is like [Normalize], for a host with an optional port.
func NormalizeHost(s string) (string, error) {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return "", errors.New("the host name contains characters that are not printable ASCII: write an international name in its xn-- form")
		}
	}
	host, port := splitPort(lower(s))
	bracketed := strings.HasPrefix(s, "[")
	if _, after, closed := strings.Cut(s, "]"); bracketed != closed || after != "" && after[0] != ':' {
		return "", errors.New("the brackets around an IPv6 address do not match")
	}
	host = strings.TrimSuffix(host, ".")
	if err := checkHost(host, bracketed); err != nil {
		return "", err
	}
	if strings.HasSuffix(s, ":") {
		return "", errors.New("the port is empty")
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "", fmt.Errorf("invalid port %q", port)
		}
		port = trimZeros(port)
	}
	if slices.Contains(hubHosts, host) && (port == "" || port == "443") {
		return wireDockerHub, nil
	}
	_, notAddress := netip.ParseAddr(host)
	switch {
	case !bracketed && !isHost(host):
		port = cmp.Or(port, "443") // without a port, the host would be read as part of the repository
	case port == "443" && notAddress != nil && !isLoopback(host):
		port = "" // the client always uses TLS for a DNS name on port 443
	}
	if bracketed {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return host, nil
}

// checkHost rejects hosts that some resolvers read as an IP address, such as "127.1" and
// "0x7f000001".
func checkHost(host string, bracketed bool) error {
	addr, err := netip.ParseAddr(host)
	switch {
	case bracketed && (err != nil || !addr.Is6() || addr.Zone() != ""):
		return errors.New("the text in brackets is not an IPv6 address")
	case !bracketed && strings.Contains(host, ":"):
		return errors.New("the host has several colons: write an IPv6 address in brackets")
	case err == nil:
		return nil
	case strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "":
		return errors.New("the host name contains an invalid character")
	}
	labels := strings.Split(host, ".")
	if slices.Contains(labels, "") {
		return errors.New("the host name has an empty label")
	}
	if last := labels[len(labels)-1]; isNumeric(last) {
		return errors.New("the host is neither an IP address nor a DNS name")
	}
	return nil
}

func isNumeric(label string) bool {
	if strings.HasPrefix(label, "0x") {
		return true
	}
	return strings.Trim(label, "0123456789") == ""
}
