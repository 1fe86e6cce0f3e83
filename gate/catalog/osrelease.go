package catalog

import (
	"bytes"
	"io"
	"regexp"
	"strings"

	"github.com/anchore/syft/syft/file"
)

// maxRelease is the maximum size of an os-release file, in bytes. syft has the same limit.
const maxRelease = 5 << 20

// isRelease reports whether a location is an os-release file, which names the distribution:
// https://www.freedesktop.org/software/systemd/man/latest/os-release.html
func isRelease(l file.Location) bool {
	for _, p := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if l.RealPath == p || l.AccessPath == p {
			return true
		}
	}
	return false
}

// rewriteRelease returns os-release with every value in double quotes, because syft parses no other
// quotes. For VERSION_ID='12', syft would keep the quotes in the version and find no advisories. If
// reading os-release fails, the returned reader returns the bytes read so far, unchanged, and then
// the same error.
func rewriteRelease(rc io.ReadCloser) io.ReadCloser {
	raw, err := io.ReadAll(io.LimitReader(rc, maxRelease))
	if err != nil {
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(raw), failed{err}), rc}
	}
	return struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(quoteRelease(raw)), rc}
}

// failed is a reader that always returns err.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

var (
	// assignment matches NAME=value. It also matches "export" before the name, which a shell
	// accepts, and blanks around "=", which syft accepts.
	assignment = regexp.MustCompile(`^(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)$`)
	quoted     = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")
)

// quoteRelease returns os-release with every value in quotes, and without comments and lines that
// are not assignments. The last assignment of a variable wins. If that assignment is invalid, the
// variable is removed: another parser could read another distribution, so the distribution must be
// unknown.
func quoteRelease(raw []byte) []byte {
	values, order := map[string]string{}, []string{}
	text := strings.TrimPrefix(string(raw), "\ufeff")
	for line := range strings.SplitSeq(text, "\n") {
		found := assignment.FindStringSubmatch(strings.TrimSpace(line))
		if found == nil {
			continue
		}
		value, ok := unquote(found[2])
		if _, before := values[found[1]]; !before {
			order = append(order, found[1])
		}
		if values[found[1]] = value; !ok {
			values[found[1]] = ""
		}
	}
	var out bytes.Buffer
	for _, key := range order {
		if value := values[key]; value != "" {
			out.WriteString(key + `="` + quoted.Replace(value) + "\"\n")
		}
	}
	return out.Bytes()
}

// unquote parses the value of an assignment as a shell does, without expansions, which
// os-release(5) forbids. Blanks in an unquoted value are part of the value, as in systemd. unquote
// returns false if a quote or an escape is incomplete.
func unquote(s string) (value string, ok bool) {
	var out strings.Builder
	var quote byte // the open quote; 0 outside quotes
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == '\'' && c != '\'':
			out.WriteByte(c)
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\':
			if i++; i == len(s) {
				return "", false
			}
			if quote == '"' && !strings.ContainsRune("\"\\$`", rune(s[i])) {
				out.WriteByte(c)
			}
			out.WriteByte(s[i])
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '#' && i > 0 && (s[i-1] == ' ' || s[i-1] == '\t'):
			return strings.TrimRight(out.String(), " \t"), true
		default:
			out.WriteByte(c)
		}
	}
	return strings.TrimRight(out.String(), " \t"), quote == 0
}
