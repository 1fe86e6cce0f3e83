package image

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ports is a range of ports of one protocol, such as "8000-8999/tcp".
type ports struct {
	first, last int
	protocol    string // the protocol in lower case
}

// parsePorts reads port[-port][/protocol]. The default protocol is tcp, as in
// https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md.
func parsePorts(s string) (ports, error) {
	bad := fmt.Errorf("%q is not a port: expected a value such as 8080/tcp or 8000-8999/udp", s)
	numbers, protocol, ok := strings.Cut(s, "/")
	if !ok {
		protocol = "tcp"
	}
	protocol = strings.ToLower(protocol)
	if protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return ports{}, bad
	}
	first, last, ok := strings.Cut(numbers, "-")
	if !ok {
		last = first
	}
	p := ports{protocol: protocol}
	for _, end := range []struct {
		text string
		to   *int
	}{{first, &p.first}, {last, &p.last}} {
		n, err := strconv.ParseUint(end.text, 10, 16)
		if err != nil || n == 0 {
			return ports{}, bad
		}
		*end.to = int(n)
	}
	if p.first > p.last {
		return ports{}, bad
	}
	return p, nil
}

// CheckPorts returns an error for text that is neither a port nor a range of ports.
func CheckPorts(s string) error {
	_, err := parsePorts(s)
	return err
}

// within reports whether one of the ranges contains all ports of p. It does not combine several
// ranges.
func (p ports) within(ranges []ports) bool {
	for _, r := range ranges {
		if p.protocol == r.protocol && r.first <= p.first && p.last <= r.last {
			return true
		}
	}
	return false
}

// UnwantedPorts returns the exposed ports that the ranges do not allow, sorted. A port that cannot
// be parsed is not allowed.
func UnwantedPorts(exposed, allowed []string) []string {
	var ranges []ports
	for _, s := range allowed {
		if p, err := parsePorts(s); err == nil {
			ranges = append(ranges, p)
		}
	}
	return slices.DeleteFunc(slices.Sorted(slices.Values(exposed)), func(s string) bool {
		p, err := parsePorts(s)
		return err == nil && p.within(ranges)
	})
}
