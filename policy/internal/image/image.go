// Package image checks the conditions of rules about how an image is built: its user, labels,
// ports, base and reference.
package image

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

var wholeNumber = regexp.MustCompile(`^[+-]?[0-9]+$`)

// RunsAsRoot reports whether a container of an image with this user may run as root. A number
// counts as a user other than root only from 1 to 2147483647, because runtimes differ in how they
// read numbers outside of this range.
func RunsAsRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	name = strings.TrimSpace(name)
	if wholeNumber.MatchString(name) {
		uid, err := strconv.ParseInt(name, 10, 64)
		return err != nil || uid <= 0 || uid > math.MaxInt32
	}
	return name == "" || name == "root" || strings.EqualFold(name, "ContainerAdministrator") // ContainerAdministrator is the administrator on Windows
}

// CheckLabel returns an error for a label without a name, and for a name with "*".
func CheckLabel(s string) error {
	if name, _, _ := strings.Cut(s, "="); strings.TrimSpace(name) != name || name == "" || strings.Contains(name, "*") {
		return fmt.Errorf("%q is not a label: expected name or name=pattern", s)
	}
	return nil
}

// LabelFault returns how the image violates the requirement of one label, or "".
func LabelFault(c *evidence.ImageConfig, want string) string {
	name, pattern, ok := strings.Cut(want, "=")
	value, there := c.Labels[name]
	switch {
	case !there:
		return fmt.Sprintf("the image has no label %q", name)
	case !ok && strings.TrimSpace(value) == "":
		return fmt.Sprintf("the label %q is blank", name)
	case ok && !match.NewGlob(pattern).Match(value) && slices.Contains(c.HiddenLabels, name):
		return fmt.Sprintf("the label %q must match %q; its value looks like a credential and is not shown", name, pattern)
	case ok && !match.NewGlob(pattern).Match(value):
		return fmt.Sprintf("the label %q is %s and must match %q", name, wording.Quote(value), pattern)
	}
	return ""
}

// BaseFault returns how the base image violates the rule, or "".
func BaseFault(base *evidence.Base, allowed []string) string {
	if base == nil || base.Name == "" && base.Digest == "" {
		return "the image does not name its base image"
	}
	if base.Digest != "" && match.Any(allowed, base.Digest) || base.Name != "" && match.AnyReference(allowed, base.Name) {
		return ""
	}
	return fmt.Sprintf("the image was built on %s, which the policy does not allow", wording.Quote(strings.Trim(base.Name+"@"+base.Digest, "@")))
}

var digestSuffix = regexp.MustCompile(`^[A-Za-z0-9+._-]+:[0-9A-Fa-f]+$`)

// Floats reports whether a reference can later name another image: it has the tag "latest", or
// neither a tag nor a digest. Floats knows the transports of containers-transports(5); in some of
// them a path comes before the tag.
func Floats(reference string) bool {
	rest, path := reference, false
	for _, transport := range []string{"docker://", "docker-daemon:", "docker-archive:", "oci-archive:", "oci:"} {
		if s, ok := strings.CutPrefix(reference, transport); ok {
			rest, path = s, !strings.HasPrefix(transport, "docker")
			if transport == "docker-archive:" {
				_, rest, _ = strings.Cut(s, ":")
			}
			break
		}
	}
	name, digest := rest, ""
	if i := strings.LastIndexByte(rest, '@'); i >= 0 && digestSuffix.MatchString(rest[i+1:]) {
		name, digest = rest[:i], rest[i+1:] // any other "@" belongs to a path
	}
	if !path {
		name = name[strings.LastIndexByte(name, '/')+1:]
	}
	_, tag, _ := strings.Cut(name, ":")
	if path {
		tag = tag[strings.LastIndexByte(tag, ':')+1:] // the name in an OCI layout may include a registry with a port
	}
	return tag == "latest" || tag == "" && digest == ""
}
